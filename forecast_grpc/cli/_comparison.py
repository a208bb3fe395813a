"""Two versions of a model side by side: what they say of themselves, their parameters, their forecasts."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from forecast_grpc.cli._common import table
from forecast_grpc.cli._describe import describe, value_text
from forecast_grpc.domain import FloatArray, ServedModel, StoredArray

_FEW = 4
"""Numbers of a parameter that are shown one by one; of more, how far they lie apart."""

_OUTSIDE = ("model_version", "accuracy", "sha256")
"""Facts that are no difference worth a row, or have rows of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two versions, and what each forecasts from the same observations."""

    versions: tuple[int, int]
    """The first and the second."""

    facts: dict[str, tuple[Any, Any]]
    """What the artefacts say differently, by name."""

    accuracy: dict[str, tuple[float | None, float | None]]
    """Every error measured at fit time; None where it was not measured."""

    parameters: dict[str, tuple[str, str, str]]
    """The parameters that differ: the first, the second, and how far they lie apart."""

    window: FloatArray
    """What both were asked to forecast from, shape (n,); empty where each went on from its own training."""

    forecasts: tuple[FloatArray, FloatArray] | None
    """The point forecasts, both of shape (h,), h the shorter horizon of the two; None where one of them needs
    covariates, of which nobody knows the future values."""

    @classmethod
    def of(cls, first: ServedModel, second: ServedModel) -> Self:
        """The comparison. The window is the end of the series that the second was fitted to."""
        names = sorted({*first.metadata.accuracy, *second.metadata.accuracy})
        window = _window(first, second)
        return cls(
            versions=(first.metadata.model_version, second.metadata.model_version),
            facts=_facts(first, second),
            accuracy={
                name: (first.metadata.accuracy.get(name), second.metadata.accuracy.get(name))
                for name in names
            },
            parameters=_parameters(first.forecaster.arrays(), second.forecaster.arrays()),
            window=window,
            forecasts=_forecasts(first, second, window),
        )

    def as_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "versions": list(self.versions),
            "facts": {name: list(pair) for name, pair in self.facts.items()},
            "accuracy": {name: list(pair) for name, pair in self.accuracy.items()},
            "parameters": {name: list(row) for name, row in self.parameters.items()},
            "window": self.window.tolist(),
            "forecasts": [forecast.tolist() for forecast in self.forecasts or ()],
        }

    def differences(self) -> Any:  # noqa: ANN401 - rich's tables hold anything.
        """One row a fact, an error or a parameter."""
        rows = table("", *(f"version {version}" for version in self.versions), "change")
        for name, pair in self.facts.items():
            rows.add_row(name.replace("_", " "), *map(value_text, pair), "")
        for name, (before, after) in self.accuracy.items():
            cells = value_text(before), value_text(after), _percent(before, after)
            rows.add_row(f"accuracy.{name}".replace("_", " "), *cells)
        for name, row in self.parameters.items():
            rows.add_row(name, *row)
        return rows

    def sample(self) -> Any:  # noqa: ANN401 - rich's tables hold anything.
        """One row a step of the forecasts."""
        first, second = (f"version {version}" for version in self.versions)
        rows = table("step", first, second, "change", numbers=("step", first, second, "change"))
        for step, (before, after) in enumerate(zip(*(self.forecasts or ()), strict=True), start=1):
            rows.add_row(str(step), f"{before:.6g}", f"{after:.6g}", f"{after - before:+.4g}")
        return rows


def _facts(first: ServedModel, second: ServedModel) -> dict[str, tuple[Any, Any]]:
    before, after = describe(first.metadata), describe(second.metadata)
    return {
        name: (before[name], after[name])
        for name in before
        if name not in _OUTSIDE and before[name] != after[name]
    }


def _window(first: ServedModel, second: ServedModel) -> FloatArray:
    """The end of the second's training series; empty where it is too short for one of them."""
    tail = second.forecaster.tail
    needed = max(first.metadata.min_length, second.metadata.min_length)
    return tail if tail.size >= needed else np.empty(0)


def _forecasts(
    first: ServedModel, second: ServedModel, window: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    if first.metadata.covariates or second.metadata.covariates:
        return None
    horizon = min(first.metadata.horizon, second.metadata.horizon)
    return _forecast(first, window, horizon), _forecast(second, window, horizon)


def _forecast(model: ServedModel, window: FloatArray, horizon: int) -> FloatArray:
    from forecast_grpc.domain import ForecastQuery
    from forecast_grpc.forecasting import answer

    query = ForecastQuery(sequence=window, horizon=horizon)
    return answer(model, query, max_horizon=horizon).forecast


def _parameters(
    before: dict[str, StoredArray], after: dict[str, StoredArray]
) -> dict[str, tuple[str, str, str]]:
    found = {}
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is None or new is None or not np.array_equal(old, new):
            found[name] = (_array_text(old), _array_text(new), _distance(old, new))
    return found


def _array_text(array: StoredArray | None) -> str:
    if array is None:
        return "-"
    if array.size <= _FEW:
        return ", ".join(f"{number:.5g}" for number in array.ravel())
    return "x".join(map(str, array.shape)) + " numbers"


def _distance(before: StoredArray | None, after: StoredArray | None) -> str:
    """How far two arrays lie apart: the largest difference, where they have the same shape."""
    if before is None or after is None or before.shape != after.shape:
        return ""
    return f"by {float(np.abs(after.astype(np.float64) - before).max()):.3g} at most"


def _percent(before: float | None, after: float | None) -> str:
    return "" if not before or after is None else f"{100 * (after / before - 1):+.1f} %"
