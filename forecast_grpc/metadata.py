"""What an artefact says of its model: values <-> the texts of the metadata, each checked."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from forecast_grpc.container import FORMAT_VERSION
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.models.pickled import NAME as PICKLE
from forecast_grpc.timeline import time_after

_ACCURACY = "accuracy."
_KIND = len(_ACCURACY)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_text(metadata: ModelMetadata) -> dict[str, str]:
    """The texts, without the digests, which the container makes; what is not known is left out."""
    trained_time = metadata.trained_time
    text = {
        "family": metadata.family,
        "format_version": FORMAT_VERSION,
        "model_version": str(metadata.model_version),
        "horizon": str(metadata.horizon),
        "min_length": str(metadata.min_length),
        "season_length": str(metadata.season_length),
        "frequency": metadata.frequency,
        "time_zone": None if metadata.time_zone == "UTC" else metadata.time_zone,
        "trained_time": None if trained_time is None else _rfc3339(trained_time),
        "state_time": metadata.state_time,
        "fit_digest": metadata.fit_digest or None,
        "covariates": "\n".join(metadata.covariates) or None,
    }
    accuracy = {_ACCURACY + name: repr(float(value)) for name, value in sorted(metadata.accuracy.items())}
    return {key: value for key, value in text.items() if value is not None} | accuracy


def from_text(text: Mapping[str, str]) -> ModelMetadata:
    """What the texts say. Raises KeyError, ValueError or OverflowError where one is missing or impossible."""
    trained_time = text.get("trained_time")
    if "frequency" in text:
        # To be found out now, not by the first request that names a time.
        _check_step(text["frequency"], text.get("time_zone", "UTC"))
    return ModelMetadata(
        family=text["family"],
        model_version=_count(text["model_version"]),
        # How far a pickle forecasts it knows itself.
        horizon=0 if text["family"] == PICKLE else _count(text["horizon"]),
        min_length=_count(text["min_length"]),
        season_length=_count(text.get("season_length", "1")),
        frequency=text.get("frequency"),
        time_zone=text.get("time_zone", "UTC"),
        sha256=text["sha256"],
        trained_time=None if trained_time is None else _utc(trained_time),
        state_time=text.get("state_time"),
        fit_digest=text.get("fit_digest", ""),
        accuracy={key[_KIND:]: float(value) for key, value in text.items() if key[:_KIND] == _ACCURACY},
        covariates=tuple(text["covariates"].split("\n")) if "covariates" in text else (),
    )


@lru_cache(maxsize=256)
def _check_step(frequency: str, time_zone: str) -> None:
    time_after(_EPOCH, 1, frequency, time_zone)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(f"{count} is below 1")
    return count


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is UTC:
        return time
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
