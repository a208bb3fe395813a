"""Models that hold more than memory are closed once, after their last request, and never under one."""

import asyncio
from dataclasses import dataclass, field

import pytest

from forecast_grpc.domain import ServedModel
from forecast_grpc.loading import ModelCache, ModelSlot
from forecast_grpc.loading.closing import closed_after_use
from tests.loading.test_cache import served


@dataclass(slots=True, eq=False)
class Session:
    """A forecaster, as far as closing goes, that holds something."""

    closed: list[str]
    """Where it writes that it was closed."""

    failing: bool = False
    """Whether closing raises."""

    parts: list[int] = field(default_factory=list)
    """What it works with; gone once it is closed."""

    def close(self) -> None:
        """Lets go."""
        self.closed.append("closed")
        if self.failing:
            raise OSError("the device does not answer")


def session_model(closed: list[str], *, failing: bool = False) -> ServedModel:
    """A model on such a session, as the loader puts it into memory."""
    forecaster = Session(closed, failing)
    model = ServedModel(metadata=served(1).metadata, forecaster=forecaster, nbytes=1)  # type: ignore[arg-type]
    return closed_after_use(model)


def test_a_model_without_close_is_left_alone() -> None:
    """What holds memory alone costs nothing more."""
    model = served(1)
    assert closed_after_use(model) is model


def test_replaced_evicted_or_removed_it_is_closed_once() -> None:
    """However a model leaves the memory, it is closed when nothing refers to it any more, and only once."""
    closed: list[str] = []
    cache = ModelCache(2**20)
    slot = cache.put(ModelSlot(key=("a", None), model=session_model(closed), etag="", checked_at=0.0))
    cache.replace(slot, session_model(closed), "new", 0.0)
    assert len(closed) == 1
    cache.promote(slot)
    cache.demote(slot)
    cache.remove(slot)
    assert len(closed) == 1
    del slot
    assert len(closed) == 2


async def test_a_model_in_use_is_not_closed() -> None:
    """Two requests hold a model that was replaced: the second to end closes it."""
    closed: list[str] = []
    slot = ModelCache(0).put(ModelSlot(key=("a", None), model=session_model(closed), etag="", checked_at=0.0))
    ends = [asyncio.Event(), asyncio.Event()]

    async def request(model: ServedModel, end: asyncio.Event) -> None:
        await end.wait()
        assert model.forecaster.closed == []  # type: ignore[attr-defined]

    requests = [asyncio.create_task(request(slot.model, end)) for end in ends]
    await asyncio.sleep(0)
    slot.model = served(1)
    for end, task in zip(ends, requests, strict=True):
        assert closed == []
        end.set()
        await task
        requests = [each for each in requests if each is not task]
        del task
    assert closed == ["closed"]


def test_a_model_that_cannot_be_closed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error in `close` reaches the log, and no request."""
    closed: list[str] = []
    session_model(closed, failing=True)
    assert closed == ["closed"]
    assert "the device does not answer" in caplog.text
