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

from forecast_grpc.container import Parts
from forecast_grpc.domain import FloatArray, Forecaster
from forecast_grpc.layout import VECTORS, Layout, Place, vectors_in, views
from forecast_grpc.models import FAMILIES, Combination
from forecast_grpc.models.combination import LateMembers, Member
from forecast_grpc.models.residuals import NAME, ResidualQuantiles

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Form:
    """What combinations of one form have in common."""

    layout: Layout
    """Where their arrays lie."""

    at_once: tuple[Place, ...]
    """Where that lies of them which is not made late: the tensor of vectors, and the quantiles of errors."""

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

    def made(self, payload: bytes) -> tuple[Member, ...]:
        """The members from the tensor bytes."""
        return tuple(Combination.from_arrays(views(self.layout.arrays, payload)).members)

    def weights(self, numbers: FloatArray) -> FloatArray | None:
        """The members' weights; None where a number of the joined vectors is not where it may be."""
        if np.count_nonzero((numbers >= self.low) & (numbers <= self.high)) < numbers.size:
            return None
        if self.base is not None and not float(numbers[self.base]).is_integer():
            return None
        weights = [float(numbers[place]) for place in self.shares]
        return np.array(weights) if abs(sum(weights) - 1.0) <= _ROUNDING else None


_forms: dict[str, _Form] = {}


def forecaster_of(family: str, parts: Parts) -> Forecaster:
    """The model of these tensors. Raises as `Forecaster.from_arrays`."""
    layout, payload = parts.layout, parts.payload
    form = _forms.get(layout.key) if family == Combination.family else None
    if form is not None:
        arrays = views(form.at_once, payload)
        weights = form.weights(arrays[VECTORS])
        # Else it may be one of another form after all; if it is none, making it tells why.
        if weights is not None:
            residuals = ResidualQuantiles.from_arrays(arrays)
            return Combination(members=LateMembers(form, payload), weights=weights, residuals=residuals)
    model = FAMILIES[family].from_arrays(views(layout.arrays, payload))
    if isinstance(model, Combination) and form is None:
        _remember(model, parts)
    return model


def _remember(model: Combination, parts: Parts) -> None:
    """The form of the first combination of it, which is made whole; none where its members take covariates."""
    layout, text = parts.layout, parts.metadata.get(VECTORS)
    if text is None or model.covariate_tail is not None or len(_forms) >= _MOST_FORMS:
        return
    at_once = tuple(place for place in layout.tensors if place[0] in {VECTORS, NAME})
    low, high, shares, base = _allowed(views(at_once, parts.payload)[VECTORS], text)
    _forms[layout.key] = _Form(
        layout=layout,
        at_once=at_once,
        low=low,
        high=high,
        shares=shares,
        base=base,
        min_length=model.min_length,
        max_horizon=model.max_horizon,
    )


def _allowed(numbers: FloatArray, text: str) -> tuple[FloatArray, FloatArray, tuple[int, ...], int | None]:
    """The least and the most of each number of the joined vectors; where the weights are, and the tail's base."""
    low, high = numbers.copy(), numbers.copy()
    shares, base = [], None
    for name, start, end in vectors_in(text)[0]:
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
    return low, high, tuple(shares), base
