"""Bytes <-> model: one safetensors file, arrays plus string metadata, verified when it is read.

Besides what the metadata says of the model it holds two digests: `sha256` of the tensor bytes (all that
follows the file's header) and `header_sha256` of the header, taken with 64 zeros in its own place. With both,
no byte of an artefact changes unseen. `header_sha256` may be absent, for publishers who write the file with a
safetensors library alone.
"""

import json
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import numpy as np
import safetensors

from forecast_grpc.domain import Forecaster, ModelMetadata, ServedModel, StoredArray, is_covariate_name
from forecast_grpc.errors import ForecastError, ModelCorrupt, ModelFormatForbidden, ModelFormatUnsupported
from forecast_grpc.models import FAMILIES
from forecast_grpc.timeline import time_after

FORMAT_VERSION = "1"
"""The layout that this release writes and reads."""

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ACCURACY = "accuracy."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_DIGEST = b"0" * 64
_PREFIX = 8  # Bytes of the header's length, a little-endian integer.
_OVERHEAD = 1_700  # Bytes of the objects around a decoded model's buffer: 1.3 to 1.6 KB, measured.


@dataclass(frozen=True, slots=True)
class _Parts:
    """An artefact taken apart."""

    metadata: dict[str, str]
    tensors: dict[str, dict[str, Any]]
    data: bytes
    start: int
    """Where in `data` the tensor bytes start."""


def encode(forecaster: Forecaster, metadata: ModelMetadata) -> bytes:
    """The artefact of this model: equal input gives equal bytes.

    `family` and `min_length` are taken from the forecaster, `sha256` from its bytes, all else from
    `metadata`. Raises ValueError where a parameter is not a finite number, or the covariates that `metadata`
    names are not those that the model takes.
    """
    _check_covariates(forecaster, metadata)
    arrays = {name: _storable(name, array) for name, array in forecaster.arrays().items()}
    # Eight-byte values first, so that each array is aligned in a buffer that is read in place.
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    tensors, end = {}, 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        spec = {"dtype": _dtype_name(array), "shape": list(array.shape), "data_offsets": [start, end]}
        tensors[name] = spec
    payload = b"".join(arrays[name].tobytes() for name in names)
    return _join(_Parts(_to_text(forecaster, metadata, payload), tensors, payload, 0))


def replace_version(data: bytes, model_version: int) -> bytes:
    """The same artefact under another version: its tensor bytes and their digest stay. Raises as `decode`."""
    try:
        parts = _split(data)
    except _UNREADABLE as exc:
        raise _error(exc, data, "") from exc
    parts.metadata["model_version"] = str(model_version)
    return _join(parts)


def decode(data: bytes, customer_id: str) -> ServedModel:
    """The model in an artefact, ready to answer; its arrays lie in `data` itself, read-only.

    Raises ModelCorrupt where the bytes are truncated, do not match their digests or lack what the family
    needs, ModelFormatUnsupported for an unknown family or format version, and ModelFormatForbidden for a
    pickle, which is recognised but never run. No other error, whatever the bytes.
    """
    try:
        parts = _split(data)
        family = FAMILIES.get(parts.metadata["family"])
        if family is None:
            raise _Unknown("family")
        metadata = _from_text(parts.metadata)
        forecaster = family.from_arrays(_views(parts))
        if metadata.min_length < forecaster.min_length:
            raise ValueError(f"this model needs {forecaster.min_length} values, not {metadata.min_length}")
        _check_covariates(forecaster, metadata)
    except _UNREADABLE as exc:
        raise _error(exc, data, customer_id) from exc
    return ServedModel(metadata=metadata, forecaster=forecaster, nbytes=len(data) + _OVERHEAD)


class _Unknown(Exception):
    """A part of the artefact, its family or format version, is newer than this release."""


_UNREADABLE = (_Unknown, safetensors.SafetensorError, ValueError, KeyError, OverflowError)


def _error(cause: Exception, data: bytes, customer_id: str) -> ForecastError:
    facts = {"customer_id": customer_id} if customer_id else {}
    if isinstance(cause, _Unknown):
        text = (
            f"The model's {cause} is not known to this release of forecast-grpc: serve it with a newer one."
        )
        return ModelFormatUnsupported(text, metadata=facts)
    if _is_pickle(data):
        text = (
            "The model is a pickle, which runs code when it is loaded. Publish it as a safetensors artefact."
        )
        return ModelFormatForbidden(text, metadata=facts)
    return ModelCorrupt("The model's bytes are damaged: publish it again.", metadata=facts)


def _is_pickle(data: bytes) -> bool:
    """Whether the bytes are a pickle's. They are looked at, never run."""
    # Since protocol 2 a pickle starts with 0x80 and its protocol, and so may a safetensors file, with its
    # header's length. But there the upper bytes of the length follow, zero, and zero is no instruction.
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return data[2:3] not in (b"", b"\x00")
    try:
        instructions = sum(1 for _ in pickletools.genops(data))
    except Exception:  # noqa: BLE001  # Bytes that are no pickle may raise anything.
        return False
    return instructions > 1


