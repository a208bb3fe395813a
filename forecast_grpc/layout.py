"""Where the arrays of a model lie in an artefact's tensor bytes: found out once for all that are laid out alike.

Small vectors lie together in one tensor, as each tensor costs bytes and time; a text says where each begins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from forecast_grpc.domain import StoredArray

VECTORS = "vectors"
"""The name of the tensor of vectors, and of the text that says what lies in it: `name:length name:length`."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
}
"""The types of tensors, by their names in a header."""

Place = tuple[str, np.dtype[Any], tuple[int, ...], int]
"""Name, type, shape and first byte of an array."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What thousands of artefacts have in common."""

    tensors: tuple[Place, ...]
    """The tensors, as they lie."""

    arrays: tuple[Place, ...]
    """The same with the vectors taken apart: the model's arrays."""

    nbytes: int
    """Bytes of all tensors together."""

    key: str
    """Equal for equal layouts."""


def views(places: tuple[Place, ...], payload: bytes) -> dict[str, StoredArray]:
    """The arrays at these places by name, read-only, in no bytes of their own."""
    return {
        # What most arrays are can be had in half the time.
        name: np.frombuffer(payload, dtype, shape[0], begin)
        if len(shape) == 1
        else np.ndarray(shape, dtype, payload, begin)
        for name, dtype, shape, begin in places
    }


def layout_of(tensors: Mapping[str, Any], vectors: str | None) -> Layout:
    """The layout, of what a header says of its tensors and of the vectors in one of them.

    The tensors fill their bytes without a gap or an overlap. Raises ValueError, KeyError or TypeError where they
    do not, or where the vectors do not fit theirs.
    """
    found, place = [], 0
    for name, tensor in sorted(tensors.items(), key=_offsets):
        begin, end = tensor["data_offsets"]
        dtype, shape = DTYPES[tensor["dtype"]], tuple(tensor["shape"])
        if not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
            raise ValueError(f"the tensor {name} has the shape {shape} from {begin} to {end}")
        if begin != place or end - begin != dtype.itemsize * prod(shape):
            raise ValueError(f"the tensor {name} leaves a gap, overlaps another, or has another size")
        found.append((name, dtype, shape, begin))
        place = end
    places = tuple(found)
    arrays = places if vectors is None else _apart(places, vectors)
    return Layout(places, arrays, place, repr((places, arrays)))


def _apart(tensors: tuple[Place, ...], text: str) -> tuple[Place, ...]:
    """The arrays of these tensors, of which one holds vectors."""
    arrays = {place[0]: place for place in tensors}
    _, dtype, shape, begin = arrays.pop(VECTORS)
    known, size = vectors_in(text)
    if shape != (size,) or dtype != np.float64:
        raise ValueError(f"{VECTORS} of the shape {shape} are not {text}")
    for name, start, end in known:
        arrays[name] = (name, dtype, (end - start,), begin + start * dtype.itemsize)
    return tuple(arrays.values())


@lru_cache(maxsize=256)
def vectors_in(text: str) -> tuple[tuple[tuple[str, int, int], ...], int]:
    """Name, start and end of each vector, and the end of them all. Raises ValueError for another text."""
    places, end = [], 0
    for part in text.split(" "):
        name, _, length = part.rpartition(":")
        start, end = end, end + int(length)
        if not name or end <= start:
            raise ValueError(f"{VECTORS} are not {text}")
        places.append((name, start, end))
    return tuple(places), end


def _offsets(item: tuple[str, Any]) -> Any:  # noqa: ANN401 - whatever the header holds, to be checked
    return item[1]["data_offsets"]


def packed(arrays: Mapping[str, StoredArray]) -> tuple[dict[str, str], dict[str, StoredArray]]:
    """What the metadata have to say of the tensors, and the tensors, in the order in which they are to lie."""
    vectors = {name: arrays[name] for name in sorted(arrays) if _is_vector(arrays[name])}
    tensors, text = dict(arrays), {}
    if len(vectors) > 1:
        tensors = {name: array for name, array in arrays.items() if name not in vectors}
        tensors[VECTORS] = np.concatenate(list(vectors.values()))
        text[VECTORS] = " ".join(f"{name}:{vector.size}" for name, vector in vectors.items())
    # Eight-byte values first, so that each array is aligned in a buffer that is read in place.
    ordered = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    return text, {name: tensors[name] for name in ordered}


def _is_vector(array: StoredArray) -> bool:
    return array.dtype == np.float64 and array.ndim == 1
