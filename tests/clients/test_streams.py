"""The streams of the clients in other languages, with a user who is slow to take results, against a real service.

Python's are in `test_python_client`.
"""

import shutil
from pathlib import Path

import pytest

from tests.clients.toolchains import LANGUAGES, Language, Workshop, require, shell
from tests.service import RunningService

PROGRAMS = Path(__file__).with_name("slow_users")

SLOW_USERS = {
    "Go": ("main.go", "cmd/slow/main.go", "go run ./cmd/slow {address}"),
    "TypeScript": ("slow.mjs", "dist/slow.mjs", "node dist/slow.mjs {address}"),
    "Java": (
        "Slow.java",
        "target/Slow.java",
        "java -cp 'target/forecast-grpc-client-0.1.0.jar:target/lib/*' target/Slow.java {address}",
    ),
}
"""The program of each language, where it goes among what has been built, and how it is run."""


@pytest.mark.parametrize("service", ["haproxy"], indirect=True)
@pytest.mark.parametrize(
    "language", [each for each in LANGUAGES if each.name in SLOW_USERS], ids=lambda language: language.name
)
def test_a_stream_waits_for_its_user(language: Language, workshop: Workshop, service: RunningService) -> None:
    """500 items are sent whose results the user has not taken, and one more is in hand; none is lost.

    Where the user stops early, the sender, who waits, ends.
    """
    require(language)
    folder = workshop.built(language)
    source, target, command = SLOW_USERS[language.name]
    (folder / target).parent.mkdir(exist_ok=True)
    shutil.copy(PROGRAMS / source, folder / target)
    done = shell(f"timeout 120 {command.format(address=service.grpc_address)}", folder)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["5000 501", "ended"]), done.stderr
