"""A table in, an outcome for each customer out, the models in a store."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial

from forecast_grpc.domain import ModelMetadata
from forecast_grpc.fit.fitting import FittedModel, fit_series
from forecast_grpc.fit.job import FitJob
from forecast_grpc.fit.parts import parts
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.publication import settled
from forecast_grpc.fit.series import Series
from forecast_grpc.fit.table import Table
from forecast_grpc.store import ModelStore, open_store

_REQUESTS = 8  # To the store at a time: a bucket takes tens of milliseconds for each.
_TOGETHER = 8  # Customers whose requests are made together where all is done in this process.


class Status(StrEnum):
    """What became of one customer."""

    FITTED = "fitted"
    """A model was fitted, and published nowhere."""

    PUBLISHED = "published"
    """A model was fitted, and is active."""

    UNCHANGED = "unchanged"
    """The newest model in the store came from the same history and options, and is active."""

    FAILED = "failed"
    """There is no model of this history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutcome:
    """What became of one customer. Exactly one of `metadata` and `error` is set."""

    customer_id: str
    """The customer."""

    status: Status
    """In a word."""

    metadata: ModelMetadata | None = None
    """What the model's artefact says of it; the version counts where it was published."""

    error: str | None = None
    """Why there is none: one sentence for a person."""

    duration_s: float = 0.0
    """Time that fitting took in seconds."""

    @property
    def version(self) -> int | None:
        """The version in the store; None where nothing was published."""
        published = self.metadata is not None and self.status is not Status.FITTED
        return self.metadata.model_version if self.metadata and published else None


def fit_table(table: Table, job: FitJob) -> Iterator[FitOutcome]:
    """Fits every customer of the table in this process, lazily and in the table's order; yields what came of each.

    A customer that cannot be fitted yields an outcome with `error`, and the others go on. Raises StoreUnavailable
    where the store does not answer, ValueError where `job.store` can be none.
    """
    for part in parts(table, _TOGETHER if job.store else 1):
        yield from fit_part(part, job)


def fit_part(part: Table, job: FitJob) -> list[FitOutcome]:
    """Does the job for all customers of a small table. Raises as `fit_table`."""
    waiting = [_prepared(part, customer_id, job) for customer_id in part]
    if job.store is None:
        return [_unpublished(_fitted(each, job)) for each in waiting]
    store = _opened(job.store)
    with ThreadPoolExecutor(_REQUESTS) as pool:
        # One step after the other: a request that needs the interpreter beside a fit waits 5 ms for it each time.
        unknown = list(pool.map(partial(_known, store, job), waiting))
        ready = [_fitted(each, job) for each in unknown]
        return list(pool.map(partial(_published, store, job), ready))


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A customer that is to be fitted."""

    series: Series
    digest: str


@dataclass(frozen=True, slots=True)
class _Ready:
    """A customer that was fitted."""

    customer_id: str
    model: FittedModel
    duration_s: float


@cache
def _opened(address: str) -> ModelStore:
    return open_store(address)


def _failed(customer_id: str, error: str, duration_s: float = 0.0) -> FitOutcome:
    return FitOutcome(customer_id=customer_id, status=Status.FAILED, error=error, duration_s=duration_s)


def _prepared(part: Table, customer_id: str, job: FitJob) -> _Waiting | FitOutcome:
    try:
        series = part.series(customer_id)
    except SeriesError as exc:
        return _failed(customer_id, str(exc))
    return _Waiting(series, job.digest(series))


def _known(store: ModelStore, job: FitJob, customer: _Waiting | FitOutcome) -> _Waiting | FitOutcome:
    """The outcome where there is nothing left to do."""
    if isinstance(customer, FitOutcome) or job.again:
        return customer
    customer_id = customer.series.customer_id
    found = settled(store, customer_id, customer.digest)
    if found is None:
        return customer
    return FitOutcome(customer_id=customer_id, status=Status.UNCHANGED, metadata=found)


def _fitted(customer: _Waiting | FitOutcome, job: FitJob) -> _Ready | FitOutcome:
    if isinstance(customer, FitOutcome):
        return customer
    customer_id, start = customer.series.customer_id, time.perf_counter()
    try:
        model = _fit(customer, job)
    except SeriesError as exc:
        return _failed(customer_id, str(exc), time.perf_counter() - start)
    except Exception as exc:  # noqa: BLE001 - a fault of ours with one history must not end the fit of all others.
        error = f"this is a fault of forecast-grpc: {type(exc).__name__}: {exc}"
        return _failed(customer_id, error, time.perf_counter() - start)
    return _Ready(customer_id, model, time.perf_counter() - start)


def _fit(customer: _Waiting, job: FitJob) -> FittedModel:
    model = fit_series(
        customer.series,
        family=job.family,
        horizon=job.horizon,
        season_length=job.season_length,
        trained_time=job.trained_time,
    )
    return replace(model, metadata=replace(model.metadata, fit_digest=customer.digest))


def _unpublished(customer: _Ready | FitOutcome) -> FitOutcome:
    return customer if isinstance(customer, FitOutcome) else _done(customer, Status.FITTED, 1)


def _published(store: ModelStore, job: FitJob, customer: _Ready | FitOutcome) -> FitOutcome:
    if isinstance(customer, FitOutcome):
        return customer
    try:
        encode = job.encoder(customer.customer_id, customer.model.encode)
        version = store.publish(customer.customer_id, encode)
    except ValueError as exc:
        return _failed(customer.customer_id, f"the model cannot be stored: {exc}", customer.duration_s)
    return _done(customer, Status.PUBLISHED, version)


def _done(customer: _Ready, status: Status, version: int) -> FitOutcome:
    return FitOutcome(
        customer_id=customer.customer_id,
        status=status,
        metadata=replace(customer.model.metadata, model_version=version),
        duration_s=customer.duration_s,
    )
