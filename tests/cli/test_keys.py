"""`forecast-grpc keys`, and the commands that sign: from a pair of keys to a service that trusts it."""

import os
import pickle
import shutil
import stat
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from forecast_grpc import artefact
from forecast_grpc.cli._common import CommandFailed
from forecast_grpc.cli.serve import _public_keys
from forecast_grpc.config import Settings
from forecast_grpc.errors import ModelCorrupt
from forecast_grpc.signing import SigningKey
from forecast_grpc.store import FolderStore
from forecast_grpc.trust import Trust
from tests.cli.conftest import RunCommand, trend


@pytest.fixture
def key(run: RunCommand, tmp_path: Path) -> Path:
    """The file of a private key."""
    path = tmp_path / "publisher.pem"
    assert run("keys", "generate", path).code == 0
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An unsigned artefact."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(trend(4.0, 7))
    return path


def trust(key: Path) -> Trust:
    """What a service has that trusts this key."""
    return Trust(public_keys=(SigningKey(key.read_bytes()).public,))


def test_generate(run: RunCommand, tmp_path: Path) -> None:
    """The private key is for its owner alone; the public one is the only line on standard output."""
    path = tmp_path / "new.pem"
    done = run("keys", "generate", path)
    assert done.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert done.out == SigningKey(path.read_bytes()).public + "\n"
    assert str(path) in done.err
    assert "PRIVATE" not in done.out + done.err


def test_generate_overwrites_nothing(run: RunCommand, key: Path) -> None:
    """A key that is gone cannot be made again."""
    before = key.read_bytes()
    done = run("keys", "generate", key)
    assert (done.code, done.err) == (1, f"Error: {key} cannot be written: File exists.\n")
    assert key.read_bytes() == before


def test_show(run: RunCommand, key: Path) -> None:
    """The public key again, as text and as JSON; and Settings takes it."""
    public = run("keys", "show", key).out.strip()
    assert run("keys", "show", key, "--json").objects == [{"file": str(key), "public_key": public}]
    assert Settings(trusted_keys=public).trusted_keys == (public,)  # type: ignore[arg-type]


def test_keys_of_openssl_are_keys(run: RunCommand, tmp_path: Path) -> None:
    """The file is what others make and read too; keys of other kinds are refused."""
    openssl = shutil.which("openssl")
    if openssl is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("openssl is not installed")
    path = tmp_path / "openssl.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    assert run("keys", "show", path).out.startswith("ed25519:")
    subprocess.run([openssl, "genpkey", "-algorithm", "x25519", "-out", path], check=True)
    done = run("keys", "show", path)
    assert done.code == 1
    assert "not an Ed25519 one" in done.err


