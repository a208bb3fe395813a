"""The cache against a simple reference, whatever comes in whatever order; and what it keeps when room is short."""

from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forecast_grpc import artefact
from forecast_grpc.domain import CacheTier, ServedModel
from forecast_grpc.loading import ModelCache, ModelSlot
from forecast_grpc.loading.rings import SLOT_BYTES, Marks
from tests.stores import encode, trend

BUDGET = 10 * SLOT_BYTES
NAMES = st.sampled_from("abcdefgh")
SIZES = st.integers(1, 6 * SLOT_BYTES)
PINNED = frozenset("gh")
_DECODED = artefact.decode(encode(trend(1.0), 1), "any")


def served(nbytes: int) -> ServedModel:
    """A model of this size."""
    return ServedModel(metadata=_DECODED.metadata, forecaster=_DECODED.forecaster, nbytes=nbytes)


def slot_of(name: str, nbytes: int = SLOT_BYTES) -> ModelSlot:
    """A slot with a model of this size: by default, five of them fill the budget."""
    return ModelSlot(key=(name, None), model=served(nbytes), etag="", checked_at=0.0)


class CacheAgainstReference(RuleBasedStateMachine):
    """The reference: hot ones in a table, warm ones in another, without those that the cache said it drops.

    Slots that have lost their place are kept too: a request or a check against the store may still hold one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cache = ModelCache(BUDGET, pinned=PINNED, on_evict=self.evicted)
        self.hot: dict[str, ModelSlot] = {}
        self.warm: dict[str, ModelSlot] = {}
        self.lost: list[ModelSlot] = []

    def evicted(self, slot: ModelSlot) -> None:
        """The cache drops a model: a warm one that is not pinned, and only when there is no room for it."""
        name = slot.key[0]
        assert name not in PINNED
        if self.warm.get(name) is slot:
            del self.warm[name]
        self.lost.append(slot)
        kept = sum(each.nbytes for each in self.warm.values() if each.key[0] not in PINNED)
        assert kept + slot.nbytes > BUDGET

    def displace(self, name: str) -> None:
        """Another takes the place of the warm model of this name."""
        if name in self.warm:
            self.lost.append(self.warm.pop(name))

    @rule(name=NAMES, nbytes=SIZES)
    def load(self, name: str, nbytes: int) -> None:
        """A model comes from the store."""
        slot = slot_of(name, nbytes)
        if name in self.hot:
            assert self.cache.put(slot) is self.hot[name]
            assert self.hot[name].model is slot.model
            self.lost.append(slot)
            return
        self.displace(name)
        self.warm[name] = slot
        assert self.cache.put(slot) is slot

    @rule(name=NAMES)
    def use(self, name: str) -> None:
        """A request looks for a model."""
        slot = self.hot.get(name) or self.warm.get(name)
        assert self.cache.get((name, None)) is (None if slot is None or slot.gone else slot)

    @rule(name=NAMES)
    def admit(self, name: str) -> None:
        """The multiplexer takes a warm model."""
        slot = self.warm.pop(name, None)
        if slot is not None:
            self.cache.promote(slot)
            self.hot[name] = slot

    @rule(name=NAMES)
    def demote(self, name: str) -> None:
        """The multiplexer lets a model go."""
        slot = self.hot.pop(name, None)
        if slot is not None:
            if not slot.gone:
                self.warm[name] = slot
            self.cache.demote(slot)
            self.cache.demote(slot)

    @rule(name=NAMES, nbytes=SIZES)
    def refresh(self, name: str, nbytes: int) -> None:
        """A newer version takes a model's place."""
        slot = self.hot.get(name) or self.warm.get(name)
        if slot is not None:
            self.cache.replace(slot, served(nbytes), "", 0.0)

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
        """Counts, bytes and tiers are the reference's; the budget holds; pinned ones are beside it."""
        warm = [slot for name, slot in self.warm.items() if name not in PINNED]
        pinned = [slot for name, slot in self.warm.items() if name in PINNED]
        assert self.cache.hot_count == len(self.hot)
        assert self.cache.warm_count == len(warm)
        assert self.cache.pinned_count == len(pinned)
        assert self.cache.hot_bytes == sum(slot.nbytes for slot in self.hot.values())
        assert self.cache.warm_bytes == sum(slot.nbytes for slot in warm) <= BUDGET
        assert self.cache.pinned_bytes == sum(slot.nbytes for slot in pinned)
        assert {slot.tier for slot in self.hot.values()} <= {CacheTier.HOT}
        assert {slot.tier for slot in self.warm.values()} <= {CacheTier.WARM}
        assert all(slot.ring is None for slot in self.lost)


