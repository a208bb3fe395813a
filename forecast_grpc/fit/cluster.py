"""A table in, an outcome for each customer out, fitted by the processes of a Ray cluster.

The table is cut into parts, and a few more of them are on their way than there are processes: neither Ray's
scheduler nor the memory notices how long the table is. Models go from the process that fitted them into the store,
and only what is said of them comes back.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from forecast_grpc.errors import StoreUnavailable
from forecast_grpc.fit.batch import FitOutcome, Status, fit_part
from forecast_grpc.fit.job import FitJob
from forecast_grpc.fit.parts import part_of, parts
from forecast_grpc.fit.problems import ClusterError
from forecast_grpc.fit.table import Table

_LARGEST = 100  # Customers in a part: Ray's cost for it, some milliseconds, is shared by as many.
_SHARES = 8  # Parts for each process at least, so that none waits long for the last one.
_AHEAD = 3  # Parts on their way for each process.


def fit_on_ray(table: Table, job: FitJob, *, processes: int) -> Iterator[FitOutcome]:
    """As `fit_table`, by `processes` processes of the Ray cluster that this one is connected to.

    Each node needs forecast-grpc, and `job.store` must mean the same store there. A part whose process dies is
    tried again; where it dies again, each customer alone, so that only the one who is to blame gets no model. What
    it had published by then stays, and is published once more with `job.again` only. Raises StoreUnavailable, and
    ClusterError where the processes cannot run this code.
    """
    size = max(1, min(_LARGEST, len(table) // (processes * _SHARES)))
    line: deque[_Sent] = deque()
    for part in parts(table, size):
        line.append(_send(part, job))
        if len(line) >= processes * _AHEAD:
            yield from _outcomes(line.popleft(), table, job)
    while line:
        yield from _outcomes(line.popleft(), table, job)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A part on its way."""

    customers: tuple[str, ...]
    outcomes: Any
    """Ray's reference to them."""


def _send(part: Table, job: FitJob) -> _Sent:
    import ray  # noqa: PLC0415 - it takes a second to load.

    # Ray gives a task of one core one thread of OpenBLAS, too.
    return _Sent(part.customers, ray.remote(_fit_part).options(num_cpus=1, max_retries=1).remote(part, job))


def _outcomes(sent: _Sent, table: Table, job: FitJob) -> Iterator[FitOutcome]:
    import ray  # noqa: PLC0415
    from ray.exceptions import RayError, RayTaskError  # noqa: PLC0415

    try:
        yield from ray.get(sent.outcomes)
    except RayTaskError as exc:
        if isinstance(exc.cause, StoreUnavailable):
            raise exc.cause from exc
        last = str(exc).strip().splitlines()[-1].strip()
        raise ClusterError(f"the cluster's processes cannot fit, do they have this release? {last}") from exc
    except RayError as exc:
        if len(sent.customers) == 1:
            error = f"the process that fitted it ended: {type(exc).__name__}"
            yield FitOutcome(customer_id=sent.customers[0], status=Status.FAILED, error=error)
        else:
            for part in parts(part_of(table, sent.customers), 1):
                yield from _outcomes(_send(part, job), table, job)


def _fit_part(part: Table, job: FitJob) -> list[FitOutcome]:
    try:
        return fit_part(part, job)
    except StoreUnavailable as exc:
        # The cause stays behind, and its words are what an operator needs.
        raise StoreUnavailable(f"{exc.message} {exc.__cause__ or ''}".rstrip()) from None
