"""`forecast-grpc models`, on a real store."""

from pathlib import Path

import pytest

from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand


def test_list_as_json(run: RunCommand, store: Path) -> None:
    """Each customer is one object on a line; a damaged model has an error in place of facts."""
    done = run("models", "list", "--json", "--store", store)
    assert done.code == 0
    alpha, beta, corrupt = done.objects
    sha256 = alpha.pop("sha256")
    assert len(sha256) == 64
    assert alpha == {
        "customer_id": "alpha",
        "model_version": 3,
        "family": "trend",
        "horizon": 3,
        "season_length": 1,
        "frequency": "P1D",
        "min_length": 1,
        "trained_time": "2026-01-02T03:04:05Z",
        "state_time": "2026-01-01T00:00:00Z",
        "covariates": [],
        "accuracy": {"mase": 0.5, "smape": 4.0},
    }
    assert beta["customer_id"] == "beta"
    assert corrupt["customer_id"] == "corrupt"
    assert corrupt["reason"] == "MODEL_CORRUPT"


def test_list_as_table(run: RunCommand, store: Path) -> None:
    """For people it is a table: a row a customer, the damaged one with its reason."""
    done = run("models", "list", "--store", store)
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["customer", "version", "family", "horizon", "season", "step", "MASE", "trained"]
    assert rows[1] == ["alpha", "3", "trend", "3", "1", "P1D", "0.5", "2026-01-02"]
    assert rows[2] == ["beta", "1", "trend", "3", "1", "P1D", "-", "2026-01-02"]
    assert rows[3] == ["corrupt", "-", "model", "corrupt"]


def test_list_prefix_and_limit(run: RunCommand, store: Path) -> None:
    """A prefix and a limit narrow the list; a table that is cut short says so."""
    assert [
        each["customer_id"]
        for each in run("models", "list", "--json", "--prefix", "b", "--store", store).objects
    ] == ["beta"]
    done = run("models", "list", "--limit", "2", "--store", store)
    assert len(done.out.splitlines()) == 3
    assert "These are the first 2" in done.err
    assert "first" not in run("models", "list", "--limit", "3", "--store", store).err


def test_list_includes_pickles(run: RunCommand, store: Path) -> None:
    """A customer in the tutorial's layout is listed with the reason why it is not served."""
    (store / "old").mkdir()
    (store / "old" / "model.pkl").write_bytes(b"\x80\x04.")
    (old,) = run("models", "list", "--json", "--prefix", "old", "--store", store).objects
    assert old["reason"] == "MODEL_FORMAT_FORBIDDEN"


def test_list_of_many(run: RunCommand, tmp_path: Path) -> None:
    """A table shows a hundred models unless more are asked for; JSON has them all."""
    folder = tmp_path / "many"
    folder.mkdir()
    opened = FolderStore(folder)
    for number in range(101):
        opened.publish(f"c{number:03}", lambda version: b"nothing")
    assert len(run("models", "list", "--store", folder).out.splitlines()) == 101
    assert len(run("models", "list", "--limit", "101", "--store", folder).out.splitlines()) == 102
    assert len(run("models", "list", "--json", "--store", folder).objects) == 101


def test_show(run: RunCommand, store: Path) -> None:
    """One model's facts, with the versions that there are; a version by its number."""
    (shown,) = run("models", "show", "alpha", "--json", "--store", store).objects
    assert shown["model_version"] == 3
    assert shown["versions"] == [1, 2, 3]
    assert shown["max_horizon"] is None
    (older,) = run("models", "show", "alpha", "--version", "1", "--json", "--store", store).objects
    assert older["model_version"] == 1
    assert older["sha256"] != shown["sha256"]
    rows = run("models", "show", "alpha", "--store", store).out.splitlines()
    assert [line.split() for line in rows if line.startswith("accuracy")] == [
        ["accuracy.mase", "0.5"],
        ["accuracy.smape", "4"],
    ]


def test_versions(run: RunCommand, store: Path) -> None:
    """Every version, the newest first, and which is active."""
    run("models", "rollback", "alpha", "2", "--store", store)
    listed = run("models", "versions", "alpha", "--json", "--store", store).objects
    assert [(each["model_version"], each["active"]) for each in listed] == [(3, False), (2, True), (1, False)]
    rows = run("models", "versions", "alpha", "--store", store).out.splitlines()
    assert [line.split()[:2] for line in rows[1:]] == [["3", "trend"], ["active", "2"], ["1", "trend"]]


