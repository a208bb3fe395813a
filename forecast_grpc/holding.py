"""What one process on this machine holds and no other of the same user, for as long as it lives."""

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO


def hold(kind: str, name: str) -> IO[str] | None:
    """A lock on what has this name among its kind, which ends when it is closed. None: another has it."""
    folder = Path(tempfile.gettempdir(), f"forecast-grpc-{kind}-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    file = (folder / name).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
