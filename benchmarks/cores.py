"""A core for the replica alone, which the load generator keeps off too: callers are elsewhere otherwise."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from forecast_grpc.own_core import leave_to_replicas


@contextmanager
def one_aside() -> Iterator[int]:
    """The number of a core on which nothing runs that is started in the body, unless it moves there itself.

    Raises ValueError where there is only one.
    """
    cores = os.sched_getaffinity(0)
    aside = min(cores)
    leave_to_replicas({aside})
    try:
        yield aside
    finally:
        os.sched_setaffinity(0, cores)