TestCache = CacheAgainstReference.TestCase


def test_a_model_in_use_survives_its_replacement() -> None:
    """What a request took from a slot stays whole when a newer version comes."""
    cache = ModelCache(BUDGET)
    slot = cache.put(slot_of("a", 10))
    taken = slot.model
    cache.replace(slot, served(20), "new", 1.0)
    assert taken.nbytes == 10
    assert slot.model.nbytes == 20


@pytest.mark.parametrize("budget", [0, 5])
def test_without_room_nothing_is_kept_warm(budget: int) -> None:
    """A budget smaller than a model keeps none, and counts no negative bytes."""
    dropped: list[ModelSlot] = []
    cache = ModelCache(budget, on_evict=dropped.append)
    slot = cache.put(slot_of("a"))
    assert cache.get(slot.key) is None
    cache.promote(slot)
    assert cache.get(slot.key) is slot
    cache.demote(slot)
    assert (cache.warm_bytes, cache.warm_count, dropped) == (0, 0, [slot, slot])


def filled() -> ModelCache:
    """A cache of a hundred slots' room, of which fifty are in use: each has been used again."""
    cache = ModelCache(200 * SLOT_BYTES)
    for number in range(50):
        cache.put(slot_of(f"used-{number}"))
        cache.get((f"used-{number}", None))
    return cache


def test_a_sweep_drops_nothing_that_is_in_use() -> None:
    """Ten thousand models that are used once pass through; those that were used again are all still there."""
    cache = filled()
    for number in range(10_000):
        cache.put(slot_of(f"once-{number}"))
    assert all(cache.get((f"used-{number}", None)) for number in range(50))


def test_what_is_asked_for_again_soon_after_it_was_dropped_stays() -> None:
    """Models that were dropped before their second use are among the used ones from their second load on.

    Not quite all: of two marks that fall on one place the newer stays, and where they fall is another in each
    process.
    """
    cache, names = filled(), [f"again-{number}" for number in range(20)]
    for name in names:
        cache.put(slot_of(name))
    for number in range(100):
        cache.put(slot_of(f"once-{number}"))
    assert not any(cache.get((name, None)) for name in names)
    remembered = []
    for name in names:
        if cache.was_dropped((name, None)):
            remembered.append(name)
        cache.put(slot_of(name))
    assert len(remembered) >= 10
    for number in range(100, 200):
        cache.put(slot_of(f"once-{number}"))
    assert all(cache.get((name, None)) for name in remembered)


def test_what_was_hot_and_in_use_outlives_a_sweep() -> None:
    """A model that was used while it was hot counts as used when the multiplexer lets it go."""
    cache = filled()
    used, once = cache.put(slot_of("used")), cache.put(slot_of("once"))
    for slot in (used, once):
        cache.promote(slot)
    cache.get(used.key)
    for slot in (used, once):
        cache.demote(slot)
    for number in range(1_000):
        cache.put(slot_of(f"sweep-{number}"))
    assert cache.get(used.key) is used
    assert cache.get(once.key) is None


def test_one_that_cannot_fit_drops_no_other() -> None:
    """A model bigger than the whole budget is not kept, and those that fit stay."""
    cache = filled()
    cache.put(slot_of("whale", 201 * SLOT_BYTES))
    assert cache.get(("whale", None)) is None
    assert cache.warm_count == 50


def test_pinned_customers_stay_whatever_comes() -> None:
    """A pinned customer's active model is beside the budget and never dropped; its other versions may be."""
    cache = ModelCache(BUDGET, pinned=frozenset({"vip"}))
    pinned = cache.put(slot_of("vip", 2 * BUDGET))
    make = partial(ModelSlot, model=served(SLOT_BYTES), etag="", checked_at=0.0)
    cache.put(make(key=("vip", 1)))
    for number in range(100):
        cache.put(slot_of(f"once-{number}"))
    assert cache.get(("vip", None)) is pinned
    assert cache.get(("vip", 1)) is None
    assert (cache.pinned_count, cache.pinned_bytes) == (1, pinned.nbytes)


def test_marks_take_no_more_room_than_they_were_given() -> None:
    """The latest key is known, one that never came is not; a full table forgets."""
    marks = Marks(64)
    for number in range(10_000):
        marks.add((f"c{number}", None))
        assert (f"c{number}", None) in marks
    assert ("never", None) not in marks
    assert sum((f"c{number}", None) in marks for number in range(10_000)) <= 64
