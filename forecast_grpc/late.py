"""Combinations that are checked when they are read, and made when they are first asked.

Most customers of a fleet are fitted in the same way, and most of them are asked seldom. To make three members
takes as long as all else of decoding; what can be wrong with them is told sooner. The first combination of a
*form*, of these members with arrays of these names and sizes, is made at once, and so its form is known to be
good. Of every other one it is enough that each number lies where the family allows it, and that those that the
form depends on are the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecast_grpc.domain import FloatArray, Forecaster, StoredArray
from forecast_grpc.models import FAMILIES, Combination
from forecast_grpc.models.combination import LateMembers, Member
from forecast_grpc.models.residuals import ResidualQuantiles
from forecast_grpc.packing import NAME, layout, unpack
from forecast_grpc.quick import quick

_MOST_FORMS = 1_024
_ROUNDING = 1e-9
_LARGEST = float(np.finfo(np.float64).max)
_ANY = (-_LARGEST, _LARGEST)
_POSITIVE = (float(np.finfo(np.float64).tiny), _LARGEST)
_WEIGHT = (0.0, 1.0)
_SMOOTHING = (float(np.finfo(np.float64).tiny), 1.0)
_SAME = None  # As in the first one of the form.

_SHARE = "share"
_RANGES: Mapping[str, tuple[tuple[float, float] | None, ...]] = {
    "tail": (_ANY,),
    "tail_unit": (_ANY, _POSITIVE),
    _SHARE: (_SMOOTHING, _SAME),
    "trend.line": (_ANY, _ANY, _SAME),
    "theta.smoothing": (_SMOOTHING, _ANY, _SAME),
    "theta.pattern": (_ANY,),
    "ets.smoothing": (_SMOOTHING, _WEIGHT, _WEIGHT, _SMOOTHING),
    "ets.state": (_ANY,),
    "ets.pattern": (_ANY,),
    "seasonal_ar.weights_unit": (_ANY,),
    "seasonal_ar.intercept": (_ANY,),
}
"""Where the numbers of a vector may lie, one after the other, the last range for all that follow. Of a vector that
is not here each number is the form's."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Form:
    """What combinations of one form have in common."""

    vectors: str
    """The text that tells where the vectors lie."""

    names: tuple[str, ...]
    """The names of the tensors."""

    low: FloatArray
    """The least that each number of the joined vectors may be."""

    high: FloatArray
    """The most."""

    shares: tuple[int, ...]
    """Where the weights of the members are."""

    base: int | None
    """Where a whole number has to be: the base of the tail's codes; None where there are none."""

    min_length: int
    """As `Combination.min_length`."""

    max_horizon: int | None
    """As `Combination.max_horizon`."""

    def made(self, arrays: tuple[StoredArray, ...]) -> tuple[Member, ...]:
        """The members from their tensors."""
        tensors = dict(zip(self.names, arrays, strict=True))
        return tuple(Combination.from_arrays(unpack({NAME: self.vectors}, tensors)).members)

    def weights(self, numbers: FloatArray) -> FloatArray | None:
        """The members' weights; None where a number is not where it may be."""
        if np.count_nonzero((numbers >= self.low) & (numbers <= self.high)) < numbers.size:
            return None
        if self.base is not None and not float(numbers[self.base]).is_integer():
            return None
        weights = [float(numbers[place]) for place in self.shares]
        return np.array(weights) if abs(sum(weights) - 1.0) <= _ROUNDING else None


_forms: dict[tuple[object, ...], _Form | None] = {}


def forecaster_of(family: str, text: Mapping[str, str], tensors: Mapping[str, StoredArray]) -> Forecaster:
    """The model of these tensors. Raises as `Forecaster.from_arrays` and `packing.unpack`."""
    if family != Combination.family or NAME not in text:
        return FAMILIES[family].from_arrays(unpack(text, tensors))
    key = (text[NAME], *[(name, array.dtype.char, array.shape) for name, array in tensors.items()])
    form = _forms.get(key)
    if form is None:
        return _first(key, text, tensors)
    weights = form.weights(tensors[NAME])
    if weights is None:
        # It may be one of another form after all; if it is none, this tells why.
        return Combination.from_arrays(unpack(text, tensors))
    members = LateMembers(form, tuple(tensors.values()))
    residuals = ResidualQuantiles.from_arrays(tensors)
    return Combination(members=members, weights=weights, residuals=residuals)


def _first(
    key: tuple[object, ...], text: Mapping[str, str], tensors: Mapping[str, StoredArray]
) -> Combination:
    """The first combination of a form, all of it; the form is remembered."""
    model = Combination.from_arrays(unpack(text, tensors))
    if model.covariate_tail is None and len(_forms) < _MOST_FORMS:
        _forms[key] = _form_of(model, text[NAME], tensors)
    return model


def _form_of(model: Combination, text: str, tensors: Mapping[str, StoredArray]) -> _Form:
    low, high = tensors[NAME].copy(), tensors[NAME].copy()
    shares, base = [], None
    for name, start, end in layout(text)[0]:
        own = name.rpartition(".")[2]
        ranges = _RANGES.get(own if own == _SHARE else name, (_SAME,))
        for place in range(start, end):
            allowed = ranges[min(place - start, len(ranges) - 1)]
            if allowed is not _SAME:
                low[place], high[place] = allowed
        if own == _SHARE:
            shares.append(start)
        if name == "tail_unit":
            base = start
    return _Form(
        vectors=text,
        names=tuple(tensors),
        low=low,
        high=high,
        shares=tuple(shares),
        base=base,
        min_length=model.min_length,
        max_horizon=model.max_horizon,
    )
