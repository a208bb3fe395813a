"""Machines for a test: network namespaces with addresses of their own, joined by a bridge in the first of them."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One of them."""

    namespace: str
    """Its network namespace."""

    address: str
    """Its IPv4 address."""

    @property
    def inside(self) -> list[str]:
        """What stands before a command that is to run on it."""
        return ["ip", "netns", "exec", self.namespace]


@contextmanager
def machines(number: int) -> Iterator[list[Machine]]:
    """So many machines, which reach each other and nobody else; skips where the system has none to give."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "network namespaces need root and iproute2's ip"
        )
    stem = f"fg{uuid.uuid4().hex[:6]}"
    made = [
        Machine(namespace=f"{stem}n{place}", address=f"10.77.0.{place}") for place in range(1, number + 1)
    ]
    try:
        for machine in made:
            _ip("netns", "add", machine.namespace)
            _ip("-n", machine.namespace, "link", "set", "lo", "up")
        _join(made)
        yield made
    finally:
        for machine in made:
            # Devices go with their namespace. One that could not be made is not there to be removed.
            subprocess.run(["ip", "netns", "delete", machine.namespace], capture_output=True, check=False)


def _join(made: list[Machine]) -> None:
    switch = made[0].namespace
    _ip("-n", switch, "link", "add", "switch", "type", "bridge")
    _address(switch, "switch", made[0].address)
    for place, machine in enumerate(made[1:], 1):
        _ip(
            "-n", machine.namespace, "link", "add", "wire", "type", "veth",
            "peer", "name", f"port{place}", "netns", switch,
        )  # fmt: skip
        _ip("-n", switch, "link", "set", f"port{place}", "master", "switch", "up")
        _address(machine.namespace, "wire", machine.address)


def _address(namespace: str, device: str, address: str) -> None:
    _ip("-n", namespace, "address", "add", f"{address}/24", "dev", device)
    _ip("-n", namespace, "link", "set", device, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
