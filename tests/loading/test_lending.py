"""Models from other replicas, while the store does not answer."""

import asyncio
import pickle
from functools import partial

import numpy as np
import pytest

from forecast_grpc.domain import Forecaster, ServedModel
from forecast_grpc.errors import StoreUnavailable
from forecast_grpc.fleet import LocalModels, borrow
from forecast_grpc.loading import AccessLog, Loan, ModelLoader
from forecast_grpc.loading.fetching import DOWN_AFTER
from forecast_grpc.loading.loader import PATIENCE_S
from forecast_grpc.store.base import store_unavailable
from tests.fake_fleet import HouseFleet
from tests.fake_usage import usage_of
from tests.loading.conftest import Bench, MakeBench
from tests.loading.test_loader import settled
from tests.models.examples import MODELS


def lender_of(bench: Bench) -> LocalModels:
    """A replica as the others ask it."""
    return LocalModels(
        replica="r1",
        loader=bench.loader,
        journal=bench.telemetry.journal,
        usage=partial(usage_of, "r1", AccessLog()),
        clock=lambda: bench.now[0],
    )


async def two(make_bench: MakeBench) -> tuple[Bench, Bench]:
    """A replica that has the models of `a` and `b`, and one that has none and asks it; the store has gone."""
    ours, theirs = await make_bench(), await make_bench()
    for name in "ab":
        theirs.publish(name)
        await theirs.loader.load(name)
    lender = lender_of(theirs)
    ours.loader = ModelLoader(
        store=ours.store,
        decode=ours.loader._decode,
        cache=ours.cache,
        telemetry=ours.telemetry,
        limits=ours.loader._limits,
        borrow=partial(borrow, HouseFleet([lender])),
        clock=lambda: ours.now[0],
    )
    ours.store.failure = store_unavailable("The store of models does not answer.")
    return ours, theirs


async def test_a_model_is_lent_while_the_store_is_silent(make_bench: MakeBench) -> None:
    """What another replica has is served, at first after a failure, then before the store is asked at all."""
    ours, _ = await two(make_bench)
    slot = await ours.loader.load("a")
    assert (slot.model.metadata.model_version, slot.stale) == (1, True)
    assert ours.loader.lookup("a") is slot
    for number in range(DOWN_AFTER):
        with pytest.raises(StoreUnavailable):
            await ours.loader.load(f"nobody-{number}")
    asked = len(ours.store.fetches)
    await ours.loader.load("b")
    assert len(ours.store.fetches) == asked
    assert ours.count("loads", outcome="lent") == 2


async def test_a_loan_is_checked_when_the_store_is_back(make_bench: MakeBench) -> None:
    """The newer version takes the place of the lent one, as of any that is old."""
    ours, theirs = await two(make_bench)
    await ours.loader.load("a")
    theirs.publish("a", 2.0)
    ours.store.failure = None
    ours.now[0] = 11.0
    ours.loader.lookup("a")
    await settled(ours)
    slot = ours.loader.lookup("a")
    assert slot is not None
    assert (slot.model.metadata.model_version, slot.stale) == (2, False)


async def test_only_what_may_be_lent_is(make_bench: MakeBench) -> None:
    """A version that is asked for by number and a model that nobody has are not; many callers get one loan."""
    ours, _ = await two(make_bench)
    for customer, version in (("a", 1), ("nobody", None)):
        with pytest.raises(StoreUnavailable) as refused:
            await ours.loader.load(customer, version)
        assert refused.value.retry_after_s
    slots = await asyncio.gather(*(ours.loader.load("a") for _ in range(50)))
    assert len(set(map(id, slots))) == 1
    assert ours.count("loads", outcome="lent") == 1


async def test_a_replica_that_says_nothing_holds_up_nobody(make_bench: MakeBench) -> None:
    """Where no loan comes in time, the error does."""
    ours, _ = await two(make_bench)

    async def never(_customer: str) -> Loan | None:
        await asyncio.Event().wait()
        return None

    ours.loader._borrower._borrow = never
    async with asyncio.timeout(20 * PATIENCE_S):
        with pytest.raises(StoreUnavailable):
            await ours.loader.load("a")


@pytest.mark.parametrize("family", sorted(set(MODELS) - {"onnx"}))
def test_a_lent_model_forecasts_the_same(family: str) -> None:
    """What travels to another process gives the same numbers."""
    forecaster: Forecaster = MODELS[family]
    tail = np.asarray(forecaster.tail)
    lent = pickle.loads(pickle.dumps(forecaster))
    assert (lent.forecast(tail, 7) == forecaster.forecast(tail, 7)).all()


async def test_what_holds_a_session_is_not_lent(make_bench: MakeBench) -> None:
    """A model with a `close` stays where it is."""
    _, theirs = await two(make_bench)
    slot = theirs.loader.peek("a")
    assert slot is not None
    slot.model = ServedModel(metadata=slot.model.metadata, forecaster=MODELS["onnx"], nbytes=1)
    lender = lender_of(theirs)
    assert await lender.lend("a") is None
    assert await lender.lend("b") is not None
