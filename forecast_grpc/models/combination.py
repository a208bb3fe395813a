"""The weighted mean of models of several families: more accurate than the best of them, most of the time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.ets import Ets
from forecast_grpc.models.linear import Linear
from forecast_grpc.models.many import one_by_one
from forecast_grpc.models.parameters import scalars
from forecast_grpc.models.residuals import NAME, ResidualQuantiles
from forecast_grpc.models.seasonal_ar import SeasonalAr
from forecast_grpc.models.seasonal_naive import SeasonalNaive
from forecast_grpc.models.tails import NAME as TAIL
from forecast_grpc.models.tails import UNIT as TAIL_UNIT
from forecast_grpc.models.tails import Tail, last_of, tail_arrays, tail_of, values_of
from forecast_grpc.models.theta import Theta
from forecast_grpc.models.trend import Trend
from forecast_grpc.quick import maker

Member = Trend | SeasonalNaive | Theta | Ets | Linear | SeasonalAr
"""What can be combined."""

_KINDS: Mapping[str, type[Member]] = {
    kind.family: kind for kind in (Trend, SeasonalNaive, Theta, Ets, Linear, SeasonalAr)
}
_SHARE = "share"
_SHARED = (TAIL, TAIL_UNIT, NAME)
_NO_TAIL: Tail = np.empty(0)
_ROUNDING = 1e-9


class Form(Protocol):
    """What combinations have in common whose members are made from arrays of the same names and sizes."""

    @property
    def min_length(self) -> int:
        """As `Combination.min_length`."""
        ...

    @property
    def max_horizon(self) -> int | None:
        """As `Combination.max_horizon`."""
        ...

    def made(self, payload: bytes) -> tuple[Member, ...]:
        """The members. Raises ValueError where they cannot be."""
        ...


class LateMembers(Sequence[Member]):
    """Members that are made when they are first asked for, and kept. None of them was fitted with covariates."""

    __slots__ = ("_members", "_payload", "form")

    def __init__(self, form: Form, payload: bytes) -> None:
        """`payload` holds the tensors as the form has them."""
        self.form = form
        self._payload: bytes = payload
        self._members: tuple[Member, ...] = ()

    def _made(self) -> tuple[Member, ...]:
        payload = self._payload
        if payload:
            # Two threads may both make them: they are the same.
            self._members = self.form.made(payload)
            self._payload = b""
        return self._members

    def __getitem__(self, place: Any) -> Any:  # noqa: ANN401 - a number or a slice, a member or some
        return self._made()[place]

    def __len__(self) -> int:
        return len(self._made())

    def __iter__(self) -> Iterator[Member]:
        return iter(self._made())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Combination:
    """`sum(weights[i] * members[i].forecast)`.

    Bates & Granger 1969, The combination of forecasts. The members keep one tail and one set of quantiles
    between them: those of the combination. Where a window is too short for a member, the others forecast without
    it, with their weights scaled up to 1.
    """

    family: ClassVar[str] = "combination"

    members: Sequence[Member]
    """Two or more, each of another family, in alphabetical order of their families."""

    weights: FloatArray
    """Shape (len(members),), each above 0, their sum 1."""

    residuals: ResidualQuantiles
    """Quantiles of the errors."""

    @property
    def min_length(self) -> int:
        """What the least demanding member needs; where one was fitted with covariates, what that one needs."""
        if isinstance(self.members, LateMembers):
            return self.members.form.min_length
        informed = [member.min_length for member in self.members if member.covariate_tail is not None]
        return max(informed) if informed else min([member.min_length for member in self.members])

    @property
    def max_horizon(self) -> int | None:
        """The shortest of the members' limits."""
        if isinstance(self.members, LateMembers):
            return self.members.form.max_horizon
        return min((limit for member in self.members if (limit := member.max_horizon)), default=None)

    @property
    def tail(self) -> FloatArray:
        """The longest of the members' tails."""
        return values_of(self.end)

    @property
    def end(self) -> Tail:
        """The longest of the members' tails, as it is stored."""
        tails = [member.end for member in self.members if not isinstance(member, Trend)]
        return max(tails, key=lambda tail: tail.size, default=_NO_TAIL)

    @property
    def covariate_tail(self) -> FloatArray | None:
        """That of the one member which was fitted with covariates, if any was."""
        if isinstance(self.members, LateMembers):
            return None
        for member in self.members:
            if member.covariate_tail is not None:
                return member.covariate_tail
        return None

    def forecast(
        self,
        window: FloatArray,
        horizon: int,
        position: int | None = None,
        covariates: FloatArray | None = None,
    ) -> FloatArray:
        """The point forecast, shape (horizon,)."""
        path, total, everyone = np.zeros(horizon), 0.0, True
        for weight, member in self._weighed():
            if member.min_length <= window.size:
                path += weight * member.forecast(window, horizon, position, covariates)
                total += weight
            else:
                everyone = False
        return path if everyone else path / total

    def forecasts(self, windows: FloatArray, horizon: int) -> FloatArray:
        """`forecast`, without covariates, of many windows of one length, one a row: shape (k, horizon)."""
        paths = np.zeros((len(windows), horizon))
        answering = [pair for pair in self._weighed() if pair[1].min_length <= windows.shape[1]]
        for weight, member in answering:
            paths += weight * one_by_one(member)(windows, horizon)
        if len(answering) < len(self.members):
            paths /= sum(weight for weight, _ in answering)
        return paths

    def _weighed(self) -> Iterator[tuple[float, Member]]:
        return zip(self.weights.tolist(), self.members, strict=True)

    def quantile_offsets(self, levels: tuple[float, ...], horizon: int) -> FloatArray:
        """As `ResidualQuantiles.at`."""
        return self.residuals.at(levels, horizon)

    def arrays(self) -> dict[str, StoredArray]:
        """`tail`, the quantiles, and of each member what it alone has, as `family.name`.

        Among that is its `share`: its weight, and how many values of `tail` it takes, 0 where none.
        """
        arrays: dict[str, StoredArray] = {**tail_arrays(self.end), NAME: self.residuals.table}
        for weight, member in self._weighed():
            taken = 0 if isinstance(member, Trend) else member.end.size
            arrays[f"{member.family}.{_SHARE}"] = np.array([weight, taken])
            own = member.arrays().items()
            arrays |= {f"{member.family}.{name}": array for name, array in own if name not in _SHARED}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, StoredArray]) -> "Combination":
        """As `Forecaster.from_arrays`."""
        end, residuals = tail_of(arrays), ResidualQuantiles.from_arrays(arrays)
        members, weights = [], []
        for family, names in _by_family(tuple(arrays)):
            own = {name: arrays[whole] for name, whole in names}
            weight, member = _member(family, own, end, residuals)
            weights.append(weight)
            members.append(member)
        # A member without parameters of its own would not be missed otherwise.
        if abs(sum(weights) - 1.0) > _ROUNDING:
            raise ValueError(f"each {_SHARE} is a part of 1, but they add up to {sum(weights)}")
        return _made(members=tuple(members), weights=np.array(weights), residuals=residuals)


_made = maker(Combination)


@lru_cache(maxsize=256)
def _by_family(names: tuple[str, ...]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """The members in alphabetical order, each with the names of its arrays, without it and with it."""
    families: dict[str, list[tuple[str, str]]] = {}
    for whole in names:
        family, dot, own = whole.partition(".")
        if dot:
            families.setdefault(family, []).append((own, whole))
    return tuple((family, tuple(families[family])) for family in sorted(families))


def _member(
    family: str, own: Mapping[str, StoredArray], end: Tail, residuals: ResidualQuantiles
) -> tuple[float, Member]:
    """The weight and the model. Raises ValueError where the family cannot be a member or lacks something."""
    weight, taken = scalars(own, _SHARE, 2)
    if family not in _KINDS or not (weight > 0.0 and 0.0 <= taken <= end.size):
        raise ValueError(f"{family} cannot be a member with the {_SHARE} {weight} and a tail of {taken}")
    cut = last_of(end, int(taken)) if taken else _NO_TAIL
    return weight, _KINDS[family].shared(own, cut, residuals)