def _split(data: bytes) -> _Parts:
    """The artefact's parts. Raises one of `_UNREADABLE` where they are not whole."""
    # It checks that the header is JSON of the right form and the tensors fill the rest without gap or overlap.
    safetensors.deserialize(data)  # type: ignore[no-untyped-call]  # Its stubs name no types.
    start = _PREFIX + int.from_bytes(data[:_PREFIX], "little")
    header = data[_PREFIX:start]
    tensors = json.loads(header.decode())
    metadata = tensors.pop("__metadata__")
    # Before the digests: another format may take them in another way.
    if metadata["format_version"] != FORMAT_VERSION:
        raise _Unknown("format version")
    _verify(header, memoryview(data)[start:], metadata)
    return _Parts(metadata, tensors, data, start)


def _verify(header: bytes, payload: memoryview, metadata: Mapping[str, str]) -> None:
    if sha256(payload).hexdigest() != metadata["sha256"]:
        raise ValueError("the tensors do not match their digest")
    digest = metadata.get("header_sha256")
    if digest is not None and _header_digest(header, digest) != digest:
        raise ValueError("the header does not match its digest")


def _header_digest(header: bytes, digest: str) -> str:
    return sha256(header.replace(digest.encode(), _NO_DIGEST, 1)).hexdigest()


def _join(parts: _Parts) -> bytes:
    metadata = {**parts.metadata, "header_sha256": _NO_DIGEST.decode()}
    header = json.dumps({"__metadata__": metadata, **parts.tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _PREFIX)
    header = header.replace(_NO_DIGEST, sha256(header).hexdigest().encode(), 1)
    return len(header).to_bytes(_PREFIX, "little") + header + parts.data[parts.start :]


def _storable(name: str, array: StoredArray) -> StoredArray:
    if not np.isfinite(array).all():
        raise ValueError(f"the parameter {name} is not finite")
    return array.astype(_DTYPES[_dtype_name(array)], order="C", copy=False)


def _dtype_name(array: StoredArray) -> str:
    return _NAMES[array.dtype.newbyteorder("<")]


def _views(parts: _Parts) -> dict[str, StoredArray]:
    views: dict[str, StoredArray] = {}
    for name, tensor in parts.tensors.items():
        start = parts.start + tensor["data_offsets"][0]
        views[name] = np.ndarray(tensor["shape"], _DTYPES[tensor["dtype"]], parts.data, start)
    return views


def _to_text(forecaster: Forecaster, metadata: ModelMetadata, payload: bytes) -> dict[str, str]:
    trained_time = metadata.trained_time
    text = {
        "family": forecaster.family,
        "format_version": FORMAT_VERSION,
        "model_version": str(metadata.model_version),
        "sha256": sha256(payload).hexdigest(),
        "horizon": str(metadata.horizon),
        "min_length": str(forecaster.min_length),
        "season_length": str(metadata.season_length),
        "frequency": metadata.frequency,
        "time_zone": None if metadata.time_zone == "UTC" else metadata.time_zone,
        "trained_time": None if trained_time is None else _rfc3339(trained_time),
        "state_time": metadata.state_time,
        "fit_digest": metadata.fit_digest or None,
        "covariates": "\n".join(metadata.covariates) or None,
    }
    accuracy = {_ACCURACY + name: repr(float(value)) for name, value in sorted(metadata.accuracy.items())}
    return {key: value for key, value in text.items() if value is not None} | accuracy


def _from_text(text: Mapping[str, str]) -> ModelMetadata:
    trained_time = text.get("trained_time")
    if "frequency" in text:
        # To be found out now, not by the first request that names a time.
        time_after(_EPOCH, 1, text["frequency"], text.get("time_zone", "UTC"))
    return ModelMetadata(
        family=text["family"],
        model_version=_count(text["model_version"]),
        horizon=_count(text["horizon"]),
        min_length=_count(text["min_length"]),
        season_length=_count(text.get("season_length", "1")),
        frequency=text.get("frequency"),
        time_zone=text.get("time_zone", "UTC"),
        sha256=text["sha256"],
        trained_time=None if trained_time is None else _utc(trained_time),
        state_time=text.get("state_time"),
        fit_digest=text.get("fit_digest", ""),
        accuracy={key[len(_ACCURACY) :]: float(text[key]) for key in text if key.startswith(_ACCURACY)},
        covariates=tuple(text["covariates"].split("\n")) if "covariates" in text else (),
    )


def _check_covariates(forecaster: Forecaster, metadata: ModelMetadata) -> None:
    names, tail = metadata.covariates, forecaster.covariate_tail
    count, past = (0, 0) if tail is None else tail.shape
    if len(set(names)) != count or len(names) != count or not all(map(is_covariate_name, names)):
        raise ValueError(f"the model takes {count} covariates, which are not named so: {', '.join(names)}")
    if past > forecaster.min_length:
        raise ValueError(f"the model looks at {past} past covariates, and at {forecaster.min_length} values")


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError(f"{count} is below 1")
    return count


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _utc(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
