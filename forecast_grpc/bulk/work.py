"""One call's work: items come in, blocks of results go out, those of models in memory first."""

from collections.abc import AsyncIterator, Sequence

import numpy as np

from forecast_grpc.bulk.loads import Loads
from forecast_grpc.bulk.pacing import Pacer
from forecast_grpc.bulk.rows import rows_of, single_of
from forecast_grpc.call import Call
from forecast_grpc.customer import require_customer_id
from forecast_grpc.domain import Answer, CacheTier
from forecast_grpc.engine import Engine
from forecast_grpc.errors import ForecastError, InternalError
from forecast_grpc.items import Block, Group, Items, Rows, Single
from forecast_grpc.loading import Acquired
from forecast_grpc.loading.rings import ModelKey

CHUNK = 512
"""Items that are decoded at a time."""

Job = Group | Single
"""What one model is asked at once."""

Asked = tuple[Items, Job]
"""A job, and what it is a part of."""


class Work:
    """What a batch or a stream has asked for and not got yet. Close it at the end."""

    def __init__(self, engine: Engine, call: Call, max_loads: int) -> None:
        """`max_loads`: models that this call may load at the same time."""
        self._engine = engine
        self._call = call
        self._pacer = Pacer()
        self._loads = Loads(engine.hot.fetch, max_loads)
        self._waiting: dict[ModelKey, list[Asked]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether items wait for a model."""
        return bool(self._waiting)

    async def taken(self, items: Items) -> AsyncIterator[Block]:
        """The results of all items whose models are in memory, or that are in error; the others then wait."""
        for start in range(0, len(items), CHUNK):
            groups, singles = items.read(start, start + CHUNK)
            jobs: list[Job] = [*groups, *singles]
            for job in jobs:
                outcome = self._model(items, job)
                if isinstance(outcome, ForecastError):
                    yield Block(items=items, places=_places(job), outcome=outcome)
                elif outcome is not None:
                    async for block in self._answered((items, job), outcome):
                        yield block

    async def loaded(self) -> AsyncIterator[Block]:
        """Waits until models have arrived; then the results of all items that waited for those."""
        arrivals = await self._loads.arrivals()
        self._pacer.resume()
        for key, arrived in arrivals:
            for items, job in self._waiting.pop(key):
                if isinstance(arrived, Acquired):
                    async for block in self._answered((items, job), arrived):
                        yield block
                else:
                    yield Block(items=items, places=_places(job), outcome=self._error(arrived))

    def close(self) -> None:
        """Ends the waiting."""
        self._loads.close()
        self._waiting.clear()

    def _model(self, items: Items, job: Job) -> Acquired | ForecastError | None:
        """The job's model, or what its items get instead; None where they now wait for it."""
        try:
            require_customer_id(job.customer_id)
        except ForecastError as exc:
            return exc
        if isinstance(job, Group):
            version = job.model_version
        elif isinstance(job.query, ForecastError):
            return job.query
        else:
            version = job.query.model_version
        key = (job.customer_id, version)
        if key in self._waiting:
            self._waiting[key].append((items, job))
            return None
        held = self._engine.hot.held(*key)
        if held is None:
            self._waiting[key] = [(items, job)]
            self._loads.want(key)
        return held

    async def _answered(self, asked: Asked, acquired: Acquired) -> AsyncIterator[Block]:
        items, job = asked
        self._call.reached(acquired.tier)
        hit = acquired.tier is not CacheTier.COLD
        self._engine.accesses.record(job.customer_id, acquired.model.nbytes, hit=hit)
        singles: Sequence[Single] = [job] if isinstance(job, Single) else ()
        if isinstance(job, Group):
            rows = self._rows(job, acquired)
            places = range(len(job.places))
            if rows is not None:
                finite = np.isfinite(rows.forecast).all(axis=1)
                if finite.all():
                    yield Block(items=items, places=job.places, outcome=rows)
                    await self._pacer.rest()
                    return
            singles = [single_of(job, row) for row in places]
        for single in singles:
            outcome = await self._answer(single, acquired)
            yield Block(items=items, places=(single.place,), outcome=outcome)
            await self._pacer.rest()

    def _rows(self, group: Group, acquired: Acquired) -> Rows | None:
        try:
            return rows_of(acquired.model, group, self._engine.limits.max_horizon)
        except Exception as exc:  # noqa: BLE001 - one by one it shows whose fault it is
            self._engine.telemetry.failure(self._call.request_id, exc)
            return None

    async def _answer(self, single: Single, acquired: Acquired) -> Answer | ForecastError:
        assert not isinstance(single.query, ForecastError)  # noqa: S101 - those have been answered before
        try:
            result = await self._engine.forecast_with(acquired.model, single.query)
        except Exception as exc:  # noqa: BLE001 - an item that fails fails alone
            return self._error(exc)
        return Answer(
            customer_id=single.customer_id,
            result=result,
            metadata=acquired.model.metadata,
            tier=acquired.tier,
        )

    def _error(self, exc: Exception) -> ForecastError:
        """What the caller gets to see of it."""
        if isinstance(exc, ForecastError):
            return exc
        self._engine.telemetry.failure(self._call.request_id, exc)
        return InternalError(self._call.request_id)


def _places(job: Job) -> Sequence[int]:
    return job.places if isinstance(job, Group) else (job.place,)