def test_rollback(run: RunCommand, store: Path) -> None:
    """Without a version it goes one back from the active one; with one, there, also forward again."""
    steps = [run("models", "rollback", "alpha", *to, "--json", "--store", store) for to in ((), (), ("3",))]
    assert [step.objects[0] for step in steps] == [
        {"customer_id": "alpha", "model_version": 2, "previous_version": 3},
        {"customer_id": "alpha", "model_version": 1, "previous_version": 2},
        {"customer_id": "alpha", "model_version": 3, "previous_version": 1},
    ]
    assert (
        run("models", "rollback", "alpha", "--store", store).out
        == "alpha is served by version 2, before by 3.\n"
    )


def test_rollback_where_there_is_nothing_older(run: RunCommand, store: Path) -> None:
    """The first version has none before it."""
    done = run("models", "rollback", "beta", "--store", store)
    assert (done.code, done.err) == (3, "Error: beta has no version older than 1.\n")


def test_rollback_away_from_a_damaged_model(run: RunCommand, store: Path) -> None:
    """Where the active artefact cannot be read, the version is to be named, and is then activated."""
    (store / "beta" / "model.safetensors").write_bytes(b"damaged")
    done = run("models", "rollback", "beta", "--store", store)
    assert (done.code, done.out) == (1, "")
    assert "cannot be read: name a version" in done.err
    assert run("models", "rollback", "beta", "1", "--store", store).out == "beta is served by version 1.\n"
    assert run("models", "show", "beta", "--store", store).code == 0


def test_rollback_to_a_damaged_version_is_refused(run: RunCommand, store: Path) -> None:
    """What could not be served does not become active."""
    (store / "alpha" / "versions" / "2.safetensors").write_bytes(b"damaged")
    done = run("models", "rollback", "alpha", "--store", store)
    assert done.code == 1
    assert run("models", "show", "alpha", "--json", "--store", store).objects[0]["model_version"] == 3


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("show", "nobody"), 3),
        (("show", "alpha", "--version", "9"), 3),
        (("versions", "nobody"), 3),
        (("rollback", "nobody"), 3),
        (("rollback", "nobody", "1"), 3),
        (("rollback", "alpha", "9"), 3),
        (("show", "corrupt"), 1),
        (("show", "../alpha"), 2),
        (("show", ""), 2),
    ],
)
def test_failures(run: RunCommand, store: Path, arguments: tuple[str, ...], code: int) -> None:
    """What is not there, is damaged, or cannot be meant: one sentence each, and the code of its kind."""
    done = run("models", *arguments, "--store", store)
    assert done.code == code
    assert done.out == ""
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("command", [("list",), ("show", "a"), ("versions", "a"), ("rollback", "a")])
def test_no_store(run: RunCommand, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Where there is no store, the sentence names it; where it is the demo store, it says how to build it."""
    done = run("models", *command, "--store", tmp_path / "nowhere")
    assert (done.code, done.err) == (4, f"Error: There is no store at {tmp_path / 'nowhere'}.\n")
    done = run("models", *command)
    assert (done.code, done.err) == (
        4,
        "Error: There is no demo store yet: build it with `forecast-grpc demo-store`.\n",
    )


def test_store_that_is_a_file(run: RunCommand, tmp_path: Path) -> None:
    """What the system says of the store is passed on to the operator."""
    (tmp_path / "file").touch()
    done = run("models", "list", "--store", tmp_path / "file")
    assert done.code == 4
    assert "Not a directory" in done.err


def test_store_of_an_unknown_kind(run: RunCommand) -> None:
    """An address that no store can have is wrong usage."""
    done = run("models", "list", "--store", "ftp://host/models")
    assert done.code == 2
    assert "ftp" in done.err


def test_store_from_the_environment(run: RunCommand, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORECAST_GRPC_STORE names the store for every command."""
    monkeypatch.setenv("FORECAST_GRPC_STORE", str(store))
    assert len(run("models", "list", "--json").objects) == 3
