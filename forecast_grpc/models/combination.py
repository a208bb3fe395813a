"""The weighted mean of models of several families: more accurate than the best of them, most of the time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from forecast_grpc.domain import FloatArray, Forecaster, StoredArray
from forecast_grpc.models.ets import Ets
from forecast_grpc.models.linear import Linear
from forecast_grpc.models.parameters import narrow, scalars, vector
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.seasonal_ar import SeasonalAr
from forecast_grpc.models.seasonal_naive import SeasonalNaive
from forecast_grpc.models.theta import Theta
from forecast_grpc.models.trend import Trend

_KINDS: Mapping[str, type[Forecaster]] = {
    kind.family: kind for kind in (Trend, SeasonalNaive, Theta, Ets, Linear, SeasonalAr)
}
_SHARE, _TAIL = "share", "tail"
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Combination:
    """`sum(weights[i] * members[i].forecast)`.

    Bates & Granger 1969, The combination of forecasts. The members keep one tail and one set of quantiles
    between them: those of the combination. Where a window is too short for a member, the others forecast without
    it, with their weights scaled up to 1.
    """

    family: ClassVar[str] = "combination"

    members: tuple[Forecaster, ...]
    """Two or more, each of another family, in alphabetical order of their families."""

    weights: FloatArray
    """Shape (len(members),), each above 0, their sum 1."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    @property
    def min_length(self) -> int:
        """What the least demanding member needs; where one was fitted with covariates, what that one needs."""
        informed = (member for member in self.members if member.covariate_tail is not None)
        least = min(member.min_length for member in self.members)
        return max((member.min_length for member in informed), default=least)

    @property
    def max_horizon(self) -> int | None:
        """The shortest of the members' limits."""
        return min((limit for member in self.members if (limit := member.max_horizon)), default=None)

    @property
    def tail(self) -> FloatArray:
        """The longest of the members' tails."""
        return max((member.tail for member in self.members), key=len)

    @property
    def covariate_tail(self) -> FloatArray | None:
        """That of the one member which was fitted with covariates, if any was."""
        tails = (member.covariate_tail for member in self.members)
        return next((tail for tail in tails if tail is not None), None)

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,
        covariates: FloatArray | None = None,
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        path = np.zeros(horizon)
        answering = [pair for pair in self._weighed() if pair[1].min_length <= window.size]
        for weight, member in answering:
            path += weight * member.forecast(window, horizon, position, covariates)
        if len(answering) < len(self.members):
            path /= sum(weight for weight, _ in answering)
        return path

    def _weighed(self) -> Iterator[tuple[float, Forecaster]]:
        return zip(self.weights.tolist(), self.members, strict=True)

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`tail`, the quantiles, and of each member what it alone has, as `family.name`.

        Among that is its `share`: its weight, and how many values of `tail` it takes, 0 where none.
        """
        arrays: dict[str, StoredArray] = {_TAIL: narrow(self.tail), NAME: self.residuals.offsets}
        for weight, member in self._weighed():
            own = member.arrays()
            own.pop(NAME)
            taken = own.pop(_TAIL).size if _TAIL in own else 0
            own[_SHARE] = np.array([weight, taken])
            arrays |= {f"{member.family}.{name}": array for name, array in own.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> Self:
        """As `Forecaster.from_arrays`."""
        residuals = ResidualQuantiles.from_arrays(arrays)
        shared = {_TAIL: vector(arrays, _TAIL), NAME: arrays[NAME]}
        members = [_member(family, own, shared) for family, own in sorted(_by_family(arrays).items())]
        weights = np.array([weight for weight, _ in members])
        # A member without parameters of its own would not be missed otherwise.
        if abs(weights.sum() - 1.0) > _ROUNDING:
            raise ValueError(f"each {_SHARE} is a part of 1, but they add up to {weights.sum()}")
        return cls(members=tuple(member for _, member in members), weights=weights, residuals=residuals)


def _by_family(arrays: Mapping[str, StoredArray]) -> dict[str, dict[str, StoredArray]]:
    families: dict[str, dict[str, StoredArray]] = {}
    for name, array in arrays.items():
        family, dot, own = name.partition(".")
        if dot:
            families.setdefault(family, {})[own] = array
    return families


def _member(
    family: str, own: Mapping[str, StoredArray], shared: Mapping[str, StoredArray]
) -> tuple[float, Forecaster]:
    """The weight and the model. Raises ValueError where the family cannot be a member or lacks something."""
    tail = shared[_TAIL]
    weight, taken = scalars(own, _SHARE, 2)
    if family not in _KINDS or not (weight > 0.0 and 0.0 <= taken <= tail.size):
        raise ValueError(f"{family} cannot be a member with the {_SHARE} {weight} and a tail of {taken}")
    cut = {_TAIL: tail[tail.size - int(taken) :]} if taken else {}
    return weight, _KINDS[family].from_arrays({**own, **cut, NAME: shared[NAME]})
