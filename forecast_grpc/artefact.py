"""Bytes <-> model: an artefact says what kind of model it holds, and is verified when it is read."""

from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from forecast_grpc.container import (
    CUSTOMER_ID,
    FORMAT_VERSION,
    SIGNATURE,
    UNREADABLE,
    Parts,
    Unknown,
    join,
    split,
)
from forecast_grpc.domain import Forecaster, ModelMetadata, ServedModel, StoredArray, is_covariate_name
from forecast_grpc.errors import ForecastError, ModelCorrupt, ModelFormatUnsupported
from forecast_grpc.late import forecaster_of
from forecast_grpc.layout import packed, views
from forecast_grpc.metadata import from_text, to_text
from forecast_grpc.models import FAMILIES
from forecast_grpc.models.graphs import UnsupportedGraph
from forecast_grpc.models.pickled import NAME as PICKLE
from forecast_grpc.models.pickled import Pickled, is_pickle
from forecast_grpc.quick import maker
from forecast_grpc.trust import Trust, pickle_forbidden

if TYPE_CHECKING:
    # A replica that needs no signatures is not to load the library for them.
    from forecast_grpc.signing import SigningKey

_served = maker(ServedModel)
_NOTHING_SPECIAL = Trust()
# What a model to serve takes beside its arrays: 500 to 780 bytes by family, measured.
_OBJECTS = 600
_PER_ARRAY = 110
_VECTORS = 180  # What lies in one tensor is several arrays, not all of which are kept.


class Misplaced(Exception):
    """A whole artefact in a place that is not its own. The message is for the caller."""


_REFUSED = (*UNREADABLE, Misplaced)


def encode(forecaster: Forecaster, metadata: ModelMetadata) -> bytes:
    """The artefact of this model: equal input gives equal bytes.

    `family` and `min_length` are taken from the forecaster, the digest from its bytes, all else from
    `metadata`. Raises ValueError where a parameter is not a finite number, or the covariates that `metadata`
    names are not those that the model takes.
    """
    _check_covariates(forecaster, metadata)
    described = replace(metadata, family=forecaster.family, min_length=forecaster.min_length)
    arrays = forecaster.arrays()
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"the parameter {name} is not finite")
    text, tensors = packed(arrays)
    return join(to_text(described) | text, tensors)


def encode_pickle(pickled: bytes, model_version: int) -> bytes:
    """The artefact of a pickle, of which nothing is loaded here: how far it forecasts it knows itself."""
    text = {
        "family": PICKLE,
        "format_version": FORMAT_VERSION,
        "model_version": str(model_version),
        "min_length": str(Pickled.min_length),
    }
    return join(text, {PICKLE: np.frombuffer(pickled, np.uint8)})


def sign(data: bytes, customer_id: str, key: "SigningKey") -> bytes:
    """The same artefact, signed for this customer and for the version that it has. Raises as `inspect`.

    A signature that it had before gives way.
    """
    parts = _take_apart(data, customer_id)
    return join({**parts.metadata, CUSTOMER_ID: customer_id}, _tensors(parts), key.sign)


def republish(data: bytes, customer_id: str, model_version: int, key: "SigningKey | None" = None) -> bytes:
    """The same artefact as a version of this customer's: its tensor bytes and their digest stay.

    It is signed anew where there is a key. Without one, a signed artefact can only be what it was signed as:
    raises ModelCorrupt for another customer or version. Else raises as `inspect`.
    """
    parts = _take_apart(data, customer_id)
    text = {**parts.metadata, "model_version": str(model_version)}
    if key is not None:
        return join({**text, CUSTOMER_ID: customer_id}, _tensors(parts), key.sign)
    owner, signed_version = text.pop(CUSTOMER_ID, None), parts.metadata["model_version"]
    if SIGNATURE not in text:
        return join(text, _tensors(parts))
    if (owner, signed_version) != (customer_id, str(model_version)):
        what = f"The artefact is signed as version {signed_version} of {owner}"
        place = f"version {model_version} of {customer_id}"
        raise _error(Misplaced(f"{what}, and would become {place}: sign it again."), data, customer_id)
    return data


def inspect(data: bytes, customer_id: str, version: int | None = None) -> ModelMetadata:
    """What an artefact says of itself, its digests verified. Makes no model of it, so that a pickle stays one.

    Raises as `decode`, and ModelFormatForbidden for a pickle that is in no artefact.
    """
    try:
        parts = split(data)
        _NOTHING_SPECIAL.check_origin(parts, customer_id)
        return _metadata(parts, version)
    except _REFUSED as exc:
        raise _error(exc, data, customer_id) from exc


