"""Signatures: who may publish, for whom, and as which version."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from forecast_grpc import artefact
from forecast_grpc.app import _trust as trust_of
from forecast_grpc.config import Settings
from forecast_grpc.container import SIGNATURE
from forecast_grpc.errors import ForecastError, ModelCorrupt
from forecast_grpc.signing import SigningKey, verify
from forecast_grpc.store import FolderStore
from forecast_grpc.trust import Trust
from tests.cli.conftest import trend

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
TRUST = Trust(public_keys=(OTHER.public, KEY.public))
SIGNED = artefact.sign(trend(1.5, 3), "alpha", KEY)


def refusal(data: bytes, customer_id: str = "alpha", version: int | None = None, trust: Trust = TRUST) -> str:
    """Why these bytes are not served."""
    with pytest.raises(ModelCorrupt) as caught:
        artefact.decode(data, customer_id, version, trust=trust)
    assert caught.value.metadata == {"customer_id": customer_id}
    return caught.value.message


def changed(data: bytes, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> bytes:
    """The artefact with another header, its own digest put right where `seal` says so: what an attacker can do."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    if seal:
        header["__metadata__"].pop("header_sha256", None)
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def test_a_signed_artefact_is_served() -> None:
    """By any of the trusted keys, for its customer, with and without its version asked for."""
    for version in (None, 3):
        model = artefact.decode(SIGNED, "alpha", version, trust=TRUST)
        assert model.metadata.model_version == 3
        assert model.forecaster.forecast(model.forecaster.tail, 2).tolist() == [101.5, 103.0]


def test_a_signed_artefact_is_served_where_nothing_is_required() -> None:
    """Signing takes nothing away: services without keys read it, and so does any safetensors reader."""
    assert artefact.decode(SIGNED, "alpha").metadata == artefact.decode(trend(1.5, 3), "alpha").metadata
    assert set(safetensors.numpy.load(SIGNED)) == set(safetensors.numpy.load(trend(1.5, 3)))


def test_an_unsigned_artefact_is_refused_where_signatures_are_required() -> None:
    """With a sentence that says what to do."""
    assert refusal(trend(1.5, 3)) == (
        "The model is not signed, and has to be here: publish it again, signed by a key that is trusted."
    )


def test_a_signature_by_a_stranger_is_refused() -> None:
    """A key that nobody trusts is no key."""
    assert refusal(artefact.sign(trend(1.5, 3), "alpha", OTHER), trust=Trust(public_keys=(KEY.public,))) == (
        "The model's signature is not by a key that is trusted here: publish it again, signed by one."
    )


@pytest.mark.parametrize("trust", [TRUST, Trust()], ids=["required", "not required"])
def test_a_signed_artefact_of_one_customer_is_refused_for_another(trust: Trust) -> None:
    """Copied into another customer's folder it is not served, wherever it came from."""
    assert "signed for another customer" in refusal(SIGNED, "beta", trust=trust)


def test_another_customers_name_breaks_the_signature() -> None:
    """Nor is it when its name is changed, or taken out."""
    stolen = changed(SIGNED, lambda header: header["__metadata__"].update(customer_id="beta"))
    assert "not by a key" in refusal(stolen, "beta")
    nobodys = changed(SIGNED, lambda header: header["__metadata__"].pop("customer_id"))
    assert "not signed" in refusal(nobodys, "beta")


@pytest.mark.parametrize("trust", [TRUST, Trust()], ids=["required", "not required"])
def test_an_older_version_under_a_newer_number_is_refused(trust: Trust) -> None:
    """versions/5.safetensors that holds version 3 is not version 5, signed or not."""
    assert refusal(SIGNED, version=5, trust=trust) == (
        "The model that is kept as version 5 says that it is version 3: publish it again."
    )


def test_a_renumbered_version_is_refused() -> None:
    """Nor is it when the number in it is changed."""
    renumbered = changed(SIGNED, lambda header: header["__metadata__"].update(model_version="5"))
    assert artefact.decode(renumbered, "alpha", 5).metadata.model_version == 5
    assert "not by a key" in refusal(renumbered, version=5)


@pytest.mark.parametrize(
    "name",
    ["family", "horizon", "min_length", "season_length", "frequency", "trained_time", "state_time", "sha256"],
)
def test_nothing_in_the_header_can_be_changed(name: str) -> None:
    """The signature is of all of it."""
    value = {"family": "linear", "frequency": "PT1H", "sha256": "0" * 64}.get(name, "2")
    forged = changed(SIGNED, lambda header: header["__metadata__"].update({name: value}))
    with pytest.raises(ModelCorrupt):
        artefact.decode(forged, "alpha", trust=TRUST)


def test_nothing_can_be_added_to_the_header() -> None:
    """Neither metadata nor a tensor without bytes, nor as much as a blank."""
    for change in (
        lambda header: header["__metadata__"].update({"accuracy.mase": "0.1"}),
        lambda header: header.update(more={"dtype": "F64", "shape": [0], "data_offsets": [0, 0]}),
    ):
        with pytest.raises(ModelCorrupt):
            artefact.decode(changed(SIGNED, change), "alpha", trust=TRUST)
    length = int.from_bytes(SIGNED[:8], "little")
    padded = changed(SIGNED, lambda header: None)
    assert artefact.decode(padded, "alpha").metadata.model_version == 3
    assert "not by a key" in refusal(padded)
    assert len(padded) < len(SIGNED) + length


