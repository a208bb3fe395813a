"""A model in words and in JSON."""

from collections.abc import Iterable
from typing import Any

from forecast_grpc import artefact
from forecast_grpc.cli._common import table
from forecast_grpc.domain import ModelMetadata, ServedModel
from forecast_grpc.errors import ForecastError, StoreUnavailable
from forecast_grpc.store import ModelStore

Facts = dict[str, Any]
"""What is said of a model, as JSON takes it."""

_COLUMNS = {
    "version": "model_version",
    "family": "family",
    "horizon": "horizon",
    "season": "season_length",
    "step": "frequency",
    "MASE": "accuracy.mase",
    "trained": "trained_time",
}
"""The columns of a list, by the facts that they show; an `accuracy.mase` is the `mase` in `accuracy`."""

_DAY = len("2026-01-31")
_NUMBERS = ("version", "horizon", "season", "MASE")


def load(store: ModelStore, customer_id: str, version: int | None = None) -> ServedModel:
    """The verified model. Raises what the store and the artefact raise."""
    return artefact.decode(store.read(customer_id, version=version).data, customer_id, version)


def facts(store: ModelStore, customer_id: str, version: int | None = None) -> Facts:
    """What a list says of a model; a damaged one has `error` and `reason` instead, and does not end the list.

    Raises StoreUnavailable, and nothing else that the store or the artefact may raise.
    """
    try:
        return {"customer_id": customer_id, **describe(load(store, customer_id, version).metadata)}
    except StoreUnavailable:
        raise
    except ForecastError as exc:
        known: Facts = {"customer_id": customer_id} | ({} if version is None else {"model_version": version})
        return {**known, "error": exc.message, "reason": exc.reason}


def active_version(store: ModelStore, customer_id: str) -> int | None:
    """The version that is served; None where the active artefact cannot be read."""
    active = facts(store, customer_id).get("model_version")
    return active if isinstance(active, int) else None


def describe(metadata: ModelMetadata) -> Facts:
    """The metadata under the names that the artefact uses."""
    trained = metadata.trained_time
    return {
        "model_version": metadata.model_version,
        "family": metadata.family,
        "horizon": metadata.horizon,
        "season_length": metadata.season_length,
        "frequency": metadata.frequency,
        "min_length": metadata.min_length,
        "trained_time": None if trained is None else trained.isoformat().replace("+00:00", "Z"),
        "state_time": metadata.state_time,
        "covariates": list(metadata.covariates),
        "accuracy": dict(metadata.accuracy),
        "sha256": metadata.sha256,
    }


def models_table(models: Iterable[Facts]) -> Any:  # noqa: ANN401 - rich's tables hold anything.
    """One row a model."""
    rows = table("customer", *_COLUMNS, numbers=_NUMBERS)
    for model in models:
        rows.add_row(model["customer_id"], *_cells(model))
    return rows


def versions_table(models: Iterable[Facts], active: int | None) -> Any:  # noqa: ANN401
    """One row a version, the active one marked."""
    rows = table("", *_COLUMNS, numbers=_NUMBERS)
    for model in models:
        rows.add_row("active" if model["model_version"] == active else "", *_cells(model))
    return rows


def facts_table(model: Facts) -> Any:  # noqa: ANN401
    """One row a fact."""
    rows = table("", "")
    rows.show_header = False
    accuracy = model.get("accuracy") or {}
    for name, value in (
        {**model, "accuracy": None} | {f"accuracy.{key}": accuracy[key] for key in accuracy}
    ).items():
        if value not in (None, []):
            rows.add_row(name.replace("_", " "), value_text(value))
    return rows


def _cells(model: Facts) -> list[str]:
    if "error" in model:
        return [value_text(model.get("model_version")), f"[red]{model['reason'].lower().replace('_', ' ')}"]
    found = {column: _find(model, name) for column, name in _COLUMNS.items()}
    return [
        value_text(value)[:_DAY] if column == "trained" else value_text(value)
        for column, value in found.items()
    ]


def _find(model: Facts, name: str) -> object:
    first, _, rest = name.partition(".")
    return _find(model[first], rest) if rest else model.get(first)


def value_text(value: object) -> str:
    """A fact as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(value_text, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