def decode(
    data: bytes,
    customer_id: str,
    version: int | None = None,
    *,
    trust: Trust = _NOTHING_SPECIAL,
    to_serve: bool = False,
) -> ServedModel:
    """The model in an artefact, ready to answer; its arrays lie in one copy of the tensor bytes, read-only.

    `customer_id` is whose model it is to be, empty where it is nobody's yet; `version` the one asked for, where
    one was. A model `to_serve` comes without what no request asks for: `accuracy` and `fit_digest`.

    Raises ModelCorrupt where the bytes are truncated, do not match their digests, lack what the family needs, are
    of another version or customer, or are not signed as `trust` wants it; ModelFormatUnsupported for an unknown
    family or format version and for a graph that is not served here; and ModelFormatForbidden for a pickle, which
    is recognised but, unless `trust` allows it, never run. No other error, whatever the bytes.
    """
    try:
        parts = split(data)
        trust.check_origin(parts, customer_id)
        metadata = _metadata(parts, version, to_serve=to_serve)
        forecaster = _forecaster(parts, metadata, customer_id, trust)
    except _REFUSED as exc:
        if trust.allow_pickles and is_pickle(data) and version is None:
            return _bare_pickle(data, customer_id, trust)
        raise _error(exc, data, customer_id) from exc
    layout = parts.layout
    nbytes = _resident_bytes(layout.nbytes, len(layout.tensors), len(layout.arrays) > len(layout.tensors))
    return _served(metadata=metadata, forecaster=forecaster, nbytes=nbytes)


@lru_cache(maxsize=1_024)
def _resident_bytes(tensor_bytes: int, tensors: int, vectors: bool) -> int:
    """What a decoded model takes; one object for all equal ones."""
    return _OBJECTS + tensor_bytes + _PER_ARRAY * tensors + _VECTORS * vectors


def _tensors(parts: Parts) -> dict[str, StoredArray]:
    return views(parts.layout.tensors, parts.payload)


def _metadata(parts: Parts, version: int | None, *, to_serve: bool = False) -> ModelMetadata:
    family = parts.metadata["family"]
    if family not in FAMILIES and family != PICKLE:
        raise Unknown("family")
    metadata = from_text(parts.metadata, to_serve=to_serve)
    if version not in (None, metadata.model_version):
        said = f"The model that is kept as version {version} says that it is version {metadata.model_version}"
        raise Misplaced(f"{said}: publish it again.")
    return metadata


def _forecaster(parts: Parts, metadata: ModelMetadata, customer_id: str, trust: Trust) -> Forecaster:
    if metadata.family == PICKLE:
        tensors = _tensors(parts)
        trust.check_pickle(tensors[PICKLE].tobytes(), customer_id, signed=True)
        return Pickled.from_arrays(tensors)
    forecaster = forecaster_of(metadata.family, parts)
    needed = forecaster.min_length
    if metadata.min_length < needed:
        raise ValueError(f"this model needs {needed} values, not {metadata.min_length}")
    _check_covariates(forecaster, metadata)
    return forecaster


def _bare_pickle(data: bytes, customer_id: str, trust: Trust) -> ServedModel:
    """The model of a pickle that is in no artefact. Of what it is nothing is known but its digest."""
    trust.check_pickle(data, customer_id, signed=False)
    forecaster = Pickled(np.frombuffer(data, np.uint8))
    metadata = ModelMetadata(
        family=PICKLE,
        model_version=0,
        horizon=0,
        min_length=forecaster.min_length,
        digest=sha256(data).digest(),
    )
    return ServedModel(metadata=metadata, forecaster=forecaster, nbytes=len(data) + _OBJECTS)


def _take_apart(data: bytes, customer_id: str) -> Parts:
    try:
        return split(data)
    except _REFUSED as exc:
        raise _error(exc, data, customer_id) from exc


def _error(cause: Exception, data: bytes, customer_id: str) -> ForecastError:
    facts = {"customer_id": customer_id} if customer_id else {}
    if isinstance(cause, Unknown):
        text = (
            f"The model's {cause} is not known to this release of forecast-grpc: serve it with a newer one."
        )
        return ModelFormatUnsupported(text, metadata=facts)
    if isinstance(cause, UnsupportedGraph):
        return ModelFormatUnsupported(str(cause), metadata=facts)
    if isinstance(cause, Misplaced):
        return ModelCorrupt(str(cause), metadata=facts)
    if is_pickle(data):
        return pickle_forbidden(customer_id)
    return ModelCorrupt("The model's bytes are damaged: publish it again.", metadata=facts)


def _check_covariates(forecaster: Forecaster, metadata: ModelMetadata) -> None:
    names, tail = metadata.covariates, forecaster.covariate_tail
    if tail is None and not names:
        return
    count, past = (0, 0) if tail is None else tail.shape
    if len(set(names)) != count or len(names) != count or not all(map(is_covariate_name, names)):
        raise ValueError(f"the model takes {count} covariates, which are not named so: {', '.join(names)}")
    if past > forecaster.min_length:
        raise ValueError(f"the model looks at {past} past covariates, and at {forecaster.min_length} values")
