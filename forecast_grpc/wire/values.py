"""Series of numbers of which some may be missing, as both wires bring them."""

import math
import sys
from typing import Annotated, Literal

import numpy as np
from pydantic import FailFast, Field, Strict

from forecast_grpc.domain import FloatArray
from forecast_grpc.errors import RequestInvalid
from forecast_grpc.finite import all_finite

# What is larger is infinite as a double, and refused by `check_finite` over both protocols.
_LARGEST = sys.float_info.max
_DOUBLE = Field(json_schema_extra={"format": "double", "minimum": -_LARGEST, "maximum": _LARGEST})

Values = Annotated[list[Annotated[float, Strict(), _DOUBLE] | Literal["NaN"] | None], FailFast()]
"""Numbers in JSON. The list ends at its first bad item: see `ForecastBody`."""


def to_array(values: Values) -> FloatArray:
    """The numbers, NaN for those that are missing; shape (n,)."""
    plain = [math.nan if value is None or value == "NaN" else value for value in values]
    return np.array(plain, dtype=np.float64)


def check_finite(field: str, values: FloatArray) -> None:
    """Raises RequestInvalid with the place of the first infinity."""
    if all_finite(values):
        return
    infinite = np.isinf(values)
    if infinite.any():
        text = "must be a finite number, or NaN where the observation is missing"
        raise RequestInvalid.of(f"{field}[{int(infinite.argmax())}]", text)
