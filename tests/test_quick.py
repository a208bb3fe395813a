"""Frozen dataclasses that are made quickly."""

import inspect
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from forecast_grpc.quick import maker


@dataclass(frozen=True, slots=True)
class Value:
    """One of each kind of field."""

    first: int
    second: str = "two"
    third: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    fourth: float = field(default=4.0, kw_only=True)


class Derived(Value):
    """Has a dictionary, and so another layout."""


value = maker(Value)


def test_it_is_made_as_before() -> None:
    """By place and by name, with defaults and with what factories make, a new one each time."""
    made = value(1)
    assert (made.first, made.second, made.third, made.fourth) == (1, "two", {}, 4.0)
    assert made.third is not value(1).third
    assert value(1, "2", third={"a": 3}, fourth=0.5) == Value(first=1, second="2", fourth=0.5, third={"a": 3})
    assert value(1) == Value(1)
    assert replace(made, second="zwei") == Value(1, "zwei")
    assert type(made) is Value
    assert repr(made) == "Value(first=1, second='two', third={}, fourth=4.0)"


def test_it_is_as_frozen_as_before() -> None:
    """No field can be set or deleted, and there is no other."""
    made = value(1)
    with pytest.raises(FrozenInstanceError):
        made.first = 2  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.first
    with pytest.raises((FrozenInstanceError, TypeError, AttributeError)):
        setattr(made, "fifth", 5)  # noqa: B010 - mypy knows that there is none
    assert not hasattr(made, "__dict__")


def test_what_is_missing_or_unknown_is_an_error_as_before() -> None:
    """Its signature is the one that the standard library gave it."""
    with pytest.raises(TypeError):
        value()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        value(1, fifth=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        value(1, "2", {})  # type: ignore[call-arg]
    assert list(inspect.signature(value).parameters) == ["first", "second", "third", "fourth"]


def test_it_travels() -> None:
    """To another process and back."""
    assert pickle.loads(pickle.dumps(value(1, third={"a": 2}))) == Value(1, third={"a": 2})


def test_a_class_without_slots_is_refused() -> None:
    """Its objects have a dictionary, and so another layout."""
    with pytest.raises(TypeError, match="Derived"):
        maker(Derived)


def test_more_to_do_is_refused() -> None:
    """What `__post_init__` does would be left out, so there must be none."""

    @dataclass(frozen=True, slots=True)
    class Busy:
        """Does more."""

        first: int

        def __post_init__(self) -> None:
            """More."""

    with pytest.raises(TypeError, match="Busy"):
        maker(Busy)
