"""Load from our own clients, with the retry policy that they ship: `load.py` of Python's, `cmd/load` of Go's."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any


class Calls:
    """Calls that go on in a process of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.counts: dict[str, Any] = {}
        """What there is so far, as the process said last."""
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.counts = json.loads(line)

    def end(self) -> dict[str, Any]:
        """Ends the calls. Returns the counts. Raises CalledProcessError where the process failed."""
        if self._process.stdin:
            self._process.stdin.close()
        if self._process.wait(60):
            raise subprocess.CalledProcessError(self._process.returncode, self._process.args)
        self._reader.join()
        return self.counts


@contextmanager
def calling(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Calls]:
    """Starts the calls, and leaves nothing of them behind."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Calls(process)
        finally:
            process.kill()
