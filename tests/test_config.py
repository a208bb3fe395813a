"""Settings: where they come from, what they may be, and that each is documented."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from forecast_grpc.config import Settings

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The `args` of a config file win over the environment, which wins over the default."""
    monkeypatch.setenv("FORECAST_GRPC_MAX_HORIZON", "5")
    monkeypatch.setenv("FORECAST_GRPC_NUM_REPLICAS", "2")
    settings = Settings.model_validate({"max_horizon": 6})
    assert (settings.max_horizon, settings.num_replicas, settings.max_hot_models) == (6, 2, 1_000)


@pytest.mark.parametrize("value", [["a", "b"], "a,b", " a , b ,", ("a", "b")])
def test_lists_may_be_texts(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of customers is a list in a config file, and a text with commas in the environment."""
    assert Settings(prewarm=value).prewarm == ("a", "b")
    monkeypatch.setenv("FORECAST_GRPC_PREWARM", "a,b")
    assert Settings().prewarm == ("a", "b")


@pytest.mark.parametrize(
    "wrong", [{"max_horizon": 0}, {"num_replicas": "many"}, {"refresh_interval_s": 0}, {"nonsense": 1}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Out of range, of the wrong type, or unknown: an error that names the setting."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings(**wrong)


def test_every_setting_is_explained() -> None:
    """The page of settings has one row for each, with its default and its own words."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, name
        words = " ".join(field.description.split())
        assert words in rows[name], name
        if name != "store":
            default = "none" if field.default in ((), None) else f"`{field.default}`"
            assert rows[name].startswith(f"{default} | "), name
