"""A series in, a fitted and measured model out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from forecast_grpc.artefact import encode
from forecast_grpc.domain import FloatArray, Forecaster, ModelMetadata
from forecast_grpc.fit import frequency
from forecast_grpc.fit.covariates import known_covariates
from forecast_grpc.fit.families import FITS, FitSpec
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.quantiles import random_walk_quantiles
from forecast_grpc.fit.rolling import RollingErrors
from forecast_grpc.fit.seasonality import guess_season_length
from forecast_grpc.fit.selection import fit_combination, mean_errors, measure, measure_all, weigh
from forecast_grpc.fit.series import LARGEST_VALUE, Series
from forecast_grpc.models.missing import fill_missing

AUTO = "auto"
"""The choice that takes, for each customer, the family of the smallest rolling-origin error, or a combination."""

_DIGITS = 6  # Of an error that is told: more say nothing, and each costs a byte.
_FEW_DIGITS = 4  # The same of candidates that are not served.

FAMILY_CHOICES: tuple[str, ...] = (AUTO, *FITS)
"""What `family` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedModel:
    """A model fitted to one series, and what was measured of it."""

    forecaster: Forecaster
    """The model."""

    metadata: ModelMetadata
    """What its artefact will say of it; the version is 1 until the store assigns another."""

    def encode(self, model_version: int) -> bytes:
        """The artefact under this version: what `store.publish(customer_id, model.encode)` asks for."""
        return encode(self.forecaster, replace(self.metadata, model_version=model_version))


def fit_series(
    series: Series,
    *,
    family: str = AUTO,
    horizon: int | None = None,
    season_length: int | None = None,
    trained_time: datetime | None = None,
) -> FittedModel:
    """Fits one series and measures the model by rolling origin.

    `horizon` in steps; None: the M4 competition's for the frequency (PT1H 48, P1D 14, P1W 13, P1M 18, P3M 8,
    P1Y 6), else one season, else 7. `season_length` in steps; None: that of the frequency, or, for plain
    integer steps, the length at which the series correlates with itself. `trained_time` with a time zone;
    None: now.

    `metadata.accuracy` holds `mae`, `smape` (percent), `mase`, `relative_mae` (to the seasonal naive method) and
    `coverage_80`, as far as the series is long enough to measure them, and for `auto` the `mae_<family>` of each
    candidate.

    Raises SeriesError where the series is too short or holds no observation, ValueError for an unknown family
    or a horizon or season length below 1.
    """
    check_options(family, horizon, season_length)
    values = _observed(series.values)
    spec = _spec(series, values, horizon, season_length)
    measured = measure_all(values, spec) if family == AUTO else _measured(family, values, spec)
    weights = weigh(measured) if family == AUTO else {family: 1.0}
    errors = mean_errors(measured, weights)
    filled = fill_missing(values)
    residuals = errors.quantiles() if errors else random_walk_quantiles(filled, spec.horizon)
    forecaster = fit_combination(weights, filled, spec, residuals)
    metadata = ModelMetadata(
        family=forecaster.family,
        model_version=1,
        horizon=spec.horizon,
        min_length=forecaster.min_length,
        season_length=spec.season_length,
        frequency=series.frequency,
        trained_time=(trained_time or datetime.now(UTC)).replace(microsecond=0),
        state_time=series.state_time,
        accuracy=_short(errors.accuracy(), _DIGITS) | _candidates(measured) if errors else {},
        covariates=() if forecaster.covariate_tail is None else tuple(series.covariates),
    )
    return FittedModel(forecaster=forecaster, metadata=metadata)


def check_options(family: str, horizon: int | None, season_length: int | None) -> None:
    """Raises ValueError where `fit_series` takes no such options."""
    if family not in FAMILY_CHOICES:
        raise ValueError(f"there is no family {family}: choose among {', '.join(FAMILY_CHOICES)}")
    if horizon is not None and horizon < 1:
        raise ValueError(f"the horizon must be 1 or more, not {horizon}")
    if season_length is not None and season_length < 1:
        raise ValueError(f"the season length must be 1 or more, not {season_length}")


def _observed(values: FloatArray) -> FloatArray:
    """The values from the first observation to the last: what is missing around them says nothing."""
    present = np.flatnonzero(~np.isnan(values))
    if not present.size:
        raise SeriesError("there is no observation")
    if np.abs(values[present]).max() > LARGEST_VALUE:
        raise SeriesError(f"a value is beyond {LARGEST_VALUE:g}: fit the series in a larger unit")
    return values[present[0] : present[-1] + 1]


def _spec(series: Series, values: FloatArray, horizon: int | None, season_length: int | None) -> FitSpec:
    if season_length is None and series.frequency is not None:
        season_length = frequency.season_length(series.frequency)
    if season_length is None:
        season_length = guess_season_length(fill_missing(values))
    if horizon is None:
        horizon = frequency.default_horizon(series.frequency, season_length)
    covariates = known_covariates(series, horizon)
    return FitSpec(horizon=horizon, season_length=season_length, covariates=covariates)


def _measured(family: str, values: FloatArray, spec: FitSpec) -> dict[str, RollingErrors]:
    errors = measure(family, values, spec)
    return {} if errors is None else {family: errors}


def _candidates(measured: Mapping[str, RollingErrors]) -> dict[str, float]:
    """What each candidate's error is, where there were several: `mae_<family>`."""
    if len(measured) == 1:
        return {}
    return _short({f"mae_{family}": errors.mae for family, errors in measured.items()}, _FEW_DIGITS)


def _short(errors: Mapping[str, float], digits: int) -> dict[str, float]:
    return {name: float(f"{value:.{digits}g}") for name, value in errors.items()}
