"""Customers in the order of their last requests, and how much lies between the last request of one and now."""

BLOCK = 128
"""Places that are summed up in one: a look goes through so many places, and so many sums at most."""


class RecencyStack:
    """Who asked last, and what has been asked for since, counted in models and in bytes.

    Each request takes the next place of a long line, and gives back the one that its customer had. What has been
    asked for since is then all that stands behind: the places of one block, and the sums of the blocks after it.
    When the line is at its end, the places are dealt out anew.
    """

    def __init__(self, max_customers: int) -> None:
        """For so many customers at most: the caller drops some before there are more."""
        blocks = 2 * max_customers // BLOCK + 1
        self._end = blocks * BLOCK
        self._place: dict[str, int] = {}
        self._next = 0
        self._models = [0.0] * self._end
        self._bytes = [0.0] * self._end
        self._at = [0.0] * self._end
        self._block_models = [0.0] * blocks
        self._block_bytes = [0.0] * blocks

    def __len__(self) -> int:
        """Customers."""
        return len(self._place)

    def __contains__(self, customer_id: str) -> bool:
        return customer_id in self._place

    @property
    def models(self) -> float:
        """How many models the customers stand for."""
        return sum(self._block_models)

    @property
    def nbytes(self) -> float:
        """How many bytes they stand for."""
        return sum(self._block_bytes)

    def customers(self) -> tuple[str, ...]:
        """Who is there, the last to ask at the end."""
        return tuple(self._place)

    def since(self, customer_id: str) -> tuple[float, float]:
        """Models and bytes of the others who have asked since this customer last did."""
        place = self._place[customer_id] + 1
        last = self._next
        if last - place <= BLOCK:
            return sum(self._models[place:last]), sum(self._bytes[place:last])
        # Most requests are for those who have asked not long ago. For the others whole blocks are added up.
        after, blocks = -(-place // BLOCK), last // BLOCK + 1
        models = sum(self._models[place : after * BLOCK]) + sum(self._block_models[after:blocks])
        return models, sum(self._bytes[place : after * BLOCK]) + sum(self._block_bytes[after:blocks])

    def push(self, customer_id: str, weight: float, nbytes: float, at: float) -> None:
        """Notes a request at this time, for a model of so many bytes, which stands for `weight` like it."""
        if self._next == self._end:
            self._deal_anew()
        # Written out, since a replica does this for most of its requests.
        models, sizes = self._models, self._bytes
        block_models, block_bytes = self._block_models, self._block_bytes
        old = self._place.pop(customer_id, None)
        if old is not None:
            block = old // BLOCK
            block_models[block] -= models[old]
            block_bytes[block] -= sizes[old]
            models[old] = sizes[old] = 0.0
        place = self._place[customer_id] = self._next
        self._next = place + 1
        block = place // BLOCK
        models[place] = weight
        sizes[place] = nbytes = weight * nbytes
        self._at[place] = at
        block_models[block] += weight
        block_bytes[block] += nbytes

    def weigh(self, customer_id: str, weight: float) -> None:
        """Has a customer's model stand for so many like it, if it is there."""
        place = self._place.get(customer_id)
        if place is None:
            return
        models, nbytes = self._models[place], self._bytes[place]
        self._put(place, weight, nbytes * weight / models)

    def drop(self, customer_id: str) -> None:
        """Forgets a customer, if it is there."""
        place = self._place.pop(customer_id, None)
        if place is not None:
            self._put(place, 0.0, 0.0)

    def drop_before(self, at: float) -> None:
        """Forgets the customers whose last request is older than this."""
        # They stand at the beginning: each request takes its customer's entry out and puts a new one at the end.
        for customer_id in self.customers():
            if self._at[self._place[customer_id]] >= at:
                break
            self.drop(customer_id)

    def _put(self, place: int, models: float, nbytes: float) -> None:
        block = place // BLOCK
        self._block_models[block] += models - self._models[place]
        self._block_bytes[block] += nbytes - self._bytes[place]
        self._models[place], self._bytes[place] = models, nbytes

    def _deal_anew(self) -> None:
        """Moves everybody to the beginning, in the same order."""
        places = self._place.values()
        count = len(places)
        for values in (self._models, self._bytes, self._at):
            values[:] = [values[place] for place in places] + [0.0] * (self._end - count)
        blocks = range(0, self._end, BLOCK)
        self._block_models = [sum(self._models[start : start + BLOCK]) for start in blocks]
        self._block_bytes = [sum(self._bytes[start : start + BLOCK]) for start in blocks]
        self._place = dict(zip(self._place, range(count), strict=True))
        self._next = count
