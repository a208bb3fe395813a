"""One call's work: items come in, blocks of results go out, those of models in memory first."""

from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np

from forecast_grpc.bulk.loads import Loads
from forecast_grpc.bulk.pacing import Pacer
from forecast_grpc.bulk.rows import Asking, Lot, lots, rows_of, single_of
from forecast_grpc.call import Call
from forecast_grpc.customer import require_customer_id
from forecast_grpc.domain import Answer, CacheTier, ForecastResult
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError, InternalError, RequestInvalid
from forecast_grpc.items import Block, Group, Items, ModelKey, Rows, Single
from forecast_grpc.loading import Acquired

CHUNK = 512
"""Items that are decoded at a time."""


class Work:
    """What a batch or a stream has asked for and not got yet. Close it at the end."""

    def __init__(self, engine: Engine, call: Call, max_loads: int) -> None:
        """`max_loads`: models that this call may load at the same time."""
        self._engine = engine
        self._call = call
        self._pacer = Pacer()
        self._loads = Loads(engine.hot.fetch, max_loads)
        self._waiting: dict[ModelKey, list[tuple[Items, Group | Single]]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether items wait for a model."""
        return bool(self._waiting)

    async def taken(self, items: Items) -> AsyncIterator[Block]:
        """The results of all items whose models are in memory, or that are in error; the others then wait."""
        for start in range(0, len(items), CHUNK):
            groups, singles = items.read(start, start + CHUNK)
            await self._pacer.rest()
            for group in groups:
                async for block in self._group(items, group):
                    yield block
            for single in singles:
                answered = await self._single(items, single)
                if answered is not None:
                    yield answered

    async def loaded(self) -> AsyncIterator[Block]:
        """Waits until models have arrived; then the results of all items that waited for those."""
        arrivals = await self._loads.arrivals()
        self._pacer.resume()
        for key, arrived in arrivals:
            for items, asked in self._waiting.pop(key):
                if not isinstance(arrived, Acquired):
                    yield Block(items=items, places=_places(asked), outcome=self._error(arrived))
                elif isinstance(asked, Single):
                    yield await self._answered(items, asked, arrived)
                else:
                    async for block in self._forecast(items, asked, [(arrived, range(len(asked.places)))]):
                        yield block
            if isinstance(arrived, Acquired):
                self._note(key, arrived)

    def close(self) -> None:
        """Ends the waiting."""
        self._loads.close()
        self._waiting.clear()

    async def _group(self, items: Items, group: Group) -> AsyncIterator[Block]:
        """The results of those items of a group whose models are in memory; the others then wait."""
        asking: list[Asking] = []
        for key, rows in _by_key(group).items():
            held = self._held(key)
            if isinstance(held, Acquired):
                asking.append((held, rows))
            elif held is None:
                self._wait(key, items, group.part(rows))
            else:
                yield Block(items=items, places=[group.places[row] for row in rows], outcome=held)
        async for block in self._forecast(items, group, asking):
            yield block

    async def _single(self, items: Items, single: Single) -> Block | None:
        """The same of an item that is answered on its own."""
        known = _customer_error(single.customer_id)
        if known is None and isinstance(single.query, ForecastError):
            known = single.query
        if known is not None:
            return Block(items=items, places=(single.place,), outcome=known)
        assert not isinstance(single.query, ForecastError)  # noqa: S101 - it has been answered
        key = (single.customer_id, single.query.model_version)
        held = self._held(key)
        if isinstance(held, Acquired):
            return await self._answered(items, single, held)
        self._wait(key, items, single)
        return None

    async def _forecast(self, items: Items, group: Group, asking: Sequence[Asking]) -> AsyncIterator[Block]:
        """The results of rows of a group, whose models have come."""
        for lot in lots(group, asking, self._engine.limits.max_horizon):
            if lot.horizon and not items.allowance.take(
                len(lot.rows) * lot.horizon * (1 + len(group.levels))
            ):
                yield Block(items=items, places=_some(group.places, lot.rows), outcome=_too_long(items))
                continue
            rows = self._rows(group, lot)
            if rows is not None and np.isfinite(rows.forecast).all():
                yield Block(items=items, places=_some(group.places, lot.rows), outcome=rows)
                await self._pacer.rest()
                continue
            models = lot.models * len(lot.rows) if len(lot.models) == 1 else lot.models
            for row, acquired in zip(lot.rows, models, strict=True):
                yield await self._answered(items, single_of(group, row), acquired)

    async def _answered(self, items: Items, single: Single, acquired: Acquired) -> Block:
        """The result of an item that is answered on its own."""
        allowed = items.allowance.take(_values(single, acquired))
        outcome = await self._answer(single, acquired) if allowed else _too_long(items)
        await self._pacer.rest()
        return Block(items=items, places=(single.place,), outcome=outcome)

    async def _answer(self, single: Single, acquired: Acquired) -> Answer | ForecastError:
        if isinstance(single.query, ForecastError):
            return single.query
        try:
            result = self._engine.forecast_with(acquired.model, single.query)
            if not isinstance(result, ForecastResult):
                result = await result
        except Exception as exc:  # noqa: BLE001 - an item that fails fails alone
            return self._error(exc)
        metadata, tier = acquired.model.metadata, acquired.tier
        return Answer(customer_id=single.customer_id, result=result, metadata=metadata, tier=tier)

    def _rows(self, group: Group, lot: Lot) -> Rows | None:
        """The forecasts of a lot; None where its rows have to be answered one by one."""
        if lot.horizon is None:
            return None
        try:
            return rows_of(group, lot)
        except Exception as exc:  # noqa: BLE001 - one by one it shows which of them failed
            self._engine.telemetry.failure(self._call.request_id, exc)
            return None

    def _held(self, key: ModelKey) -> Acquired | ForecastError | None:
        """The model, if it is in memory and nobody waits for it; or why there can be none."""
        if key in self._waiting:
            return None
        if (error := _customer_error(key[0])) is not None:
            return error
        held = self._engine.hot.held(*key)
        if held is not None:
            self._note(key, held)
        return held

    def _wait(self, key: ModelKey, items: Items, asked: Group | Single) -> None:
        if key not in self._waiting:
            self._waiting[key] = []
            self._loads.want(key)
        self._waiting[key].append((items, asked))

    def _note(self, key: ModelKey, acquired: Acquired) -> None:
        """Notes who has asked, and where the model was."""
        self._call.reached(acquired.tier)
        hit = acquired.tier is not CacheTier.COLD
        self._engine.accesses.record(key[0], acquired.model.nbytes, hit=hit)

    def _error(self, exc: Exception) -> ForecastError:
        """What the caller gets to see of it."""
        if isinstance(exc, ForecastError):
            return exc
        self._engine.telemetry.failure(self._call.request_id, exc)
        return InternalError(self._call.request_id)


def _values(single: Single, acquired: Acquired) -> int:
    """How many values the forecast of an item holds."""
    if isinstance(single.query, ForecastError):
        return 0
    horizon = acquired.model.metadata.horizon if single.query.horizon is None else single.query.horizon
    return horizon * (1 + len(single.query.quantile_levels))


def _too_long(items: Items) -> ForecastError:
    most = items.allowance.most
    return RequestInvalid.of("horizon", f"the forecasts of all items together may hold {most} values at most")


def _customer_error(customer_id: str) -> ForecastError | None:
    """What is wrong with the customer's name, if anything is."""
    try:
        require_customer_id(customer_id)
    except ForecastError as exc:
        return exc
    return None


def _places(asked: Group | Single) -> Sequence[int]:
    return asked.places if isinstance(asked, Group) else (asked.place,)


def _some(places: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
    return places if len(rows) == len(places) else [places[row] for row in rows]


def _by_key(group: Group) -> Mapping[ModelKey, Sequence[int]]:
    """The rows of a group by the model that they ask."""
    first = group.keys[0]
    if group.keys.count(first) == len(group.keys):
        return {first: range(len(group.keys))}
    by_key: dict[ModelKey, list[int]] = {}
    for row, key in enumerate(group.keys):
        if key in by_key:
            by_key[key].append(row)
        else:
            by_key[key] = [row]
    return by_key
