"""A network of its own on this machine: hosts as namespaces of the kernel, which nobody else reaches."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host."""

    namespace: str
    """The name of its namespace."""

    address: str
    """Its address, which this process reaches too."""

    def run(self, command: Sequence[str]) -> list[str]:
        """The command that runs another one on this host."""
        return ["ip", "netns", "exec", self.namespace, *command]


def can_be_made() -> bool:
    """Whether this process may make namespaces."""
    if shutil.which("ip") is None:
        return False
    name = f"fg-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


@contextmanager
def network(hosts: int) -> Iterator[tuple[Host, ...]]:
    """So many hosts on one bridge. What still runs in them at the end has to be ended before."""
    mark = secrets.token_hex(2)
    net = f"10.214.{secrets.randbelow(256)}"
    with ExitStack() as stack:
        bridge = f"fg{mark}"
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("address", "add", f"{net}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        yield tuple(
            stack.enter_context(_host(bridge, f"{mark}{n}", f"{net}.{n}")) for n in range(1, hosts + 1)
        )


@contextmanager
def _host(bridge: str, name: str, address: str) -> Iterator[Host]:
    host = Host(namespace=f"fg{name}", address=address)
    _ip("netns", "add", host.namespace)
    try:
        ends = (f"fgb{name}", f"fgh{name}")
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        _ip("link", "set", ends[1], "netns", host.namespace)
        _ip("link", "set", ends[0], "master", bridge, "up")
        for command in (
            ("address", "add", f"{address}/24", "dev", ends[1]),
            ("link", "set", ends[1], "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", host.namespace, *command)
        yield host
    finally:
        _ip("netns", "del", host.namespace)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
