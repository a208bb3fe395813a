"""Affinity behind HAProxy. Imports nothing of Ray, whose settings must be in the environment before its import."""

import os
from collections.abc import Mapping
from pathlib import Path

MAX_LOAD_PERCENT = 190
"""A replica with more than this share of the average of requests under way passes new ones on to the next.

Of two replicas one gets 95 % of what is under way at most, so that a customer who asks for more than one can
give is served by both. With 150 a second request passed on whenever the other replica happened to be idle: one in
a hundred at 200 requests a second, each a cold load.
"""

# gRPC sends `multiplexed_model_id`, HTTP `serve_multiplexed_model_id`; both end alike. `req.hdrs` is all headers
# as text; the first expression cuts up to the customer, the second after it. The line breaks are real: Ray renders
# the value unescaped behind `balance `, so that it can carry the two hash settings along.
HAPROXY_BALANCE = (
    r"""hash 'req.hdrs,regsub("(?is)^.*multiplexed_model_id: *",""),regsub("(?s)[\r\n].*","")'"""
    f"\n    hash-type consistent\n    hash-balance-factor {MAX_LOAD_PERCENT}"
)
"""What Ray renders behind `balance ` in HAProxy's configuration: consistent hashing with bounded load."""

CLOSE_SPREAD_S = 2
"""How long an HAProxy that is replaced takes to send its callers on. Replicas that go must stay longer."""

PORT_VARIABLES = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
"""Ports that this mode opens beside those of the service."""


def haproxy_enabled() -> bool:
    """Whether this process belongs to a Ray cluster behind HAProxy."""
    return os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1"


def haproxy_environment(folder: Path) -> Mapping[str, str]:
    """The environment that puts Ray Serve behind HAProxy, with HAProxy's files in `folder`."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": HAPROXY_BALANCE,
        # A replica that ends may close a connection on which HAProxy has just sent a request. By default no other
        # one is asked, lest a call be done twice; ours may be: see docs/errors.md.
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        # HAProxy reads nothing from a connection to a replica while it holds what one caller is slow to take. With
        # calls of several callers on it (100 by default), all would wait for the slowest.
        "RAY_SERVE_HAPROXY_H2_BE_MAX_CONCURRENT_STREAMS": "1",
        # gRPC's newer way to read sockets hands each event to another thread, which costs a replica a quarter of
        # its time with as many connections as there are calls.
        "GRPC_EXPERIMENTS": "-event_engine_listener",
        # Ray has HAProxy send a line of each call to port 514, where on most machines nobody listens. The replicas
        # log each request themselves, with its customer; of HAProxy's lines one in a thousand goes out.
        "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:514 sample 1:1000",
        # When its list of replicas changes, a new HAProxy takes over, and the old one tells its callers to go: by
        # default those too that have only just come. A client on gRPC's C core 1.83 to 1.85, Python's among them,
        # that hears so before its first call neither makes it nor connects again: it waits until its deadline.
        # Spread over two seconds, hardly any hears so at once.
        "RAY_SERVE_HAPROXY_CLOSE_SPREAD_TIME_S": str(CLOSE_SPREAD_S),
        # By default Ray kills a proxy that has not started within five seconds; on a busy machine the next
        # one takes as long, and `serve deploy` fails or a machine is left without one.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }
