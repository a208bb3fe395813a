"""What the tiers are made of: slots in the order in which they came, and the marks of those that have left."""

from array import array
from dataclasses import dataclass, field

from forecast_grpc.domain import CacheTier, ServedModel
from forecast_grpc.records import LoadCause

ModelKey = tuple[str, int | None]
"""A customer, and the version where a request named one; None for the active version."""

SLOT_BYTES = 480
"""Resident bytes of a slot beside its model: the slot, its key, its entry in the table, measured."""

_MARK = 8  # Bytes of a mark.


@dataclass(slots=True, eq=False)
class ModelSlot:
    """The place of one model in memory. A newer version replaces `model`; requests in flight keep theirs."""

    key: ModelKey
    """Whose model, and which."""

    model: ServedModel
    """The model as it was last seen in the store."""

    etag: str
    """What the store calls these bytes."""

    checked_at: float
    """When the store last confirmed or replaced the model, or failed to, on the loader's clock, in seconds."""

    loaded_at: float = 0.0
    """When the model came from the store, on the loader's clock, in seconds."""

    loaded_for: LoadCause = LoadCause.REQUEST
    """What it was loaded for."""

    used_at: float = 0.0
    """When a request last looked for it, on the loader's clock, in seconds."""

    uses: int = 0
    """How often requests have found it since it came or was last given another round; at most `MAX_USES`."""

    touched_in: int = -1
    """How many models the multiplexer had taken in when it was last told that this one is in use."""

    tier: CacheTier = CacheTier.WARM
    """`hot` while Ray's multiplexer holds the slot, else `warm`."""

    refused_etag: str = ""
    """What the store calls newer bytes that are damaged; empty where there are none."""

    refreshing: bool = False
    """Whether a check against the store is under way or waits for its turn."""

    stale: bool = False
    """Whether the last check against the store failed."""

    gone: bool = False
    """Whether the store has said that there is no such model any more."""

    ring: "Ring | None" = field(default=None, repr=False)
    """Where it stands in line; None where it has no place."""

    older: "ModelSlot | None" = field(default=None, repr=False)
    """Its neighbour in the ring, which came before it."""

    newer: "ModelSlot | None" = field(default=None, repr=False)
    """Its neighbour in the ring, which came after it."""

    @property
    def nbytes(self) -> int:
        """Resident bytes of the slot with its model."""
        return self.model.nbytes + SLOT_BYTES


class Ring:
    """Slots, oldest first, and their bytes. A slot is in one ring at most.

    The links are in the slots themselves: a hundred bytes less for each than in an OrderedDict.
    """

    __slots__ = ("count", "nbytes", "newest", "oldest")

    def __init__(self) -> None:
        self.count = 0
        """Slots."""
        self.nbytes = 0
        """Their resident bytes."""
        self.oldest: ModelSlot | None = None
        """The slot that came first."""
        self.newest: ModelSlot | None = None
        """The slot that came last."""

    def push(self, slot: ModelSlot) -> None:
        """Puts a slot that is in no ring at the newest end."""
        slot.ring, slot.older, slot.newer = self, self.newest, None
        if self.newest is None:
            self.oldest = slot
        else:
            self.newest.newer = slot
        self.newest = slot
        self.count += 1
        self.nbytes += slot.nbytes

    def unlink(self, slot: ModelSlot) -> None:
        """Takes out a slot of this ring."""
        older, newer = slot.older, slot.newer
        if older is None:
            self.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self.newest = older
        else:
            newer.older = older
        slot.ring = slot.older = slot.newer = None
        self.count -= 1
        self.nbytes -= slot.nbytes


class Marks:
    """The marks of models that were dropped not long ago: of each a few bytes, in a table that never grows.

    A newer mark may take an older one's place, so the table forgets at random, and the old ones sooner than not.
    """

    def __init__(self, count: int) -> None:
        self._table = array("q", bytes(_MARK * count))

    def add(self, key: ModelKey) -> None:
        """Leaves a mark of this key."""
        mark = hash(key)
        self._table[mark % len(self._table)] = mark

    def __contains__(self, key: ModelKey) -> bool:
        mark = hash(key)
        return self._table[mark % len(self._table)] == mark
