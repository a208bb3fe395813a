"""What `auto` does: measure every candidate by rolling origin, and weigh them by their errors.

Choosing one family by its past error is a lottery where the candidates are close, and a mean of several is more
accurate than the best of them (Bates & Granger 1969, The combination of forecasts; Makridakis, Spiliotis &
Assimakopoulos 2020, The M4 competition). The mean of forecasts has the mean of their errors, so it is measured
without another fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.fit.families import FITS, FitSpec
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.rolling import RollingErrors, rolling_origin
from forecast_grpc.models import Combination, Trend
from forecast_grpc.models.combination import Member
from forecast_grpc.models.residuals import ResidualQuantiles
from forecast_grpc.models.tails import coded, last_of

USUAL = "theta"
"""The family of a series too short to measure anything on."""

_CANDIDATES = ("trend", "seasonal_naive", "theta", "ets", "seasonal_ar")
_WITH_COVARIATES = ("linear",)  # Dense weights are worth their bytes only there.
_MOST_MEMBERS = 3
_POWER = 4.0  # Of the ratio of two errors: half the error has sixteen times the weight.
_LEAST = 0.3  # Share of the best one's weight below which a family is not worth its bytes.


def measure(family: str, values: FloatArray, spec: FitSpec) -> RollingErrors | None:
    """The errors of a family on `values`, shape (n,), NaN where missing; None where they cannot be measured."""
    try:
        errors = rolling_origin(FITS[family], values, spec)
    except SeriesError:
        # Long enough to fit perhaps, but not to hold anything out.
        return None
    return None if errors is None or np.isnan(errors.mae) else errors


def measure_all(values: FloatArray, spec: FitSpec) -> dict[str, RollingErrors]:
    """The errors of every candidate that can be measured."""
    candidates = _CANDIDATES if spec.covariates is None else _CANDIDATES + _WITH_COVARIATES
    measured = {family: measure(family, values, spec) for family in candidates}
    return {family: errors for family, errors in measured.items() if errors is not None}


def weigh(measured: Mapping[str, RollingErrors]) -> dict[str, float]:
    """The weights of the families to combine, above 0, their sum 1; of `USUAL` alone where none was measured.

    At most three families, each weighing the inverse fourth power of its mean absolute error. On M1, M3,
    Tourism and M4 hourly powers of 2 to 6 do about as well, and five families hardly better.
    """
    if not measured:
        return {USUAL: 1.0}
    ranked = sorted(measured, key=lambda family: measured[family].mae)[:_MOST_MEMBERS]
    best = measured[ranked[0]].mae
    ratios = {family: best / measured[family].mae if measured[family].mae else 1.0 for family in ranked}
    weights = {family: ratio**_POWER for family, ratio in ratios.items() if ratio**_POWER >= _LEAST}
    total = sum(weights.values())
    return {family: weights[family] / total for family in sorted(weights)}


def mean_errors(measured: Mapping[str, RollingErrors], weights: Mapping[str, float]) -> RollingErrors | None:
    """The errors of the weighted mean; None where nothing was measured."""
    if not measured:
        return None
    any_of_them = measured[next(iter(weights))]
    forecasts = np.zeros_like(any_of_them.forecasts)
    for family, weight in weights.items():
        forecasts += weight * measured[family].forecasts
    return replace(any_of_them, forecasts=forecasts)


def fit_combination(
    weights: Mapping[str, float], values: FloatArray, spec: FitSpec, residuals: ResidualQuantiles
) -> Forecaster:
    """The combination of these families fitted to `values`, shape (n,), all finite; a model where it is one."""
    members = [FITS[family](values, spec, residuals) for family in sorted(weights)]
    if len(members) == 1:
        return members[0]
    shares = np.array([weights[family] for family in sorted(weights)])
    return Combination(members=_sharing(members, values), weights=shares, residuals=residuals)


def _sharing(members: Sequence[Member], values: FloatArray) -> tuple[Member, ...]:
    """The members with their tails cut from one."""
    longest = max((member.end.size for member in members if not isinstance(member, Trend)), default=0)
    end = coded(values[-longest:])
    return tuple(
        member if isinstance(member, Trend) else replace(member, end=last_of(end, member.end.size))
        for member in members
    )
