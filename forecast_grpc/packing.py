"""The arrays of a model as tensors of a file: all its vectors of float64 in one, as each costs bytes and time."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from forecast_grpc.domain import StoredArray

NAME = "vectors"
"""The name of that tensor, and of the text that tells which vectors lie in it, as `name:length name:length`."""


def pack(arrays: Mapping[str, StoredArray]) -> tuple[dict[str, str], dict[str, StoredArray]]:
    """What the metadata have to say of the tensors, and the tensors, in the order in which they are to lie."""
    vectors = {name: arrays[name] for name in sorted(arrays) if _is_vector(arrays[name])}
    tensors, text = dict(arrays), {}
    if len(vectors) > 1:
        tensors = {name: array for name, array in arrays.items() if name not in vectors}
        tensors[NAME] = np.concatenate(list(vectors.values()))
        text[NAME] = " ".join(f"{name}:{vector.size}" for name, vector in vectors.items())
    # Eight-byte values first, so that each array is aligned in a buffer that is read in place.
    ordered = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    return text, {name: tensors[name] for name in ordered}


def unpack(text: Mapping[str, str], tensors: Mapping[str, StoredArray]) -> Mapping[str, StoredArray]:
    """The arrays, views of the tensors. Raises ValueError or KeyError where the two do not fit each other."""
    if NAME not in text:
        return tensors
    arrays = dict(tensors)
    joined, (places, size) = arrays.pop(NAME), layout(text[NAME])
    if joined.shape != (size,) or not _is_vector(joined):
        raise ValueError(f"{NAME} of the shape {joined.shape} are not {text[NAME]}")
    for name, start, end in places:
        arrays[name] = joined[start:end]
    return arrays


def _is_vector(array: StoredArray) -> bool:
    return array.dtype == np.float64 and array.ndim == 1


@lru_cache(maxsize=256)
def layout(text: str) -> tuple[tuple[tuple[str, int, int], ...], int]:
    """Name, start and end of each vector, and the end of them all. Raises ValueError for another text."""
    places, end = [], 0
    for part in text.split(" "):
        name, _, length = part.rpartition(":")
        start, end = end, end + int(length)
        if not name or end <= start:
            raise ValueError(f"{NAME} are not {text}")
        places.append((name, start, end))
    return tuple(places), end