def test_no_flipped_byte_passes() -> None:
    """Wherever it lies: with a signature required, the header's own digest is no longer optional."""
    for place in range(len(SIGNED)):
        damaged = bytearray(SIGNED)
        damaged[place] ^= 0x01
        with pytest.raises(ForecastError):
            artefact.decode(bytes(damaged), "alpha", trust=TRUST)


@pytest.mark.parametrize(
    "signature",
    ["", "0" * 128, "x", "A" * 128, KEY.sign(b"something else")],
    ids=["none", "zeros", "short", "no-hexadecimal", "of-something-else"],
)
def test_what_is_no_signature_is_refused(signature: str) -> None:
    """Of any form."""
    forged = changed(SIGNED, lambda header: header["__metadata__"].update({SIGNATURE: signature}))
    assert "not by a key" in refusal(forged)


def test_a_signature_is_of_an_artefact_and_of_nothing_else() -> None:
    """What was signed for another purpose is no artefact's signature: the message begins with what it is of."""
    message = b"anything"
    assert verify(message, KEY.sign(message), (KEY.public,))
    assert not verify(message + b".", KEY.sign(message), (KEY.public,))


def test_republishing_signs_anew_or_refuses() -> None:
    """A signature does not survive another number: with a key there is a new one, without one a reason."""
    again = artefact.republish(SIGNED, "beta", 7, KEY)
    assert artefact.decode(again, "beta", 7, trust=TRUST).metadata.model_version == 7
    assert artefact.republish(SIGNED, "alpha", 3) == SIGNED
    with pytest.raises(
        ModelCorrupt, match=r"signed as version 3 of alpha, and would become version 4 of alpha"
    ):
        artefact.republish(SIGNED, "alpha", 4)


def test_a_name_without_a_signature_does_not_stay() -> None:
    """An artefact whose signature was taken out is nobody's: published for another customer it is that one's."""
    stripped = changed(SIGNED, lambda header: header["__metadata__"].pop(SIGNATURE))
    assert "another customer" in refusal(stripped, "beta", trust=Trust())
    assert artefact.decode(artefact.republish(stripped, "beta", 1), "beta", 1).metadata.model_version == 1


def test_a_rollback_to_a_signed_version_is_served(tmp_path: Path) -> None:
    """The active artefact may be any version that was signed: that is what a rollback is, and what a replay is."""
    store = FolderStore(tmp_path)
    for slope in (1.0, 2.0):
        store.publish("alpha", lambda number, slope=slope: artefact.sign(trend(slope, number), "alpha", KEY))  # type: ignore[misc]
    store.activate("alpha", 1)
    assert artefact.decode(store.read("alpha").data, "alpha", trust=TRUST).metadata.model_version == 1


def test_signing_is_deterministic() -> None:
    """The same artefact and key give the same bytes, so that a version can be compared with what was published."""
    assert artefact.sign(trend(1.5, 3), "alpha", KEY) == SIGNED
    assert artefact.sign(SIGNED, "alpha", KEY) == SIGNED


def test_a_key_travels_without_being_shown() -> None:
    """A process that signs for another gets the key by pickle; neither its text nor a log holds it."""
    copy = pickle.loads(pickle.dumps(KEY))
    assert copy.sign(b"x") == KEY.sign(b"x")
    assert "PRIVATE" not in repr(KEY)
    assert repr(KEY.pem) not in repr(KEY)


@pytest.mark.parametrize("pem", [b"", b"not a key", KEY.public.encode()], ids=["empty", "text", "public"])
def test_what_is_no_private_key_is_refused(pem: bytes) -> None:
    """At once, not by the first signature."""
    with pytest.raises(ValueError, match="not the PEM file"):
        SigningKey(pem)


def test_the_settings_say_what_is_trusted() -> None:
    """A replica trusts what its operator has set, and by default neither pickles nor any key in particular."""
    assert trust_of(Settings()) == Trust()
    digest = "ab" * 32
    settings = Settings.model_validate(
        {"allow_pickles": True, "pickle_digests": digest, "trusted_keys": [KEY.public, OTHER.public]}
    )
    assert trust_of(settings) == Trust(
        allow_pickles=True, pickle_digests=frozenset({digest}), public_keys=(KEY.public, OTHER.public)
    )


def test_nobody_loads_the_library_who_needs_no_signature() -> None:
    """Decoding a signed artefact without trusted keys imports nothing for signatures; with them it does."""
    code = (
        "import sys; from forecast_grpc import artefact; from forecast_grpc.trust import Trust; "
        "data = sys.stdin.buffer.read(); artefact.decode(data, 'alpha'); print('cryptography' in sys.modules); "
        f"artefact.decode(data, 'alpha', trust=Trust(public_keys=({KEY.public!r},))); "
        "print('cryptography' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=SIGNED, capture_output=True, check=True)
    assert done.stdout.split() == [b"False", b"True"]
