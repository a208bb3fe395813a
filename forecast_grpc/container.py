"""The file of an artefact: a safetensors container, taken apart, put together, and checked byte by byte.

It holds two digests beside what its writer says: `sha256` of the tensor bytes (all that follows the header) and
`header_sha256` of the header, taken with 64 zeros in its own place. With both, no byte changes unseen.
`header_sha256` may be absent, for publishers who write the file with a safetensors library alone.

A `signature` is of the whole header, and by the digest in it of all that follows. It is taken with zeros in its
own place and in that of `header_sha256`, which covers it.

Read here and not by that library: it copies every tensor and keeps the metadata to itself, so that the header
would be read twice. A test holds that it reads whatever this does.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from pydantic_core import from_json

from forecast_grpc.domain import StoredArray
from forecast_grpc.layout import DTYPES, VECTORS, Layout, layout_of
from forecast_grpc.quick import maker

FORMAT_VERSION = "2"
"""The layout that this release writes. It is `1` with small vectors in one tensor, and errors in one text."""

FORMAT_VERSIONS = ("1", "2")
"""The layouts that this release reads."""

SIGNATURE = "signature"
"""The name under which the metadata hold a signature: 128 hexadecimal digits."""

CUSTOMER_ID = "customer_id"
"""The name under which the metadata of a signed artefact hold the customer that it was signed for."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_METADATA, _HEADER_DIGEST = "__metadata__", "header_sha256"
_NO_DIGEST = "0" * 64
_NO_SIGNATURE = "0" * 128
_SIGNED_FORM = b"forecast-grpc artefact 1\n"  # So that a signature of something else is none of an artefact.
_USUAL = 2_048  # Bytes of what a header says of tensors that is worth remembering.
_PREFIX = 8  # Bytes of the header's length, a little-endian integer.


class Unknown(Exception):
    """A part of the artefact, its family or format version, is newer than this release."""


UNREADABLE = (Unknown, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What `split` may raise for bytes that are no whole artefact."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An artefact taken apart, its digests verified."""

    metadata: dict[str, str]
    """What it says of the model."""

    header: bytes
    """The header, as it stands in the file."""

    layout: Layout
    """Where its arrays lie."""

    payload: bytes
    """The tensor bytes."""


_parts = maker(Parts)


def split(data: bytes) -> Parts:
    """The artefact's parts. Raises one of `UNREADABLE` where they are not whole."""
    start = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
    header = data[_PREFIX:start]
    if len(header) != start - _PREFIX:
        raise ValueError("the header is not whole")
    metadata, layout = _read(header)
    # Before the digests: another format may take them in another way.
    if metadata["format_version"] not in FORMAT_VERSIONS:
        raise Unknown("format version")
    # Raises TypeError where one of them is no text.
    "".join(metadata.values())
    # A copy: what is in memory for long should not keep the header, mostly longer than the tensors, with it.
    payload = data[start:]
    _verify(header, payload, metadata)
    if layout.nbytes != len(payload):
        raise ValueError(f"there are tensors of {layout.nbytes} bytes in {len(payload)}")
    return _parts(metadata, header, layout, payload)


def join(
    metadata: Mapping[str, str],
    arrays: Mapping[str, StoredArray],
    sign: Callable[[bytes], str] | None = None,
) -> bytes:
    """The artefact with these parts and their digests: equal parts give equal bytes, arrays in the order given.

    `sign` makes the signature of a message; an artefact that is not signed here holds none. Raises KeyError where
    an array holds numbers of another kind than `DTYPES`.
    """
    tensors, pieces, end = {}, [], 0
    for name, array in arrays.items():
        dtype = _NAMES[array.dtype.newbyteorder("<")]
        pieces.append(array.astype(DTYPES[dtype], order="C", copy=False).tobytes())
        start, end = end, end + array.nbytes
        tensors[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
    payload = b"".join(pieces)
    text = {key: value for key, value in metadata.items() if key != SIGNATURE}
    text |= {"sha256": sha256(payload).hexdigest()} | ({SIGNATURE: _NO_SIGNATURE} if sign else {})
    header = _encoded({_METADATA: {**text, _HEADER_DIGEST: _NO_DIGEST}, **tensors})
    if sign:
        header = _filled(header, SIGNATURE, _NO_SIGNATURE, sign(_SIGNED_FORM + header))
    header = _filled(header, _HEADER_DIGEST, _NO_DIGEST, sha256(header).hexdigest())
    return len(header).to_bytes(_PREFIX, "little") + header + payload


def signed_message(parts: Parts) -> bytes:
    """What the artefact's signature has to be of."""
    message = _without(parts.header, parts.metadata[SIGNATURE], _NO_SIGNATURE)
    return _SIGNED_FORM + _without(message, parts.metadata.get(_HEADER_DIGEST, _NO_DIGEST), _NO_DIGEST)


def _encoded(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _PREFIX)


def _filled(header: bytes, name: str, empty: str, value: str) -> bytes:
    # With its name: nothing else can hold a quotation mark that is not escaped.
    return header.replace(f'"{name}":"{empty}"'.encode(), f'"{name}":"{value}"'.encode(), 1)


def _without(header: bytes, value: str, empty: str) -> bytes:
    """The header as it was before the value was known. Wherever the value stands, it was taken from there."""
    return header.replace(value.encode(), empty.encode(), 1)


def _verify(header: bytes, payload: bytes, metadata: Mapping[str, str]) -> None:
    if sha256(payload).hexdigest() != metadata["sha256"]:
        raise ValueError("the tensors do not match their digest")
    digest = metadata.get(_HEADER_DIGEST)
    if digest is not None and sha256(_without(header, digest, _NO_DIGEST)).hexdigest() != digest:
        raise ValueError("the header does not match its digest")


def _read(header: bytes) -> tuple[dict[str, str], Layout]:
    """What the header says: the metadata, and where the tensors lie.

    Our own writer puts the metadata first, and thousands of artefacts have the same tensors after them: these are
    read once. That the two halves are what the whole is, is JSON's: each is an object, and no quotation mark can
    stand in a text.
    """
    # One character is found in a fifth of the time of three, and most texts have none of it before.
    end = header.find(b"}")
    if header[end : end + 3] != b'},"':
        end = header.find(b'},"')
    end += 1
    try:
        first = _from_json(header[:end] + b"}")
    except ValueError:
        first = None
    if end and isinstance(first, dict) and list(first) == [_METADATA]:
        rest, metadata = header[end:], first[_METADATA]
        laid_out = _known_layout if len(rest) <= _USUAL else _layout
        return metadata, laid_out(rest, metadata.get(VECTORS))
    # Another writer's order.
    tensors = _from_json(header)
    metadata = tensors.pop(_METADATA)
    return metadata, layout_of(tensors, metadata.get(VECTORS))


def _from_json(text: bytes) -> Any:  # noqa: ANN401 - whatever it holds, to be checked
    # Half as long as the standard library takes.
    return from_json(text, allow_inf_nan=False, cache_strings="keys")


def _layout(rest: bytes, vectors: str | None) -> Layout:
    """Where the tensors lie, of the part of a header after the metadata, and of what these say of vectors."""
    tensors = _from_json(b"{" + rest[1:])
    if _METADATA in tensors:
        raise ValueError("there are metadata twice")
    return layout_of(tensors, vectors)


_known_layout = lru_cache(maxsize=1_024)(_layout)
