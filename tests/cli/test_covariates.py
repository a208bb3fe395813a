"""Covariates on the command line: from the file that is fitted to the forecast that is asked for."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from forecast_grpc import artefact
from forecast_grpc.domain import ModelMetadata
from forecast_grpc.models import Linear
from forecast_grpc.models.covariates import Regression
from forecast_grpc.models.residuals import LEVELS, ResidualQuantiles
from forecast_grpc.store import FolderStore
from tests.cli.conftest import RunCommand
from tests.cli.fake_service import FakeService

PROMOTED = ("promo", "price")


def promoted(version: int) -> bytes:
    """The last value again, 10 more with a promotion, 2 less for each unit of the price, 5 in training."""
    model = Linear(
        weights=np.zeros((3, 2), np.float32),
        intercept=np.zeros(3),
        end=np.array([90.0, 90.0]),
        residuals=ResidualQuantiles(np.zeros((len(LEVELS), 3), np.float32)),
        regression=Regression(effects=np.array([[10.0], [-2.0]]), tail=np.array([[0.0, 0.0], [5.0, 5.0]])),
    )
    metadata = ModelMetadata(
        family="linear", model_version=version, horizon=3, min_length=2, covariates=PROMOTED
    )
    return artefact.encode(model, metadata)


@pytest.fixture
def ask(run: RunCommand, service: FakeService) -> RunCommand:
    """`forecast-grpc forecast promoted --json` at a service that has this model."""
    FolderStore(service.store).publish("promoted", promoted)
    return partial(run, "forecast", "promoted", "--json", "--address", service.address)


def test_covariates_reach_the_model(ask: RunCommand) -> None:
    """The promotion of the second step and the price of the third one show there."""
    done = ask("--covariate", "price=5,5,4", "--covariate", "promo=0,1,0")
    assert done.objects[0]["forecast"] == [90.0, 100.0, 92.0]


def test_covariates_along_the_values(ask: RunCommand) -> None:
    """With VALUES there are as many more, of which some may be missing."""
    done = ask("80,80", "--covariate", "price=5,,5,5,5", "--covariate", "promo=0,0,0,1,nan")
    assert "covariates[1].values[4]: must not be missing: it belongs to step 3 of the forecast" in done.err
    done = ask("80,80", "--covariate", "price=5,,5,5,5", "--covariate", "promo=0,0,0,1,0")
    assert done.objects[0]["forecast"] == [80.0, 90.0, 80.0]


@pytest.mark.parametrize("text", ["price\n5\n5\n4\n", "day,price,promo\n1,5,0\n2,5,1\n3,4,0\n", "5\n5\n4\n"])
def test_covariates_from_a_file(ask: RunCommand, tmp_path: Path, text: str) -> None:
    """The one column of a file, or the one of the covariate's name."""
    path = tmp_path / "ahead.csv"
    path.write_text(text)
    done = ask("--covariate", f"price=@{path}", "--covariate", "promo=0,1,0")
    assert done.objects[0]["forecast"] == [90.0, 100.0, 92.0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (),
            "covariates: must hold each of those that this model was fitted with: promo, price; missing: promo",
        ),
        (("--covariate", "promo=1,1,1"), "missing: price"),
        (("--covariate", "weather=1,1,1"), "covariates[0].name: must be one that this model was fitted with"),
        (("--covariate", "promo=1", "--covariate", "price="), "covariates[0].values: must hold 3 values"),
        (("--covariate", "promo"), "--covariate is given as NAME=1,2,3, not as promo."),
        (("--covariate", "=1"), "--covariate is given as NAME=1,2,3, not as =1."),
        (("--covariate", "promo=high"), "value 1 is not a number: high"),
        (("--covariate", "promo=@nowhere.csv"), "nowhere.csv cannot be read"),
    ],
)
def test_what_cannot_be_asked(
    ask: RunCommand, in_folder: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """One sentence: what is wrong, and what is expected."""
    done = ask(*arguments)
    assert done.code != 0
    assert sentence in done.err


def test_a_model_without_covariates_refuses_them(run: RunCommand, service: FakeService) -> None:
    """They would have no effect, and nobody would know."""
    done = run("forecast", "alpha", "--covariate", "promo=1,1,1", "--address", service.address)
    assert "covariates: must be left out: this model was fitted without covariates" in done.err


def test_show_names_them(run: RunCommand, store: Path) -> None:
    """In words where there are some, in JSON always."""
    FolderStore(store).publish("promoted", promoted)
    assert "promo, price" in run("models", "show", "promoted", "--store", store).out
    assert "covariates" not in run("models", "show", "alpha", "--store", store).out
    (shown,) = run("models", "show", "promoted", "--json", "--store", store).objects
    assert shown["covariates"] == ["promo", "price"]


# --- from a file of history to a forecast ---


def history(path: Path) -> Path:
    """A shop whose sales rise by 40 with a promotion, and one that has none of its own."""
    rng = np.random.default_rng(5)
    lines = ["shop,day,sales,promo"]
    for day in range(200):
        promo = rng.random() < 0.2
        date = np.datetime64("2026-01-01") + day
        noise = rng.normal()
        lines.append(f"busy,{date},{100 + 10 * (day % 7 == 5) + 40 * promo + noise:.3f},{str(promo).lower()}")
        lines.append(f"calm,{date},{50 + 5 * (day % 7 == 5) + noise:.3f},{str(promo).lower()}")
    path.write_text("\n".join(lines))
    return path


def test_from_a_file_to_a_forecast(run: RunCommand, service: FakeService, tmp_path: Path) -> None:
    """Fitted from a column of the file, stored, named, and asked for: the promotion shows in its step."""
    file = history(tmp_path / "history.csv")
    options = ("--covariate-column", "promo", "--horizon", "3", "--store", service.store)
    done = run("fit", file, "--family", "linear", *options, "--json")
    assert [each["covariates"] for each in done.objects] == [["promo"], ["promo"]]
    ask = partial(run, "forecast", "busy", "--json", "--address", service.address, "--covariate")
    with_promotion, without = (ask(f"promo={values}").objects[0]["forecast"] for values in ("0,1,0", "0,0,0"))
    assert np.subtract(with_promotion, without) == pytest.approx([0.0, 40.0, 0.0], abs=1.0)


def test_auto_uses_them_where_they_help(run: RunCommand, tmp_path: Path) -> None:
    """Each customer has the model that suits it, and the summary says how many use the covariates."""
    file = history(tmp_path / "history.csv")
    options = ("--covariate-column", "promo", "--horizon", "3", "--dry-run")
    busy, _ = run("fit", file, *options, "--json").objects
    assert busy["covariates"] == ["promo"]
    done = run("fit", file, "--family", "theta", *options)
    assert "0 of 2 models use the covariates promo; other families take none." in done.err
    assert "covariates" not in run("fit", file, "--family", "linear", *options).err


def test_a_covariate_that_the_file_does_not_have(run: RunCommand, tmp_path: Path) -> None:
    """One sentence, with the columns that there are."""
    done = run("fit", history(tmp_path / "history.csv"), "--covariate-column", "price", "--dry-run")
    assert done.code != 0
    assert "There is no column price" in done.err
    assert "shop, day, sales, promo" in done.err