@pytest.mark.parametrize("command", [("keys", "show"), ("publish", "new", "FILE", "--sign")], ids=str)
def test_what_is_no_key(run: RunCommand, file: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A sentence that says what is wrong with the file, and nothing is published."""
    command = tuple(str(file) if each == "FILE" else each for each in command)
    options = ("--store", str(tmp_path / "store")) if command[0] == "publish" else ()
    done = run(*command, file, *options)
    assert done.code == 1
    assert f"{file} holds no key to sign with: it is not the PEM file" in done.err
    assert not (tmp_path / "store").exists()
    assert "cannot be read" in run(*command, tmp_path / "nowhere", *options).err


def test_publish_signs(run: RunCommand, store: Path, file: Path, key: Path) -> None:
    """For the customer and the number that the artefact gets."""
    assert run("publish", "alpha", file, "--sign", key, "--store", store).code == 0
    opened = FolderStore(store)
    for version in (None, 4):
        data = opened.read("alpha", version=version).data
        assert artefact.decode(data, "alpha", 4, trust=trust(key)).metadata.model_version == 4
        with pytest.raises(ModelCorrupt):
            artefact.decode(data, "beta", 4, trust=trust(key))


def test_a_signed_file_is_signed_again_or_refused(run: RunCommand, store: Path, key: Path) -> None:
    """Under another number, or for another customer, its signature would not hold."""
    signed = store.parent / "signed.safetensors"
    signed.write_bytes(artefact.sign(trend(4.0, 2), "beta", SigningKey(key.read_bytes())))
    done = run("publish", "alpha", signed, "--store", store)
    assert done.code == 1
    assert "is signed as version 2 of beta, and would become version 4 of alpha: sign it again." in done.err
    assert FolderStore(store).versions("alpha") == (1, 2, 3)
    # Where it goes where it was signed for, it needs no key.
    assert run("publish", "beta", signed, "--store", store).code == 0
    assert FolderStore(store).read("beta").data == signed.read_bytes()
    assert run("publish", "alpha", signed, "--sign", key, "--store", store).code == 0
    artefact.decode(FolderStore(store).read("alpha").data, "alpha", 4, trust=trust(key))


def test_rollback_of_signed_models(run: RunCommand, store: Path, file: Path, key: Path) -> None:
    """The older version is active as it was signed, and served as such."""
    for _ in range(2):
        run("publish", "signed", file, "--sign", key, "--store", store)
    assert run("models", "rollback", "signed", "--store", store).code == 0
    active = artefact.decode(FolderStore(store).read("signed").data, "signed", trust=trust(key))
    assert active.metadata.model_version == 1


def test_a_renamed_version_is_listed_with_the_reason(run: RunCommand, store: Path) -> None:
    """An older version put back under a newer number is no version, also to the commands."""
    versions = store / "alpha" / "versions"
    shutil.copy(versions / "1.safetensors", versions / "4.safetensors")
    listed = {
        each["model_version"]: each
        for each in run("models", "versions", "alpha", "--json", "--store", store).objects
    }
    assert listed[4]["reason"] == "MODEL_CORRUPT"
    assert "says that it is version 1" in listed[4]["error"]
    assert run("models", "rollback", "alpha", "4", "--store", store).code == 1


def test_fit_signs(run: RunCommand, tmp_path: Path, key: Path) -> None:
    """Each model; and models that are there unsigned are made again, once."""
    table, store = tmp_path / "history.csv", tmp_path / "fitted"
    rows = [f"{customer},{step},{10 + step % 7 + step / 9}" for customer in "ab" for step in range(60)]
    table.write_text("\n".join(["customer,step,value", *rows]))
    fit = ("fit", table, "--family", "trend", "--horizon", "3", "--season-length", "1", "--store", store)
    for options in ((), ("--sign", key), ("--sign", key)):
        assert run(*fit, *options).code == 0
    for customer in "ab":
        assert FolderStore(store).versions(customer) == (1, 2)
        artefact.decode(FolderStore(store).read(customer).data, customer, 2, trust=trust(key))


def test_a_pickle_is_published_when_it_is_asked_for(
    run: RunCommand, store: Path, tmp_path: Path, key: Path
) -> None:
    """In an artefact, under a number, signed like any other; its digest is the file's."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"no": "model"}))
    refused = run("publish", "new", path, "--store", store)
    assert refused.code == 1
    assert "--allow-pickles" in refused.err
    done = run("publish", "new", path, "--allow-pickles", "--sign", key, "--store", store)
    assert (done.code, done.out) == (0, "new is served by version 1, pickle.\n")
    data = FolderStore(store).read("new").data
    assert artefact.inspect(data, "new", 1).sha256 == sha256(path.read_bytes()).hexdigest()
    # From one store to another it goes like any artefact.
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(data)
    assert run("publish", "other", copy, "--allow-pickles", "--sign", key, "--store", store).code == 0
    assert run("publish", "other", copy, "--sign", key, "--store", store).code == 1


def test_require_signature_takes_keys_and_files(tmp_path: Path) -> None:
    """A key, a file of keys with blank lines and comments, or both; nothing else."""
    one, two = (SigningKey.generate().public for _ in range(2))
    path = tmp_path / "keys.txt"
    path.write_text(f"# publishers\n{two}\n\n")
    assert _public_keys(None) is None
    assert _public_keys([one, str(path)]) == (one, two)
    for wrong in ("", "# none", "-----BEGIN PRIVATE KEY-----"):
        path.write_text(wrong)
        with pytest.raises(CommandFailed, match="holds no public keys"):
            _public_keys([str(path)])
    with pytest.raises(CommandFailed, match="cannot be read"):
        _public_keys([str(tmp_path / "nowhere")])


def test_serve_refuses_what_is_no_key(run: RunCommand, store: Path) -> None:
    """Before anything starts."""
    done = run("serve", "--store", store, "--require-signature", "ed25519:short")
    assert done.code == 2
    assert "trusted_keys" in done.err
    done = run("serve", "--store", store, "--allow-pickles", "--set", "pickle_digests=abc")
    assert done.code == 2
    assert "pickle_digests" in done.err
