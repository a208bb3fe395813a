"""A table in, an outcome for each customer out, lazily."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing import get_context

import numpy as np

from forecast_grpc.fit.fitting import AUTO, FittedModel, check_options, fit_series
from forecast_grpc.fit.problems import SeriesError
from forecast_grpc.fit.series import Series
from forecast_grpc.fit.table import Table

_AHEAD = 4  # Customers for each process that wait in line, so that none runs dry.


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutcome:
    """What became of one customer. Exactly one of `model` and `error` is set."""

    customer_id: str
    """The customer."""

    model: FittedModel | None = None
    """The fitted model."""

    error: str | None = None
    """Why there is none: one sentence for a person."""

    duration_s: float
    """Time spent on this customer in seconds."""


def fit_table(
    table: Table,
    *,
    family: str = AUTO,
    horizon: int | None = None,
    season_length: int | None = None,
    trained_time: datetime | None = None,
    processes: int = 1,
) -> Iterator[FitOutcome]:
    """Fits every customer of the table, lazily and in the table's order, and yields one outcome for each.

    A customer that cannot be fitted yields an outcome with `error`, and the others go on. Options as in
    `fit_series`, checked at once. `processes` > 1 fits that many customers at a time in processes of their
    own.
    """
    check_options(family, horizon, season_length)
    fit = partial(
        fit_series, family=family, horizon=horizon, season_length=season_length, trained_time=trained_time
    )
    if processes > 1:
        return _in_processes(table, fit, processes)
    return (_fitted(fit, _prepared(table, customer_id)) for customer_id in table)


def _prepared(table: Table, customer_id: str) -> Series | FitOutcome:
    """The customer's series, or the outcome that says why there is none."""
    try:
        return table.series(customer_id)
    except SeriesError as exc:
        return FitOutcome(customer_id=customer_id, error=str(exc), duration_s=0.0)


def _fitted(fit: Callable[[Series], FittedModel], prepared: Series | FitOutcome) -> FitOutcome:
    if isinstance(prepared, FitOutcome):
        return prepared
    model, error, start = None, None, time.perf_counter()
    try:
        model = fit(prepared)
    except (SeriesError, np.linalg.LinAlgError) as exc:
        error = str(exc)
    duration_s = time.perf_counter() - start
    return FitOutcome(customer_id=prepared.customer_id, model=model, error=error, duration_s=duration_s)


def _in_processes(table: Table, fit: Callable[[Series], FittedModel], processes: int) -> Iterator[FitOutcome]:
    pool = ProcessPoolExecutor(
        processes,
        # A forked child would inherit the locks of whatever threads the caller runs.
        mp_context=get_context("spawn"),
        # Before numpy loads it: the threads of several OpenBLAS on the same cores wait for each other, and a fit
        # took eight times as long.
        initializer=os.putenv,
        initargs=("OPENBLAS_NUM_THREADS", "1"),
    )
    with pool:
        line: deque[Future[FitOutcome]] = deque()
        for customer_id in table:
            line.append(pool.submit(_fitted, fit, _prepared(table, customer_id)))
            if len(line) > processes * _AHEAD:
                yield line.popleft().result()
        while line:
            yield line.popleft().result()
