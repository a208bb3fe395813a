"""The real series of the demo. They lie beside this file as CSV; DATA.md names their sources and licences."""

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from operator import itemgetter

import numpy as np

from forecast_grpc.fit.frequency import Frequency
from forecast_grpc.fit.series import Series, grid_steps, grid_times


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFile:
    """A file of series, and how they are fitted. Its columns are customer, time and value."""

    name: str
    """The file's name in this folder."""

    frequency: str | None = None
    """The length of a step, ISO-8601; None where the times are integer steps."""

    season_length: int | None = None
    """Steps in a season; None for what `fit` makes of the frequency."""

    horizon: int | None = None
    """Steps to fit for; None for what `fit` makes of the frequency."""

    def series(self) -> Iterator[Series]:
        """Each customer's history on its grid."""
        packed = files(__package__).joinpath(self.name).read_bytes()
        rows = csv.reader(io.StringIO(gzip.decompress(packed).decode()))
        next(rows)
        for customer_id, group in groupby(rows, key=itemgetter(0)):
            yield self._series(customer_id, list(group))

    def _series(self, customer_id: str, rows: list[list[str]]) -> Series:
        values = np.array([float(value) for _, _, value in rows])
        if self.frequency is None:
            return grid_steps(np.array([int(step) for _, step, _ in rows]), values, customer_id, None)
        times = np.array([date for _, date, _ in rows], dtype="datetime64[us]").astype(np.int64)
        return grid_times(times, values, customer_id, Frequency.parse(self.frequency))


FILES = (
    # 18 half hours, from 08:00 to 16:30, are a day.
    DemoFile(name="car_parks.csv.gz", season_length=18, horizon=18),
    DemoFile(name="monthly.csv.gz", frequency="P1M"),
    DemoFile(name="yearly.csv.gz", frequency="P1Y"),
)
"""All of them."""
