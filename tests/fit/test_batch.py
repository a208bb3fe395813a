"""A table in, an outcome for each customer out, the models in a store."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast_grpc.artefact import decode
from forecast_grpc.errors import StoreUnavailable
from forecast_grpc.fit import FitJob, FitOutcome, Status, Table, fit_series, fit_table, read_table
from forecast_grpc.fit.parts import MAX_OBSERVATIONS, parts
from forecast_grpc.store import FolderStore
from tests.models.examples import series

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 2, tzinfo=UTC)


def read(path: Path, histories: dict[str, list[float]]) -> Table:
    """A table of these histories; a customer's steps count from 0."""
    rows = [f"{name},{step},{value}" for name, own in histories.items() for step, value in enumerate(own)]
    path.write_text("customer_id,step,value\n" + "\n".join(rows) + "\n")
    return read_table(path)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Three customers: one good, one with a time twice, one good."""
    path = tmp_path / "history.csv"
    good = series(60).tolist()
    read(path, {"a": good, "bad": [1.0], "z": good})
    path.write_text(path.read_text().replace("bad,0,1.0", "bad,1,1\nbad,1,2"))
    return read_table(path)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """An empty store."""
    (tmp_path / "store").mkdir()
    return FolderStore(tmp_path / "store")


def job(store: FolderStore | None = None, **options: Any) -> FitJob:
    """A job with a season of 12 and a horizon of 5."""
    given: dict[str, Any] = {
        "family": "trend",
        "horizon": 5,
        "season_length": 12,
        "trained_time": MOMENT,
    } | options
    return FitJob(store=None if store is None else str(store.root), **given)


def told(outcomes: list[FitOutcome]) -> list[tuple[str, Status, str | None]]:
    """What matters of the outcomes."""
    return [(outcome.customer_id, outcome.status, outcome.error) for outcome in outcomes]


def statuses(outcomes: list[FitOutcome]) -> list[Status]:
    """That alone."""
    return [outcome.status for outcome in outcomes]


TWICE = ("bad", Status.FAILED, "there are two rows for 1")


def test_a_bad_customer_is_reported_and_the_others_are_fitted(table: Table) -> None:
    """One outcome each, in the order of the table; what is known of a model is that of the single fit."""
    outcomes = list(fit_table(table, job(family="auto")))
    assert told(outcomes) == [("a", Status.FITTED, None), TWICE, ("z", Status.FITTED, None)]
    alone = fit_series(table.series("a"), horizon=5, season_length=12, trained_time=MOMENT).metadata
    known = outcomes[0].metadata
    assert known is not None
    assert replace(known, fit_digest="") == alone
    assert [outcome.version for outcome in outcomes] == [None, None, None]


def test_a_customer_that_the_family_cannot_fit_is_reported(table: Table) -> None:
    """Too short for what was asked: the reason is the family's own."""
    outcomes = list(fit_table(table, job(family="linear", horizon=58)))
    assert [outcome.metadata for outcome in outcomes] == [None] * 3
    assert outcomes[0].error == "60 observations are too few for the family linear at horizon 58"


