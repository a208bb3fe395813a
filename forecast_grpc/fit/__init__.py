"""From history to fitted models: read a table, fit each customer, measure it, hand it to a store.

    table = read_table(Path("history.csv"))                     # columns guessed, or given by name
    for outcome in fit_table(table, family="auto", horizon=7):  # lazily, one customer after the other
        if outcome.model is not None:
            store.publish(outcome.customer_id, outcome.model.encode)
        else:
            print(outcome.customer_id, outcome.error)

`len(table)` customers are coming, in the order of `table.customers`; every one of them yields one outcome, a
bad one too, so iterating is the progress. What is wrong with the file as a whole raises `TableError`, what is
wrong with one customer's series `SeriesError`: both are one sentence for a person. `read_table` needs
pyarrow, the extra `forecast-grpc[fit]`; the rest needs numpy alone.
"""

from forecast_grpc.fit.batch import FitOutcome, fit_table
from forecast_grpc.fit.fitting import AUTO, FAMILY_CHOICES, FittedModel, fit_series
from forecast_grpc.fit.problems import SeriesError, TableError
from forecast_grpc.fit.series import Series
from forecast_grpc.fit.table import Table, read_table

__all__ = [
    "AUTO",
    "FAMILY_CHOICES",
    "FitOutcome",
    "FittedModel",
    "Series",
    "SeriesError",
    "Table",
    "TableError",
    "fit_series",
    "fit_table",
    "read_table",
]
