"""The end of a training series, in as few bytes as it takes.

Sales, counts and readings have few digits: as integers over a power of ten they take two or four bytes instead of
eight, and come back to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.domain import FloatArray, StoredArray
from forecast_grpc.models.parameters import scalars, stored
from forecast_grpc.quick import maker

NAME, UNIT = "tail", "tail_unit"
"""The names of the stored arrays."""

_DIVISORS = tuple(10.0**decimals for decimals in range(10))
_GRID = 2.0**32 - 4.0  # Places over a span: with those of its ends rounded they are still in an int32.
_SHORT = 100  # Values that do not take much room as they are.
_LARGEST = 2.0**53  # Up to which float64 holds every integer.
_HALVES = ((np.dtype(np.int16), 2.0**15), (np.dtype(np.int32), 2.0**31))


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """Values as `(base + code) / divisor`."""

    codes: NDArray[Any]
    """Shape (n,), of int16 or int32."""

    base: float
    """A whole number."""

    divisor: float
    """Above 0: a power of ten where the values are decimal fractions."""

    @property
    def size(self) -> int:
        """How many values there are."""
        return self.codes.size

    def values(self) -> FloatArray:
        """Shape (n,)."""
        values: FloatArray = (self.codes.astype(np.float64) + self.base) / self.divisor
        return values


_coded = maker(Coded)

Tail = FloatArray | Coded
"""The last values of a training series, shape (n,), the oldest first."""


def values_of(tail: Tail) -> FloatArray:
    """The values, shape (n,)."""
    return tail.values() if isinstance(tail, Coded) else tail


def last_of(tail: Tail, count: int) -> Tail:
    """The last `count` values, 1 or more."""
    if count == tail.size:
        return tail
    if isinstance(tail, Coded):
        return _coded(tail.codes[-count:], tail.base, tail.divisor)
    return tail[-count:]


def coded(values: FloatArray) -> Tail:
    """Values of shape (n,), all finite, in as few bytes as hold them.

    To the last bit where they are at most a hundred, or have up to nine decimals and span up to 2^32 units of the
    last one; others to 2^-32 of their span.
    """
    low, high, last = float(values.min()), float(values.max()), float(values[-1])
    for divisor in _DIVISORS:
        if max(abs(low), abs(high)) * divisor >= _LARGEST:
            break
        # One number first: where the digits are many, it is the first to say so.
        if round(last * divisor) / divisor == last:
            numbers = np.rint(values * divisor)
            if np.array_equal(numbers / divisor, values):
                return _narrow(numbers, divisor, values)
    if values.size <= _SHORT:
        return values
    # Rounded to a grid over the span, not too fine for its own base.
    divisor = _GRID / (high - low) if high > low else 0.0
    if not 0.0 < divisor < np.inf or max(abs(low), abs(high)) * divisor >= _LARGEST:
        return values
    return _narrow(np.rint(values * divisor), divisor, values)


def _narrow(numbers: FloatArray, divisor: float, values: FloatArray) -> Tail:
    """Whole numbers around their middle, in the fewest bytes; the values themselves where none hold them."""
    base = float(np.ceil((numbers.min() + numbers.max()) / 2.0))
    codes = numbers - base
    for dtype, half in _HALVES:
        if -half <= codes.min() and codes.max() < half:
            return Coded(codes.astype(dtype), base, divisor)
    return values


def tail_arrays(tail: Tail) -> dict[str, StoredArray]:
    """What `tail_of` reads."""
    if isinstance(tail, Coded):
        return {NAME: tail.codes, UNIT: np.array([tail.base, tail.divisor])}
    return {NAME: tail}


def tail_of(arrays: Mapping[str, StoredArray]) -> Tail:
    """The tail among an artefact's arrays. Raises ValueError where there is none, or its unit can be none."""
    codes = stored(arrays, NAME, 1)
    if codes.dtype.kind != "i":
        return codes.astype(np.float64, copy=False)
    base, divisor = scalars(arrays, UNIT, 2)
    if not (base.is_integer() and 0.0 < divisor < np.inf):
        raise ValueError(f"the parameter {UNIT} is {base}, {divisor}")
    return _coded(codes, base, divisor)
