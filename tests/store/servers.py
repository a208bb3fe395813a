"""Object stores to test against: moto for S3, Azurite for Azure, a fake for Google."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import httpx

from tests.store.fake_google import fake_google

ROOT = Path(__file__).resolve().parent.parent.parent
BUCKET = "models"
AZURITE_ACCOUNT = "devstoreaccount1"
# Microsoft's documentation gives this key to everybody: it opens emulators and nothing else.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectServer:
    """A server with a bucket named `BUCKET`."""

    scheme: str
    """Of the store's address."""

    endpoint: str
    """Where it listens, with the account's path where it has one."""

    pid: int
    """Its process."""

    environment: dict[str, str] = field(default_factory=dict)
    """The credentials, as a deployment would have them."""

    def url(self, prefix: str = "", *, endpoint: str | None = None, bucket: str = BUCKET) -> str:
        """The address of a store in it, also by way of another endpoint."""
        region = "&region=us-east-1" if self.scheme == "s3" else ""
        return f"{self.scheme}://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}{region}"


@contextmanager
def moto(port: int = 0) -> Iterator[ObjectServer]:
    """S3 by moto, on a free port unless one is named."""
    command = [sys.executable, "-m", "tests.store.moto_server", str(port)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            endpoint = f"http://127.0.0.1:{int(process.stdout.readline())}"
            httpx.put(f"{endpoint}/{BUCKET}", timeout=30).raise_for_status()
            environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
            yield ObjectServer(scheme="s3", endpoint=endpoint, pid=process.pid, environment=environment)
        finally:
            process.kill()


def azurite_command() -> str | None:
    """Azurite's command: the one on the PATH, or the one that CI installs; None where there is none."""
    installed = next(ROOT.glob(".tools/azurite-*/node_modules/.bin/azurite-blob"), None)
    return shutil.which("azurite-blob") or (str(installed) if installed else None)


@contextmanager
def azurite() -> Iterator[ObjectServer]:
    """Azure Blob Storage by Azurite."""
    command = azurite_command()
    assert command, "Azurite is not installed: npm install --global azurite"
    port = _free_port()
    options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"]
    with subprocess.Popen(
        [command, *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert any(re.search("successfully listen", line) for line in process.stdout)
            endpoint = f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"
            _create_container(endpoint)
            environment = {
                "AZURE_STORAGE_ACCOUNT_NAME": AZURITE_ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY,
            }
            yield ObjectServer(scheme="az", endpoint=endpoint, pid=process.pid, environment=environment)
        finally:
            process.kill()


@contextmanager
def google() -> Iterator[ObjectServer]:
    """Google Cloud Storage by a fake of our own."""
    with fake_google(BUCKET) as endpoint:
        account = {"gcs_base_url": endpoint, "disable_oauth": True}
        key = json.dumps(account | {"client_email": "", "private_key": "", "private_key_id": ""})
        environment = {"GOOGLE_SERVICE_ACCOUNT_KEY": key}
        yield ObjectServer(scheme="gs", endpoint=endpoint, pid=os.getpid(), environment=environment)


def _create_container(endpoint: str) -> None:
    """Azure's REST API signs each request with the account's key."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
    text = "PUT\n" + 11 * "\n" + signed + f"/{AZURITE_ACCOUNT}/{AZURITE_ACCOUNT}/{BUCKET}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURITE_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {AZURITE_ACCOUNT}:{base64.b64encode(digest).decode()}"
    answer = httpx.put(f"{endpoint}/{BUCKET}", params={"restype": "container"}, headers=headers, timeout=30)
    answer.raise_for_status()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def in_ci() -> bool:
    """Whether a tool that is missing fails its tests instead of skipping them."""
    return os.environ.get("CI") == "true"
