"""From history to fitted models: read a table, fit each customer, measure it, publish it.

    table = read_table(Path("history.csv"))                     # columns guessed, or given by name
    job = FitJob(family="auto", horizon=7, store="./models")    # without a store nothing is published
    for outcome in fit_table(table, job):                       # lazily, in the table's order
        print(outcome.customer_id, outcome.status, outcome.error or outcome.metadata.accuracy)

`len(table)` customers are coming, in the order of `table.customers`; every one of them yields one outcome, a
bad one too, so iterating is the progress. `fit_on_ray` does the same on all cores, or on a cluster. The same job
on the same history is done once: start it again after an interruption, and it goes on.

`fit_series(table.series("customer_123"))` is one model in hand. What is wrong with the file as a whole raises
`TableError`, what is wrong with one customer's series `SeriesError`: both are one sentence for a person.
`read_table` needs pyarrow, the extra `forecast-grpc[fit]`; the rest needs numpy alone.
"""

from forecast_grpc.fit.batch import FitOutcome, Status, fit_table
from forecast_grpc.fit.cluster import fit_on_ray
from forecast_grpc.fit.fitting import AUTO, FAMILY_CHOICES, FittedModel, fit_series
from forecast_grpc.fit.job import FitJob
from forecast_grpc.fit.problems import ClusterError, SeriesError, TableError
from forecast_grpc.fit.series import Series
from forecast_grpc.fit.table import Table, read_table

__all__ = [
    "AUTO",
    "FAMILY_CHOICES",
    "ClusterError",
    "FitJob",
    "FitOutcome",
    "FittedModel",
    "Series",
    "SeriesError",
    "Status",
    "Table",
    "TableError",
    "fit_on_ray",
    "fit_series",
    "fit_table",
    "read_table",
]
