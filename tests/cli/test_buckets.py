"""The commands on a store in a bucket: S3 by moto."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import RunCommand, trend
from tests.store.servers import ObjectServer, moto


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    """The server of the bucket."""
    with moto() as running:
        yield running


@pytest.fixture(autouse=True)
def credentials(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user would have them."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)


def address(server: ObjectServer, bucket: str = "models") -> str:
    """The store's address, as `--store` takes it."""
    return f"s3://{bucket}/shops?endpoint={server.endpoint}&allow_http=true&region=us-east-1"


def test_a_bucket_is_a_store(run: RunCommand, server: ObjectServer, tmp_path: Path) -> None:
    """Versions are published into it, listed and gone back to, as in a folder."""
    file, url = tmp_path / "model.safetensors", address(server)
    for slope in (1.0, 2.0):
        file.write_bytes(trend(slope))
        assert run("publish", "alpha", file, "--store", url).code == 0
    assert run("models", "rollback", "alpha", "--store", url).out.startswith("alpha is served by version 1")
    (listed,) = run("models", "list", "--json", "--store", url).objects
    assert (listed["customer_id"], listed["model_version"]) == ("alpha", 1)
    versions = run("models", "versions", "alpha", "--json", "--store", url).objects
    assert [each["model_version"] for each in versions] == [2, 1]


def test_a_bucket_that_is_not_there(run: RunCommand, server: ObjectServer) -> None:
    """No command makes a bucket: one sentence, with what the server said for the operator."""
    done = run("models", "list", "--store", address(server, "nowhere"))
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("Error: The bucket of the store of models does not exist.")
    assert len(done.err.splitlines()) == 1
    assert "NoSuchBucket" in done.err


def test_the_demo_store_is_a_folder(run: RunCommand, server: ObjectServer) -> None:
    """It is all there or not there at all, which a bucket cannot promise."""
    done = run("demo-store", "--store", address(server))
    assert (done.code, done.err) == (2, "Error: s3://models/shops is not a folder.\n")
