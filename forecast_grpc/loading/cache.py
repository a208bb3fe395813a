"""What a replica has in memory: the hot models, which Ray's multiplexer holds, and the warm ones beneath."""

from collections import OrderedDict
from dataclasses import dataclass

from forecast_grpc.domain import CacheTier, ServedModel

ModelKey = tuple[str, int | None]
"""A customer, and the version where a request named one; None for the active version."""


@dataclass(slots=True)
class ModelSlot:
    """The place of one model in memory. A newer version replaces `model`; requests in flight keep theirs."""

    key: ModelKey
    """Whose model, and which."""

    model: ServedModel
    """The model as it was last seen in the store."""

    etag: str
    """What the store calls these bytes."""

    checked_at: float
    """When the store last confirmed or replaced the model, on the loader's clock, in seconds."""

    tier: CacheTier = CacheTier.WARM
    """`hot` while Ray's multiplexer holds the slot, else `warm`."""

    refreshing: bool = False
    """Whether a check against the store is under way."""

    gone: bool = False
    """Whether the store has said that there is no such model any more."""


class ModelCache:
    """The slots of a replica: the hot ones for as long as the multiplexer keeps them, the warm ones by bytes.

    The hot slots do not count against the budget: Ray bounds their number. When one is let go, it becomes the most
    recently used of the warm ones.
    """

    def __init__(self, max_warm_bytes: int) -> None:
        self.warm_bytes = 0
        """Resident bytes of the warm models."""
        self.evictions = 0
        """Models dropped for lack of room since the start."""
        self._max_warm_bytes = max_warm_bytes
        self._hot: dict[ModelKey, ModelSlot] = {}
        self._warm: OrderedDict[ModelKey, ModelSlot] = OrderedDict()

    @property
    def hot_count(self) -> int:
        """Models that the multiplexer holds."""
        return len(self._hot)

    @property
    def warm_count(self) -> int:
        """Models that are kept beneath the hot ones."""
        return len(self._warm)

    def get(self, key: ModelKey) -> ModelSlot | None:
        """The slot of this model, now the most recently used one of its tier; None where there is none."""
        slot = self._hot.get(key)
        if slot is not None:
            return None if slot.gone else slot
        slot = self._warm.get(key)
        if slot is not None:
            self._warm.move_to_end(key)
        return slot

    def put(self, slot: ModelSlot) -> ModelSlot:
        """Takes in a freshly loaded model; returns the slot that now stands for its key.

        Where the multiplexer still holds a slot of this key (the model had been deleted and was published again),
        that slot gets the new model.
        """
        held = self._hot.get(slot.key)
        if held is not None:
            self.replace(held, slot.model, slot.etag, slot.checked_at)
            return held
        self._forget_warm(slot.key)
        self._keep_warm(slot)
        return slot

    def replace(self, slot: ModelSlot, model: ServedModel, etag: str, checked_at: float) -> None:
        """Puts a newer model into a slot; requests in flight finish with the one that they have."""
        if self._is_warm(slot):
            self.warm_bytes += model.nbytes - slot.model.nbytes
        slot.model, slot.etag, slot.checked_at, slot.gone = model, etag, checked_at, False
        self._shrink()

    def remove(self, slot: ModelSlot) -> None:
        """Takes a model that the store no longer has out of use."""
        slot.gone = True
        if self._is_warm(slot):
            self._forget_warm(slot.key)

    def promote(self, slot: ModelSlot) -> None:
        """Notes that the multiplexer has taken this slot."""
        self._forget_warm(slot.key)
        slot.tier = CacheTier.HOT
        self._hot[slot.key] = slot

    def demote(self, slot: ModelSlot) -> None:
        """Notes that the multiplexer has let go of this slot."""
        if self._hot.pop(slot.key, None) is None:
            return
        slot.tier = CacheTier.WARM
        if not slot.gone:
            self._keep_warm(slot)

    def _is_warm(self, slot: ModelSlot) -> bool:
        # While a check against the store is under way its slot may be dropped, and its key taken by another.
        return self._warm.get(slot.key) is slot

    def _keep_warm(self, slot: ModelSlot) -> None:
        self._warm[slot.key] = slot
        self.warm_bytes += slot.model.nbytes
        self._shrink()

    def _forget_warm(self, key: ModelKey) -> None:
        slot = self._warm.pop(key, None)
        if slot is not None:
            self.warm_bytes -= slot.model.nbytes

    def _shrink(self) -> None:
        while self.warm_bytes > self._max_warm_bytes and self._warm:
            _, slot = self._warm.popitem(last=False)
            self.warm_bytes -= slot.model.nbytes
            self.evictions += 1
