"""What a replica has in memory: the hot models, which Ray's multiplexer holds, and the warm ones beneath.

The warm ones are kept by S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): what
is new stands in a small queue first and is dropped at its end unless it has been used again, so that a sweep over
all customers passes through without touching what is in use.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from forecast_grpc.domain import CacheTier, ServedModel
from forecast_grpc.loading.rings import Marks, ModelKey, ModelSlot, Ring
from forecast_grpc.records import LoadCause

MAX_USES = 3
"""Up to how many uses of a model are told apart."""

SMALL_SHARE = 0.1
"""The share of the budget that is for new models."""

_BYTES_PER_MARK = 2_048  # About what a small model takes: as many marks as there may be models.
_MIN_MARKS, _MAX_MARKS = 1_024, 2**21


class ModelCache:
    """The slots of a replica: the hot ones for as long as the multiplexer keeps them, the warm ones by bytes.

    The hot slots do not count against the budget: Ray bounds their number. Nor do the pinned ones, which are never
    dropped. When a hot slot is let go it becomes a warm one.
    """

    def __init__(
        self,
        max_warm_bytes: int,
        *,
        pinned: AbstractSet[str] = frozenset(),
        on_evict: Callable[[ModelSlot], None] = lambda _slot: None,
    ) -> None:
        """`pinned` customers' active models are kept whatever comes; `on_evict` hears of each that is dropped."""
        self._max_warm_bytes = max_warm_bytes
        self._max_small_bytes = int(max_warm_bytes * SMALL_SHARE)
        self._pinned_customers = pinned
        self._on_evict = on_evict
        self._slots: dict[ModelKey, ModelSlot] = {}
        self._hot, self._pinned, self._small, self._main = Ring(), Ring(), Ring(), Ring()
        self._dropped = Marks(min(max(max_warm_bytes // _BYTES_PER_MARK, _MIN_MARKS), _MAX_MARKS))

    @property
    def hot_count(self) -> int:
        """Models that the multiplexer holds."""
        return self._hot.count

    @property
    def hot_bytes(self) -> int:
        """Resident bytes of the models that the multiplexer holds."""
        return self._hot.nbytes

    @property
    def warm_count(self) -> int:
        """Models that are kept beneath the hot ones, without the pinned."""
        return self._small.count + self._main.count

    @property
    def warm_bytes(self) -> int:
        """Resident bytes of the warm models, without the pinned."""
        return self._small.nbytes + self._main.nbytes

    @property
    def pinned_count(self) -> int:
        """Pinned models that are not hot."""
        return self._pinned.count

    @property
    def pinned_bytes(self) -> int:
        """Resident bytes of the pinned models that are not hot."""
        return self._pinned.nbytes

    def get(self, key: ModelKey) -> ModelSlot | None:
        """The slot of this model, which has been used by that; None where there is none."""
        slot = self._slots.get(key)
        if slot is None or slot.gone:
            return None
        if slot.uses < MAX_USES:
            slot.uses += 1
        return slot

    def peek(self, key: ModelKey) -> ModelSlot | None:
        """As `get`, without using it."""
        slot = self._slots.get(key)
        return None if slot is None or slot.gone else slot

    def was_dropped(self, key: ModelKey) -> bool:
        """Whether this model was in memory not long ago, and dropped for lack of room."""
        return key in self._dropped

    def put(self, slot: ModelSlot) -> ModelSlot:
        """Takes in a freshly loaded model; returns the slot that now stands for its key.

        Where the multiplexer still holds a slot of this key (the model had been deleted and was published again),
        that slot gets the new model.
        """
        held = self._slots.get(slot.key)
        if held is not None and held.ring is self._hot:
            self.replace(held, slot.model, slot.etag, slot.checked_at, slot.loaded_for)
            return held
        if held is not None:
            self._drop(held)
        self._keep_warm(slot, seen=slot.key in self._dropped)
        return slot

    def replace(
        self,
        slot: ModelSlot,
        model: ServedModel,
        etag: str,
        checked_at: float,
        loaded_for: LoadCause = LoadCause.REFRESH,
    ) -> None:
        """Puts a newer model into a slot; requests in flight finish with the one that they have."""
        if slot.ring is not None:
            slot.ring.nbytes += model.nbytes - slot.model.nbytes
        slot.model, slot.etag, slot.checked_at, slot.refused_etag = model, etag, checked_at, ""
        slot.loaded_at, slot.loaded_for = checked_at, loaded_for
        slot.stale = slot.gone = False
        self._shrink()

    def remove(self, slot: ModelSlot) -> None:
        """Takes a model that the store no longer has out of use."""
        slot.gone = True
        # The multiplexer cannot be made to let go: a hot slot keeps its place, and is passed over.
        if slot.ring is not None and slot.ring is not self._hot:
            self._drop(slot)

    def promote(self, slot: ModelSlot) -> None:
        """Notes that the multiplexer has taken this slot."""
        held = self._slots.get(slot.key)
        if held is not None:
            # Mostly the slot itself; another where this one was dropped before its request came to that.
            self._drop(held)
        self._slots[slot.key] = slot
        slot.tier = CacheTier.HOT
        self._hot.push(slot)

    def demote(self, slot: ModelSlot) -> None:
        """Notes that the multiplexer has let go of this slot."""
        if slot.ring is not self._hot:
            return
        self._drop(slot)
        slot.tier = CacheTier.WARM
        if not slot.gone:
            self._keep_warm(slot, seen=slot.uses > 0)

    def _keep_warm(self, slot: ModelSlot, *, seen: bool) -> None:
        """Gives a slot its place; the place of a new one unless it has been `seen` before."""
        customer_id, version = slot.key
        if version is None and customer_id in self._pinned_customers:
            ring = self._pinned
        else:
            ring = self._main if seen else self._small
        self._slots[slot.key] = slot
        slot.uses = 0
        ring.push(slot)
        if ring is not self._pinned and slot.nbytes > self._max_warm_bytes:
            # One that can never fit must not drive out all the others first.
            self._evict(slot)
        self._shrink()

    def _drop(self, slot: ModelSlot) -> None:
        if slot.ring is not None:
            slot.ring.unlink(slot)
            del self._slots[slot.key]

    def _shrink(self) -> None:
        while self.warm_bytes > self._max_warm_bytes:
            slot = self._small.oldest
            if slot is None or (self._small.nbytes <= self._max_small_bytes and self._main.oldest):
                slot = self._main.oldest
            assert slot is not None  # noqa: S101 - what takes bytes stands in one of the rings
            self._evict_or_spare(slot)

    def _evict_or_spare(self, slot: ModelSlot) -> None:
        if not slot.uses:
            self._evict(slot)
            return
        assert slot.ring is not None  # noqa: S101 - it is the oldest of its ring
        # Used since it came: a new one moves to the others, one of those gets another round for each use.
        slot.uses = 0 if slot.ring is self._small else slot.uses - 1
        slot.ring.unlink(slot)
        self._main.push(slot)

    def _evict(self, slot: ModelSlot) -> None:
        self._drop(slot)
        self._dropped.add(slot.key)
        self._on_evict(slot)
