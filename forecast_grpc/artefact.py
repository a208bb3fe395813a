"""Bytes <-> model: an artefact says what kind of model it holds, and is verified when it is read."""

import pickletools
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np

from forecast_grpc.container import FORMAT_VERSION, UNREADABLE, Unknown, join, split
from forecast_grpc.domain import Forecaster, ModelMetadata, ServedModel, is_covariate_name
from forecast_grpc.errors import ForecastError, ModelCorrupt, ModelFormatForbidden, ModelFormatUnsupported
from forecast_grpc.models import FAMILIES
from forecast_grpc.models.graphs import UnsupportedGraph
from forecast_grpc.timeline import time_after

_ACCURACY = "accuracy."
_KIND = len(_ACCURACY)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OVERHEAD = 1_700  # Bytes of the objects around a decoded model's buffer: 1.3 to 1.6 KB, measured.


def encode(forecaster: Forecaster, metadata: ModelMetadata) -> bytes:
    """The artefact of this model: equal input gives equal bytes.

    `family` and `min_length` are taken from the forecaster, `sha256` from its bytes, all else from
    `metadata`. Raises ValueError where a parameter is not a finite number, or the covariates that `metadata`
    names are not those that the model takes.
    """
    _check_covariates(forecaster, metadata)
    arrays = forecaster.arrays()
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the parameter {name} is not finite")
    # Eight-byte values first, so that each array is aligned in a buffer that is read in place.
    ordered = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    return join(_to_text(forecaster, metadata), {name: arrays[name] for name in ordered})


def replace_version(data: bytes, model_version: int) -> bytes:
    """The same artefact under another version: its tensor bytes and their digest stay. Raises as `decode`."""
    try:
        parts = split(data)
    except UNREADABLE as exc:
        raise _error(exc, data, "") from exc
    return join({**parts.metadata, "model_version": str(model_version)}, parts.arrays)


def decode(data: bytes, customer_id: str) -> ServedModel:
    """The model in an artefact, ready to answer; its arrays lie in `data` itself, read-only.

    Raises ModelCorrupt where the bytes are truncated, do not match their digests or lack what the family
    needs, ModelFormatUnsupported for an unknown family or format version and for a graph that is not served
    here, and ModelFormatForbidden for a pickle, which is recognised but never run. No other error, whatever the
    bytes.
    """
    try:
        parts = split(data)
        family = FAMILIES.get(parts.metadata["family"])
        if family is None:
            raise Unknown("family")
        metadata = _from_text(parts.metadata)
        forecaster = family.from_arrays(parts.arrays)
        if metadata.min_length < forecaster.min_length:
            raise ValueError(f"this model needs {forecaster.min_length} values, not {metadata.min_length}")
        _check_covariates(forecaster, metadata)
    except UNREADABLE as exc:
        raise _error(exc, data, customer_id) from exc
    return ServedModel(metadata=metadata, forecaster=forecaster, nbytes=len(data) + _OVERHEAD)


def _error(cause: Exception, data: bytes, customer_id: str) -> ForecastError:
    facts = {"customer_id": customer_id} if customer_id else {}
    if isinstance(cause, Unknown):
        text = (
            f"The model's {cause} is not known to this release of forecast-grpc: serve it with a newer one."
        )
        return ModelFormatUnsupported(text, metadata=facts)
    if isinstance(cause, UnsupportedGraph):
        return ModelFormatUnsupported(str(cause), metadata=facts)
    if _is_pickle(data):
        text = (
            "The model is a pickle, which runs code when it is loaded. Publish it as a safetensors artefact."
        )
        return ModelFormatForbidden(text, metadata=facts)
    return ModelCorrupt("The model's bytes are damaged: publish it again.", metadata=facts)


def _is_pickle(data: bytes) -> bool:
    """Whether the bytes are a pickle's. They are looked at, never run."""
    # Since protocol 2 a pickle starts with 0x80 and its protocol, and so may a safetensors file, with its
    # header's length. But there the upper bytes of the length follow, zero, and zero is no instruction.
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return data[2:3] not in (b"", b"\x00")
    try:
        instructions = sum(1 for _ in pickletools.genops(data))
    except Exception:  # noqa: BLE001  # Bytes that are no pickle may raise anything.
        return False
    return instructions > 1


def _to_text(forecaster: Forecaster, metadata: ModelMetadata) -> dict[str, str]:
    trained_time = metadata.trained_time
    text = {
        "family": forecaster.family,
        "format_version": FORMAT_VERSION,
        "model_version": str(metadata.model_version),
        "horizon": str(metadata.horizon),
        "min_length": str(forecaster.min_length),
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


def _from_text(text: Mapping[str, str]) -> ModelMetadata:
    trained_time = text.get("trained_time")
    if "frequency" in text:
        # To be found out now, not by the first request that names a time.
        _check_step(text["frequency"], text.get("time_zone", "UTC"))
    return ModelMetadata(
        family=text["family"],
        model_version=_count(text["model_version"]),
        horizon=_count(text["horizon"]),
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


def _check_covariates(forecaster: Forecaster, metadata: ModelMetadata) -> None:
    names, tail = metadata.covariates, forecaster.covariate_tail
    if tail is None and not names:
        return
    count, past = (0, 0) if tail is None else tail.shape
    if len(set(names)) != count or len(names) != count or not all(map(is_covariate_name, names)):
        raise ValueError(f"the model takes {count} covariates, which are not named so: {', '.join(names)}")
    if past > forecaster.min_length:
        raise ValueError(f"the model looks at {past} past covariates, and at {forecaster.min_length} values")


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
