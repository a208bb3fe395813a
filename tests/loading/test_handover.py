"""What replicas leave to each other."""

import asyncio

import pytest

from forecast_grpc.loading import FrequentCustomers, Handover
from forecast_grpc.loading.handover import MAX_NOTED, STALE_AFTER_S, leave, take


class Notes(dict[str, bytes]):
    """Notes in a dictionary."""

    def put(self, name: str, note: bytes) -> None:
        """Writes a note."""
        self[name] = note

    def all(self) -> dict[str, bytes]:
        """Every note."""
        return dict(self)

    def remove(self, name: str) -> None:
        """Removes a note."""
        self.pop(name, None)


def test_the_most_frequent_of_all_replicas_come_first() -> None:
    """Counts of several replicas add up, and the limit cuts off those who ask least."""
    notes = Notes()
    leave(notes, "one", [("a", 10), ("b", 5)], now=0.0)
    leave(notes, "two", [("c", 8), ("b", 6)], now=1.0)
    assert take(notes, 10, now=2.0) == ["b", "a", "c"]
    assert take(notes, 1, now=2.0) == ["b"]


def test_a_replica_replaces_its_own_note() -> None:
    """Each replica has one note, and it is of a bounded size."""
    notes = Notes()
    leave(notes, "one", [("a", 1)], now=0.0)
    leave(notes, "one", [(f"c{number}", 1) for number in range(MAX_NOTED + 1)], now=1.0)
    assert list(notes) == ["one"]
    assert len(take(notes, 10_000, now=2.0)) == MAX_NOTED


def test_stale_notes_go() -> None:
    """A note of long ago neither counts nor stays."""
    notes = Notes()
    leave(notes, "old", [("a", 1)], now=0.0)
    leave(notes, "new", [("b", 1)], now=STALE_AFTER_S)
    assert take(notes, 10, now=STALE_AFTER_S + 1.0) == ["b"]
    assert list(notes) == ["new"]


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b'{"time": 0, "customers": [1]}', b"\xff"])
def test_notes_of_another_form_are_passed_over(note: bytes) -> None:
    """What cannot be read neither counts nor fails, and stays for those who can."""
    notes = Notes()
    leave(notes, "one", [("a", 1)], now=0.0)
    notes["two"] = note
    assert take(notes, 10, now=1.0) == ["a"]
    assert "two" in notes


class Unreachable(Notes):
    """Notes that cannot be reached."""

    def put(self, name: str, note: bytes) -> None:
        """Fails."""
        raise ConnectionError("unreachable")

    def all(self) -> dict[str, bytes]:
        """Fails."""
        raise ConnectionError("unreachable")


def handover(notes: Notes, replica: str = "one") -> Handover:
    """A replica that has been asked for one customer, and notes it at once."""
    frequent = FrequentCustomers()
    frequent.record("a")
    return Handover(notes=notes, replica=replica, top=frequent.top, interval_s=0.001)


async def test_what_one_leaves_another_inherits() -> None:
    """A replica notes its customers while it runs and when it stops; the next one finds them."""
    notes = Notes()
    running = asyncio.create_task(handover(notes).run())
    while "one" not in notes:
        await asyncio.sleep(0.001)
    running.cancel()
    handover(notes, "two").leave()
    assert set(notes) == {"one", "two"}
    assert await handover(notes, "three").inherited(10) == ("a",)


async def test_notes_out_of_reach_stop_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A replica starts without them, goes on and stops; each failure is in the log."""
    replica = handover(Unreachable())
    assert await replica.inherited(10) == ()
    running = asyncio.create_task(replica.run())
    while caplog.text.count("could not be noted") < 2:
        await asyncio.sleep(0.001)
    assert not running.done()
    running.cancel()
    replica.leave()
    assert "cannot be read" in caplog.text
