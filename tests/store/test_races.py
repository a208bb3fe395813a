"""Publishers and readers at the same time, each in its own process; publishers that crash."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from forecast_grpc.errors import ModelVersionChanged, StoreUnavailable
from forecast_grpc.store import FolderStore, files

PUBLISHER = """
import os, sys
from pathlib import Path
from forecast_grpc.store import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("ready", flush=True)
for customer in sys.stdin:
    pid, size = os.getpid(), 200_000
    print(store.publish(customer.strip(), lambda n: f"{n} {pid} ".encode() + bytes([65 + n % 26]) * size))
    sys.stdout.flush()
"""
"""Publishes for each customer named on its input; an artefact is 200 kB of one letter, after its version."""

READER = """
import sys
from pathlib import Path
from forecast_grpc.store import FolderStore
store = FolderStore(Path(sys.argv[1]))
seen, whole = set(), True
print("ready", flush=True)
while True:
    data = store.read("a").data
    version, _, body = data.split(b" ", 2)
    whole &= len(body) == 200_000 and body == bytes([65 + int(version) % 26]) * len(body)
    seen.add(int(version))
    if (Path(sys.argv[1]) / "stop").exists():
        break
print(whole, len(seen))
"""
"""Reads the active artefact again and again; prints whether each was whole, and how many versions it saw."""

ACTIVATOR = """
import sys
from pathlib import Path
from forecast_grpc.errors import ModelVersionChanged
from forecast_grpc.store import FolderStore
store = FolderStore(Path(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    version, etag = line.split()
    try:
        store.activate("a", int(version), over=etag)
        print("won", flush=True)
    except ModelVersionChanged:
        print("lost", flush=True)
"""
"""Makes a version active over an etag, for each line with both on its input; says whether it could."""

CRASHER = """
import os, signal, sys
from pathlib import Path
from forecast_grpc.store import FolderStore, files
step = sys.argv[2]
real = getattr(os, step)
def crash(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, step, crash)
FolderStore(Path(sys.argv[1])).publish("a", lambda n: f"artefact {n}".encode())
"""
"""Publishes, and dies of SIGKILL where it would make the system call named."""


Process = subprocess.Popen[str]


def start(program: str, *args: object) -> Process:
    """The program in a process of its own, once it has said that it is ready."""
    command = [sys.executable, "-c", program, *map(str, args)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def send(process: Process, text: str) -> None:
    """Writes to the process's input."""
    assert process.stdin
    process.stdin.write(text)
    process.stdin.flush()


def race(root: Path, *, publishers: int, each: int) -> list[int]:
    """Lets so many processes publish at once; returns the versions that they were given."""
    processes = [start(PUBLISHER, root) for _ in range(publishers)]
    for process in processes:
        send(process, "a\n" * each)
    versions = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert [process.returncode for process in processes] == [0] * publishers
    return versions


def test_publishers_race(tmp_path: Path) -> None:
    """Versions are distinct and consecutive, each holds its own, the highest is active, nothing is left over."""
    versions = race(tmp_path, publishers=5, each=12)
    store = FolderStore(tmp_path)
    assert sorted(versions) == list(range(1, 61)) == list(store.versions("a"))
    for version in versions:
        assert store.read("a", version=version).data.startswith(f"{version} ".encode())
    assert store.read("a").data == store.read("a", version=60).data
    assert {path.name for path in tmp_path.rglob(".*")} == set()


def test_two_publishers_fifty_times(tmp_path: Path) -> None:
    """In each of fifty races for a customer's first version one gets 1, one gets 2, and 2 ends active."""
    store = FolderStore(tmp_path)
    pair = [start(PUBLISHER, tmp_path) for _ in range(2)]
    for round_ in range(50):
        for process in pair:
            send(process, f"customer-{round_}\n")
        assert sorted(process.stdout.readline() for process in pair if process.stdout) == ["1\n", "2\n"]
        assert store.read(f"customer-{round_}").data.startswith(b"2 ")
    for process in pair:
        process.communicate()


def test_one_of_many_replaces_what_they_saw(tmp_path: Path) -> None:
    """In each of a hundred races over one etag exactly one wins, and its version is the active one."""
    store = FolderStore(tmp_path)
    for _ in range(4):
        store.publish("a", lambda n: f"artefact {n}".encode())
    crowd = [start(ACTIVATOR, tmp_path) for _ in range(4)]
    for _ in range(100):
        etag = store.read("a").etag
        for version, process in enumerate(crowd, start=1):
            send(process, f"{version} {etag}\n")
        said = [process.stdout.readline().strip() for process in crowd if process.stdout]
        assert sorted(said) == ["lost", "lost", "lost", "won"]
        assert store.read("a").data == f"artefact {said.index('won') + 1}".encode()
    for process in crowd:
        process.communicate()
    assert {path.name for path in tmp_path.rglob(".*")} == set()


def test_a_publisher_in_between_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version published after the active artefact was seen, in the last moment even, is not rolled back."""
    store = FolderStore(tmp_path)
    for _ in range(2):
        store.publish("a", lambda n: f"artefact {n}".encode())
    seen = store.read("a").etag
    locked = files.locked

    def overtaken(folder: Path, *, needed: bool) -> AbstractContextManager[None]:
        monkeypatch.setattr(files, "locked", locked)
        assert store.publish("a", lambda n: f"artefact {n}".encode()) == 3
        return locked(folder, needed=needed)

    monkeypatch.setattr(files, "locked", overtaken)
    with pytest.raises(ModelVersionChanged):
        store.activate("a", 1, over=seen)
    assert store.read("a").data == b"artefact 3"


def test_without_locks_only_conditions_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that locks no folders one can publish and roll back, but not compare and replace."""
    store = FolderStore(tmp_path)

    def no_locks(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for _ in range(2):
        store.publish("a", lambda n: f"artefact {n}".encode())
    store.activate("a", 1)
    with pytest.raises(StoreUnavailable):
        store.activate("a", 2, over=store.read("a").etag)
    assert store.read("a").data == b"artefact 1"


def test_a_slow_publisher_does_not_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overtaken between its version and its activation, a publisher leaves the higher version active."""
    store = FolderStore(tmp_path)
    replace = files.replace

    def overtaken(folder: Path, name: str, data: bytes) -> None:
        monkeypatch.setattr(files, "replace", replace)
        assert store.publish("a", lambda n: f"artefact {n}".encode()) == 2
        replace(folder, name, data)

    monkeypatch.setattr(files, "replace", overtaken)
    assert store.publish("a", lambda n: f"artefact {n}".encode()) == 1
    assert store.read("a").data == b"artefact 2"


def test_readers_see_whole_artefacts(tmp_path: Path) -> None:
    """While artefacts are replaced under it, a reader sees one of them, whole, each time."""
    FolderStore(tmp_path).publish("a", lambda n: b"1 0 " + b"B" * 200_000)
    reader = start(READER, tmp_path)
    race(tmp_path, publishers=2, each=40)
    (tmp_path / "stop").touch()
    whole, seen = reader.communicate()[0].split()
    assert whole == "True"
    assert int(seen) > 1


@pytest.mark.parametrize("step", ["fsync", "link", "replace"])
def test_crash_while_publishing(tmp_path: Path, step: str) -> None:
    """A publisher killed at any step leaves the active artefact whole, and the next one is not in its way."""
    store = FolderStore(tmp_path)
    store.publish("a", lambda n: f"artefact {n}".encode())
    done = subprocess.run([sys.executable, "-c", CRASHER, str(tmp_path), step], check=False)
    assert done.returncode == -signal.SIGKILL
    assert store.read("a").data == b"artefact 1"
    assert all(store.read("a", version=n).data == f"artefact {n}".encode() for n in store.versions("a"))
    version = store.publish("a", lambda n: f"artefact {n}".encode())
    assert store.read("a").data == f"artefact {version}".encode()
    assert store.versions("a") == tuple(range(1, version + 1))


def test_leftovers_are_removed_once_they_are_old(tmp_path: Path) -> None:
    """A crashed publisher's temporary file is ignored, and removed by a publisher an hour later, not before."""
    store = FolderStore(tmp_path)
    store.publish("a", lambda n: b"artefact")
    subprocess.run([sys.executable, "-c", CRASHER, str(tmp_path), "link"], check=False)
    (leftover,) = tmp_path.rglob(".*")
    store.publish("a", lambda n: b"artefact")
    assert leftover.exists()
    hour_ago = time.time() - 3700
    os.utime(leftover, (hour_ago, hour_ago))
    store.publish("a", lambda n: b"artefact")
    assert not leftover.exists()
