"""What commands that start Ray share: signals, a folder for its sockets, and the end of what was started."""

import os
import signal
import tempfile
import threading
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import psutil

STOP_TIMEOUT_S = 5.0
"""How long processes have to end on their own before they are killed, in seconds."""

NICENESS = 10
"""Of what steps back: a tenth of the share that others have."""

_NOTICE_S = 1.0

_SCRIPT_WITHIN = 3  # An interpreter, perhaps an option, the script.

_LONGEST_TEMPORARY = 40
"""Characters: Linux takes 107 for a socket, and Ray adds 67 to the folder's name."""


class Stopped:
    """Turns SIGINT and SIGTERM into KeyboardInterrupt, and remembers them.

    An exception that a signal handler raises is lost where the interpreter is in a finaliser or a callback just
    then; what was remembered is not.
    """

    def __init__(self) -> None:
        self._event = threading.Event()

    def install(self) -> None:
        """Handles both signals from now on, whatever handled them before."""
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)

    def wait(self) -> NoReturn:
        """Raises KeyboardInterrupt when a signal has come, or at once if one has."""
        while not self._event.wait(_NOTICE_S):
            pass
        raise KeyboardInterrupt

    def _handle(self, _number: int, _frame: object) -> None:
        self._event.set()
        raise KeyboardInterrupt


def temporary_folder() -> str:
    """A folder for sockets, whose paths are limited."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= _LONGEST_TEMPORARY else "/tmp"  # noqa: S108 - what is made in it has modes


def children() -> set[psutil.Process]:
    """All processes below this one. Ask while the raylet lives: what it started goes to another parent then."""
    return set(psutil.Process().children(recursive=True))


def step_back(processes: Collection[psutil.Process], names: AbstractSet[str]) -> None:
    """Gives those of the processes that are programs or scripts of these names less of a core that others want."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if names & {Path(part).name for part in process.cmdline()[:_SCRIPT_WITHIN]}:
                # The kernel counts niceness by threads.
                for thread in process.threads():
                    os.setpriority(os.PRIO_PROCESS, thread.id, NICENESS)


def end(started: Collection[psutil.Process]) -> None:
    """Ends every process that is still there of those that were started, by its id: some outlive the raylet."""
    _, alive = psutil.wait_procs(started, timeout=STOP_TIMEOUT_S)
    for process in alive:
        process.kill()
    psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
