"""From any model to one that is served: the converter is found by the name of the model's library."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, TypedDict, Unpack

from forecast_grpc.convert.conversion import Conversion, Converter, Given
from forecast_grpc.convert.history import read_covariates, read_history, time_text
from forecast_grpc.convert.problems import ConversionError
from forecast_grpc.convert.proving import prove
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.fit import FittedModel, Series
from forecast_grpc.store import ModelStore, open_store
from forecast_grpc.timeline import parse_frequency

_CONVERTERS: Mapping[str, str] = {
    "statsforecast": "statsforecast_models",
    "skforecast": "skforecast_models",
    "sklearn": "sklearn_models",
    "lightgbm": "exporters",
    "onnx": "onnx_graphs",
}
"""The module that converts a library's models, by the library's top-level package. Imported when it is needed."""


class Options(TypedDict, total=False):
    """What may be said beside the model; what is left out is taken from the model, or from its history."""

    horizon: int
    """Steps to forecast unless a request says otherwise."""

    history: Any
    """The training series or its end, oldest first, shape (n,): an array, a list, or a pandas Series, whose
    DatetimeIndex then tells `frequency` and `state_time`. Missing values are filled."""

    covariates: Mapping[str, Any]
    """What else was known at each observation of `history`, by name: shape (n,) each. For graphs that take any."""

    season_length: int
    """Steps in a season."""

    frequency: str
    """The length of a step as an ISO-8601 duration, such as `PT1H`."""

    time_zone: str
    """The IANA name of the time zone that steps of days and longer keep the clock's time in."""

    state_time: datetime | int | str
    """The time of the last observation of training."""

    window: int
    """Observations that a graph takes, where its input has no fixed length."""


def convert(model: Any, **options: Unpack[Options]) -> FittedModel:  # noqa: ANN401 - any library's model
    """The model as forecast-grpc serves it, proved to give the library's own forecast.

    Raises ConversionError where the model is of no library or no kind that can be converted, or where a served
    forecast would differ from its own.
    """
    given = _given(options)
    conversion = _converter(model)(model, given)
    fitted = _fitted(conversion, given.history or conversion.history, options)
    prove(fitted, conversion)
    return fitted


def publish(store: ModelStore | str, customer_id: str, model: Any, **options: Unpack[Options]) -> int:  # noqa: ANN401
    """Converts the model and publishes it as the customer's next version, which is returned and served from now.

    `store` is an open store, or the address of one as `open_store` takes it. A folder that does not exist is
    created. Raises what `convert` and `ModelStore.publish` raise.
    """
    fitted = model if isinstance(model, FittedModel) else convert(model, **options)
    if isinstance(store, str):
        store = open_store(store)
        store.create()
    return store.publish(customer_id, fitted.encode)


def _converter(model: object) -> Converter:
    """The converter for the model's class or the nearest class that it derives from."""
    for kind in type(model).__mro__:
        name = _CONVERTERS.get(kind.__module__.partition(".")[0])
        if name is not None:
            found: Converter = import_module(f"forecast_grpc.convert.{name}").convert
            return found
    if isinstance(model, bytes):
        raise ConversionError(
            "Bytes are not converted: publish a file with `forecast-grpc publish`, and the object instead of a"
            " pickle of it."
        )
    raise ConversionError(
        f"A {type(model).__module__}.{type(model).__qualname__} is not known here: models of statsforecast,"
        " skforecast, scikit-learn and LightGBM are, and whatever exports to ONNX (pass the graph)."
    )


def _given(options: Options) -> Given:
    for name in ("horizon", "season_length", "window"):
        value = options.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise ConversionError(f"`{name}` must be a whole number of 1 or more, not {value!r}.")
    frequency = options.get("frequency")
    if frequency is not None:
        parse_frequency(frequency)
    history = options.get("history")
    series = None if history is None else read_history(history, frequency)
    if series is not None:
        known = options.get("covariates", series.covariates)
        series = replace(series, covariates=read_covariates(known, series.values.size))
    return Given(
        horizon=options.get("horizon"),
        season_length=options.get("season_length"),
        history=series,
        frequency=frequency or (series.frequency if series else None),
        window=options.get("window"),
    )


def _fitted(conversion: Conversion, history: Series | None, options: Options) -> FittedModel:
    """What the caller says comes before what the history says."""
    state_time = options.get("state_time")
    metadata = ModelMetadata(
        family=conversion.forecaster.family,
        model_version=1,
        horizon=conversion.horizon,
        min_length=conversion.forecaster.min_length,
        season_length=conversion.season_length,
        frequency=options.get("frequency") or (history.frequency if history else None),
        time_zone=options.get("time_zone", "UTC"),
        trained_time=datetime.now(UTC).replace(microsecond=0),
        state_time=history.state_time if history else None,
        covariates=conversion.covariates,
    )
    if state_time is not None:
        metadata = replace(metadata, state_time=time_text(state_time))
    return FittedModel(forecaster=conversion.forecaster, metadata=metadata)
