"""A table in parts: small enough to travel to another process, large enough to be worth the way."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast_grpc.fit.table import Table

MAX_OBSERVATIONS = 200_000
"""Rows of a part at most, where it holds more than one customer: a few megabytes."""


def parts(table: Table, size: int) -> Iterator[Table]:
    """The table's customers in its order, `size` in a part, or fewer where their histories are long."""
    chosen: list[str] = []
    rows = 0
    for customer_id, own in table.rows.items():
        if chosen and (len(chosen) == size or rows + own.size > MAX_OBSERVATIONS):
            yield part_of(table, chosen)
            chosen, rows = [], 0
        chosen.append(customer_id)
        rows += own.size
    if chosen:
        yield part_of(table, chosen)


def part_of(table: Table, customers: Iterable[str]) -> Table:
    """A table of these customers and their rows alone. Holds copies: nothing of the whole table."""
    own = {customer_id: table.rows[customer_id] for customer_id in customers}
    index = np.concatenate(list(own.values()))
    ends = np.cumsum([rows.size for rows in own.values()])
    rows = dict(zip(own, np.split(np.arange(index.size), ends[:-1]), strict=True))
    columns = {
        each.name: _taken(getattr(table, each.name), index) for each in fields(table) if each.name != "rows"
    }
    return replace(table, rows=rows, **columns)


def _taken(value: Any, index: NDArray[np.int64]) -> Any:  # noqa: ANN401 - a column, columns by name, or a fact.
    """Of a column, or of columns by name, these rows; all else as it is."""
    if isinstance(value, np.ndarray):
        return value[index]
    if isinstance(value, Mapping):
        return {name: _taken(column, index) for name, column in value.items()}
    return value
