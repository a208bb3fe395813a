"""The cache against a simple reference: whatever comes in whatever order."""

from collections import OrderedDict
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forecast_grpc import artefact
from forecast_grpc.domain import CacheTier, ServedModel
from forecast_grpc.loading import ModelCache, ModelSlot
from tests.stores import encode, trend

BUDGET = 1_000
NAMES = st.sampled_from("abcdef")
SIZES = st.integers(1, 600)
_DECODED = artefact.decode(encode(trend(1.0), 1), "any")


def served(nbytes: int) -> ServedModel:
    """A model of this size."""
    return ServedModel(metadata=_DECODED.metadata, forecaster=_DECODED.forecaster, nbytes=nbytes)


class CacheAgainstReference(RuleBasedStateMachine):
    """The reference: hot ones in a set, warm ones in the order of their use, dropped from the old end.

    Slots that have lost their place are kept too: a request or a check against the store may still hold one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cache = ModelCache(BUDGET)
        self.hot: dict[str, ModelSlot] = {}
        self.warm: OrderedDict[str, ModelSlot] = OrderedDict()
        self.lost: list[ModelSlot] = []

    def shrink(self) -> None:
        """Drops the warm models that there is no room for."""
        while sum(slot.model.nbytes for slot in self.warm.values()) > BUDGET:
            self.lost.append(self.warm.popitem(last=False)[1])

    def displace(self, name: str) -> None:
        """Drops the warm model of this name."""
        if name in self.warm:
            self.lost.append(self.warm.pop(name))

    @rule(name=NAMES, nbytes=SIZES)
    def load(self, name: str, nbytes: int) -> None:
        """A model comes from the store."""
        slot = ModelSlot(key=(name, None), model=served(nbytes), etag="", checked_at=0.0)
        kept = self.cache.put(slot)
        if name in self.hot:
            assert kept is self.hot[name]
            assert kept.model is slot.model
            self.lost.append(slot)
            return
        self.displace(name)
        self.warm[name] = slot
        self.shrink()

    @rule(name=NAMES)
    def use(self, name: str) -> None:
        """A request looks for a model."""
        slot = self.cache.get((name, None))
        if name in self.hot:
            assert slot is (None if self.hot[name].gone else self.hot[name])
        else:
            assert slot is self.warm.get(name)
            if slot is not None:
                self.warm.move_to_end(name)

    @rule(name=NAMES)
    def admit(self, name: str) -> None:
        """The multiplexer takes a warm model."""
        slot = self.warm.pop(name, None)
        if slot is not None:
            self.cache.promote(slot)
            self.hot[name] = slot

    @rule(name=NAMES)
    def evict(self, name: str) -> None:
        """The multiplexer lets a model go."""
        slot = self.hot.pop(name, None)
        if slot is not None:
            self.cache.demote(slot)
            if not slot.gone:
                self.warm[name] = slot
                self.shrink()

    @rule(name=NAMES, nbytes=SIZES)
    def refresh(self, name: str, nbytes: int) -> None:
        """A newer version takes a model's place."""
        slot = self.hot.get(name) or self.warm.get(name)
        if slot is not None:
            self.cache.replace(slot, served(nbytes), "", 0.0)
            self.shrink()

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        """The store has the model no more."""
        slot = self.hot.get(name) or self.warm.get(name)
        if slot is not None:
            self.cache.remove(slot)
            self.displace(name)

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def admit_late(self, data: st.DataObject) -> None:
        """The multiplexer takes a model that was dropped before its request came to that."""
        slot = data.draw(st.sampled_from(self.lost))
        if slot.key[0] not in self.hot and not slot.gone:
            self.displace(slot.key[0])
            self.cache.promote(slot)
            self.hot[slot.key[0]] = slot
            self.lost = [each for each in self.lost if each is not slot]

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), nbytes=SIZES)
    def refresh_late(self, data: st.DataObject, nbytes: int) -> None:
        """A check that began before its model was dropped brings a newer version: what has its place stays."""
        self.cache.replace(data.draw(st.sampled_from(self.lost)), served(nbytes), "", 0.0)

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def delete_late(self, data: st.DataObject) -> None:
        """A check that began before its model was dropped finds it deleted: what has its place stays."""
        self.cache.remove(data.draw(st.sampled_from(self.lost)))

    @invariant()
    def agrees(self) -> None:
        """Counts, bytes and tiers are the reference's; the budget holds."""
        assert self.cache.hot_count == len(self.hot)
        assert self.cache.warm_count == len(self.warm)
        assert self.cache.warm_bytes == sum(slot.model.nbytes for slot in self.warm.values()) <= BUDGET
        assert {slot.tier for slot in self.hot.values()} <= {CacheTier.HOT}
        assert {slot.tier for slot in self.warm.values()} <= {CacheTier.WARM}


TestCache = CacheAgainstReference.TestCase


def test_a_model_in_use_survives_its_replacement() -> None:
    """What a request took from a slot stays whole when a newer version comes."""
    cache = ModelCache(BUDGET)
    slot = cache.put(ModelSlot(key=("a", None), model=served(10), etag="", checked_at=0.0))
    taken = slot.model
    cache.replace(slot, served(20), "new", 1.0)
    assert taken.nbytes == 10
    assert slot.model.nbytes == 20


@pytest.mark.parametrize("budget", [0, 5])
def test_without_room_nothing_is_kept_warm(budget: int) -> None:
    """A budget smaller than a model keeps none, and counts no negative bytes."""
    cache = ModelCache(budget)
    make = partial(ModelSlot, model=served(10), etag="", checked_at=0.0)
    slot = cache.put(make(key=("a", None)))
    assert cache.get(("a", None)) is None
    cache.promote(slot)
    assert cache.get(("a", None)) is slot
    cache.demote(slot)
    assert (cache.warm_bytes, cache.warm_count, cache.evictions) == (0, 0, 2)
