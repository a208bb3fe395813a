"""A model's parameters as stored arrays, and back from them with their shapes checked."""

from collections.abc import Mapping

import numpy as np

from forecast_grpc.domain import FloatArray, StoredArray


def stored(arrays: Mapping[str, StoredArray], name: str, ndim: int) -> StoredArray:
    """The array of this name. Raises ValueError where it is missing, empty or has another number of dimensions."""
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"the parameter {name} is missing")
    if array.ndim != ndim or not array.size:
        raise ValueError(f"the parameter {name} has the shape {array.shape}")
    return array


def vector(arrays: Mapping[str, StoredArray], name: str) -> FloatArray:
    """The array of this name as float64 of shape (n,), n >= 1. Raises ValueError where it is not such a one."""
    array = stored(arrays, name, 1)
    return array if array.dtype == np.float64 else array.astype(np.float64)


def scalars(arrays: Mapping[str, StoredArray], name: str, count: int) -> list[float]:
    """The `count` numbers kept in the vector of this name. Raises ValueError where it holds another number."""
    values: list[float] = stored(arrays, name, 1).tolist()
    if len(values) != count:
        raise ValueError(f"the parameter {name} holds {len(values)} numbers instead of {count}")
    return values


def bounded_horizon(arrays: Mapping[str, StoredArray]) -> int | None:
    """The longest horizon of a bounded model; None where nothing bounds it. Raises ValueError for one below 1."""
    if "max_horizon" not in arrays:
        return None
    (steps,) = scalars(arrays, "max_horizon", 1)
    if not steps >= 1.0:
        raise ValueError(f"the parameter max_horizon is {steps}")
    return int(steps)


def horizon_bound(max_horizon: int | None) -> dict[str, StoredArray]:
    """What `bounded_horizon` reads; nothing where nothing bounds the model."""
    return {} if max_horizon is None else {"max_horizon": np.array([float(max_horizon)])}


def narrow(values: FloatArray) -> StoredArray:
    """In half the bytes where no bit is lost, as with counts and prices in eighths; else as they are."""
    short = values.astype(np.float32)
    return short if np.array_equal(short, values) else values