def test_a_fault_of_ours_is_reported_and_the_others_are_fitted(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody foresaw ends the fit of one customer, not of a hundred thousand."""

    def unforeseen(one: Table, customer_id: str) -> object:
        found = series_of(one, customer_id)
        return replace(found, values=found.values.reshape(2, -1)) if customer_id == "a" else found

    series_of = Table.series
    monkeypatch.setattr(Table, "series", unforeseen)
    broken, _, good = fit_table(table, job())
    assert broken.error is not None
    assert broken.error.startswith("this is a fault of forecast-grpc: ")
    assert good.status is Status.FITTED


def test_customers_are_fitted_as_they_are_asked_for(table: Table) -> None:
    """The first outcome is there before the last customer is touched, and took some time."""
    first = next(fit_table(table, job()))
    assert first.customer_id == "a"
    assert first.duration_s > 0.0


@pytest.mark.parametrize("options", [{"family": "oracle"}, {"horizon": 0}, {"season_length": 0}])
def test_options_are_checked_at_once(options: dict[str, Any]) -> None:
    """Not when the first outcome is asked for."""
    with pytest.raises(ValueError, match=r"no family|1 or more"):
        job(**options)


def test_models_are_published(table: Table, store: FolderStore) -> None:
    """What was fitted is active in the store, as its outcome says."""
    outcomes = list(fit_table(table, job(store)))
    assert told(outcomes) == [("a", Status.PUBLISHED, None), TWICE, ("z", Status.PUBLISHED, None)]
    assert list(store.customers()) == ["a", "z"]
    for outcome in (outcomes[0], outcomes[2]):
        served = decode(store.read(outcome.customer_id).data, outcome.customer_id).metadata
        assert outcome.metadata is not None
        assert replace(served, digest=b"") == outcome.metadata
        assert outcome.version == 1


def test_the_same_again_publishes_nothing(table: Table, store: FolderStore) -> None:
    """Done is done: the same history and options have a model already, which is told as if it were new."""
    first = list(fit_table(table, job(store)))
    second = list(fit_table(table, job(store, trained_time=LATER)))
    assert statuses(second) == [Status.UNCHANGED, Status.FAILED, Status.UNCHANGED]
    assert store.versions("a") == (1,)
    for one, other in zip(first, second, strict=True):
        assert (one.metadata and one.metadata.accuracy) == (other.metadata and other.metadata.accuracy)


@pytest.mark.parametrize("options", [{"family": "theta"}, {"horizon": 6}, {"season_length": 1}])
def test_other_options_fit_anew(table: Table, store: FolderStore, options: dict[str, Any]) -> None:
    """Another family, horizon or season length is another model."""
    list(fit_table(table, job(store)))
    outcomes = list(fit_table(table, job(store, **options)))
    assert [outcome.version for outcome in outcomes] == [2, None, 2]


def test_only_changed_histories_are_fitted_anew(tmp_path: Path, store: FolderStore) -> None:
    """A customer with one more observation gets a new model, the others keep theirs."""
    values = series(60).tolist()
    list(fit_table(read(tmp_path / "h.csv", {"a": values, "b": values}), job(store)))
    outcomes = list(fit_table(read(tmp_path / "h.csv", {"a": values, "b": [*values, 99.0]}), job(store)))
    assert statuses(outcomes) == [Status.UNCHANGED, Status.PUBLISHED]
    assert store.versions("b") == (1, 2)


def test_again_fits_anew(table: Table, store: FolderStore) -> None:
    """On request all are fitted, whatever the store has; and that is known the next time."""
    list(fit_table(table, job(store)))
    assert statuses(list(fit_table(table, job(store, again=True))))[0] is Status.PUBLISHED
    assert statuses(list(fit_table(table, job(store))))[0] is Status.UNCHANGED
    assert store.versions("a") == (1, 2)


def test_a_version_that_was_not_made_active_is_made_active(table: Table, store: FolderStore) -> None:
    """A publisher killed between the version's file and the active one leaves its work to whoever comes next."""
    list(fit_table(table, job(store)))
    data = store.read("a").data
    (store.root / "a" / "model.safetensors").unlink()
    outcomes = list(fit_table(table, job(store)))
    assert statuses(outcomes)[0] is Status.UNCHANGED
    assert store.read("a").data == data
    assert store.versions("a") == (1,)


def test_a_damaged_model_is_replaced(table: Table, store: FolderStore) -> None:
    """A newest version that cannot be read is no reason to keep it."""
    list(fit_table(table, job(store)))
    version = store.root / "a" / "versions" / "1.safetensors"
    version.write_bytes(version.read_bytes()[:-10])
    assert statuses(list(fit_table(table, job(store))))[0] is Status.PUBLISHED
    assert store.versions("a") == (1, 2)


def test_a_store_that_does_not_answer_ends_the_fit(table: Table, store: FolderStore) -> None:
    """Nobody wants a hundred thousand customers reported for one lost disk."""
    store.root.rmdir()
    with pytest.raises(StoreUnavailable):
        list(fit_table(table, job(store)))


def test_parts_hold_every_customer_once(table: Table) -> None:
    """Cut into parts, a table has the same histories in the same order."""
    cut = list(parts(table, 2))
    assert [part.customers for part in cut] == [("a", "bad"), ("z",)]
    assert cut[1].values.size == 60
    assert cut[1].series("z").values.tolist() == table.series("z").values.tolist()


def test_parts_with_long_histories_hold_fewer_customers() -> None:
    """So that a part's size is bounded, whatever a customer's history is."""
    count = MAX_OBSERVATIONS // 2
    rows = {name: np.arange(start * count, (start + 1) * count) for start, name in enumerate("abcde")}
    whole = Table(
        customer_column="c",
        time_column="t",
        value_column="v",
        frequency=None,
        timestamps=False,
        rows=rows,
        times=np.tile(np.arange(count), 5),
        values=np.arange(5.0 * count),
    )
    cut = list(parts(whole, 100))
    assert [part.customers for part in cut] == [("a", "b"), ("c", "d"), ("e",)]
    assert cut[1].series("d").values.tolist() == whole.series("d").values.tolist()
