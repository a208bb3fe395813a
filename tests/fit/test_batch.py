"""A table in, an outcome for each customer out."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from forecast_grpc.fit import FitOutcome, Table, fit_table, read_table
from tests.models.examples import series

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three customers: one good, one with a time twice, one good."""
    rows = [f"{name},{step},{value}" for name in ("a", "z") for step, value in enumerate(series(60))]
    rows[60:60] = ["bad,1,1", "bad,1,2"]
    path = tmp_path / "history.csv"
    path.write_text("customer_id,step,value\n" + "\n".join(rows) + "\n")
    return read_table(path)


def told(outcomes: list[FitOutcome]) -> list[tuple[str, bool, str | None]]:
    """What matters of the outcomes."""
    return [(outcome.customer_id, outcome.model is not None, outcome.error) for outcome in outcomes]


EXPECTED = [("a", True, None), ("bad", False, "there are two rows for 1"), ("z", True, None)]


def test_a_bad_customer_is_reported_and_the_others_are_fitted(table: Table) -> None:
    """One outcome each, in the order of the table."""
    assert told(list(fit_table(table, horizon=5, season_length=12))) == EXPECTED


def test_a_customer_that_the_family_cannot_fit_is_reported(table: Table) -> None:
    """Too short for what was asked: the reason is the family's own."""
    outcomes = list(fit_table(table, family="linear", horizon=58, season_length=12))
    assert [outcome.model for outcome in outcomes] == [None] * 3
    assert outcomes[0].error == "60 observations are too few for the family linear at horizon 58"


def test_customers_are_fitted_as_they_are_asked_for(table: Table) -> None:
    """The first outcome is there before the second customer is touched, and took some time."""
    outcomes = fit_table(table, family="trend")
    first = next(outcomes)
    assert first.customer_id == "a"
    assert first.duration_s > 0.0


def test_options_are_checked_at_once(table: Table) -> None:
    """Not when the first outcome is asked for."""
    with pytest.raises(ValueError, match="no family"):
        fit_table(table, family="oracle")


def test_processes_fit_the_same_models(table: Table) -> None:
    """Two processes give the outcomes that one gives, byte for byte, in the same order."""
    options = {"horizon": 5, "season_length": 12, "trained_time": MOMENT}
    alone = list(fit_table(table, **options))  # type: ignore[arg-type]
    shared = list(fit_table(table, **options, processes=2))  # type: ignore[arg-type]
    assert told(shared) == told(alone) == EXPECTED
    for one, other in zip(alone, shared, strict=True):
        assert (one.model and one.model.encode(1)) == (other.model and other.model.encode(1))
