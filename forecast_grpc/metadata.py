"""What an artefact says of its model: values <-> the texts of the metadata, each checked."""

from array import array
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern

from forecast_grpc.container import FORMAT_VERSION
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.models.pickled import NAME as PICKLE
from forecast_grpc.quick import maker
from forecast_grpc.timeline import time_after

_ACCURACY = "accuracy"
_EACH = _ACCURACY + "."  # Before each name in format 1, which gave every error a text of its own.
_KIND = len(_EACH)
_BETWEEN = " = "
_made = maker(ModelMetadata)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Accuracy(Mapping[str, float]):
    """Errors by name, in a fifth of a dict's room: a replica holds one for each of its models, and reads few."""

    __slots__ = ("_names", "_values")

    def __init__(self, names: tuple[str, ...], values: "array[float]") -> None:
        self._names = names
        self._values = values

    def __getitem__(self, name: str) -> float:
        try:
            return self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


@lru_cache(maxsize=256)
def _same(names: tuple[str, ...]) -> tuple[str, ...]:
    """One object for all equal ones: most models were measured by the same errors."""
    return names


_NOT_KEPT = _Accuracy((), array("d"))


def to_text(metadata: ModelMetadata) -> dict[str, str]:
    """The texts, without the digests, which the container makes; what is not known is left out.

    Raises ValueError where an error's name is empty or holds a space.
    """
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
        _ACCURACY: _accuracy_text(metadata.accuracy) if metadata.accuracy else None,
    }
    return {key: value for key, value in text.items() if value is not None}


def _accuracy_text(accuracy: Mapping[str, float]) -> str:
    """The names and the values, as `mae smape = 0.5 12.5`."""
    names = sorted(accuracy)
    if " ".join(names).split() != names or _BETWEEN in " ".join(names):
        raise ValueError(f"an error cannot be called so: {names}")
    return " ".join(names) + _BETWEEN + " ".join(repr(float(accuracy[name])) for name in names)


def from_text(text: Mapping[str, str], *, to_serve: bool = False) -> ModelMetadata:
    """What the texts say; `to_serve` without what no request asks for: how the model was fitted, and how well.

    Raises KeyError, ValueError or OverflowError where one that is read is missing or impossible.
    """
    get, family = text.get, intern(text["family"])
    frequency, time_zone = _step(get("frequency"), get("time_zone", "UTC"))
    trained_time, covariates = get("trained_time"), get("covariates")
    return _made(
        # Interned: what is the same for thousands of models is in memory once.
        family=family,
        model_version=_count(text["model_version"]),
        # How far a pickle forecasts it knows itself.
        horizon=0 if family == PICKLE else _count(text["horizon"]),
        min_length=_count(text["min_length"]),
        season_length=_count(get("season_length", "1")),
        frequency=frequency,
        time_zone=time_zone,
        digest=bytes.fromhex(text["sha256"]),
        trained_time=None if trained_time is None else _utc(trained_time),
        state_time=get("state_time"),
        # A tenth of what a small model takes, and of the time to read it.
        fit_digest="" if to_serve else get("fit_digest", ""),
        accuracy=_NOT_KEPT if to_serve else _accuracy(text),
        covariates=() if covariates is None else tuple(covariates.split("\n")),
    )


def _accuracy(text: Mapping[str, str]) -> _Accuracy:
    """The errors: in one text, or as in format 1 in texts of their own."""
    if _ACCURACY in text:
        names, between, values = text[_ACCURACY].partition(_BETWEEN)
        named, numbers = _names(names), array("d", map(float, values.split(" ")))
        if not between or len(named) != len(numbers):
            raise ValueError(f"the errors {named} have {len(numbers)} values")
        return _Accuracy(named, numbers)
    own = [key for key in text if key[:_KIND] == _EACH]
    return _Accuracy(
        _same(tuple([key[_KIND:] for key in own])), array("d", [float(text[key]) for key in own])
    )


@lru_cache(maxsize=256)
def _names(text: str) -> tuple[str, ...]:
    return _same(tuple(text.split(" ")))


@lru_cache(maxsize=256)
def _step(frequency: str | None, time_zone: str) -> tuple[str | None, str]:
    """One object for all equal ones. Raises ValueError where a time cannot be reached by such steps."""
    if frequency is not None:
        # To be found out now, not by the first request that names a time.
        time_after(_EPOCH, 1, frequency, time_zone)
    return frequency, time_zone


@lru_cache(maxsize=4_096)
def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(f"{count} is below 1")
    return count


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


@lru_cache(maxsize=1_024)
def _utc(text: str) -> datetime:
    """One object for all equal ones: of models that are fitted together a hundred and more a second."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is UTC:
        return time
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
