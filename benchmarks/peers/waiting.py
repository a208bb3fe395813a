"""When a server of a peer listens, which they do not say in one way."""

import socket
import threading
import time
from contextlib import suppress

_POLL_S = 0.1


def say_when_open(port: int) -> None:
    """Prints `ready` as soon as something listens on this port, from a thread that ends with that."""
    threading.Thread(target=_wait, args=(port,), daemon=True).start()


def _wait(port: int) -> None:
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=_POLL_S):
            print("ready", flush=True)
            return
        time.sleep(_POLL_S)
