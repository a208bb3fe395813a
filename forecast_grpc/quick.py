"""Frozen dataclasses made in half of the time or less: decoding a model makes seven of them, a request four.

The `__init__` of a frozen dataclass stores each field by a call of `object.__setattr__`, which takes five times as
long as a plain assignment, and is itself called through the type, which puts its arguments into a dictionary. The
function made here makes an object of an open twin class, assigns, and turns it into one of the class. From then on
it is as frozen as any.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def maker(cls: Callable[P, T]) -> Callable[P, T]:
    """A function that makes what this class makes: a frozen, slotted dataclass without `__post_init__`.

    Raises TypeError for another class.
    """
    known: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]  # Mypy knows dataclasses by their decorator.
    if hasattr(cls, "__post_init__") or not all(each.init for each in known):
        raise TypeError(f"{cls.__name__} has more to do when it is made")
    if getattr(cls, "__dictoffset__", 1):
        raise TypeError(f"{cls.__name__} has no slots")
    usual: Any = cls.__init__
    twin = type(cls.__name__, (), {"__slots__": tuple(each.name for each in known)})
    names: dict[str, Any] = {"new": object.__new__, "Frozen": cls, "Twin": twin}
    names |= {f"make_{each.name}": each.default_factory for each in known}
    names |= {f"no_{name}": value for name, value in (usual.__kwdefaults__ or {}).items()}
    # Code of our own, of the fields' names alone, as the standard library makes it.
    exec(_source(known), names)  # noqa: S102
    made: Any = names["make"]
    made.__defaults__, made.__kwdefaults__ = usual.__defaults__, usual.__kwdefaults__
    made.__name__ = made.__qualname__ = cls.__name__
    function: Callable[P, T] = made
    return function


def _source(known: tuple[Field[Any], ...]) -> str:
    """The function's text. The defaults are the standard library's, put in later."""
    first = [each.name for each in known if not each.kw_only]
    later = [each.name for each in known if each.kw_only]
    lines = [
        f"def make({', '.join([*first, *(['*'] if later else []), *later])}):",
        "    self = new(Twin)",
        *(f"    self.{each.name} = {_value(each)}" for each in known),
        "    self.__class__ = Frozen",
        "    return self",
    ]
    return "\n".join(lines)


def _value(each: Field[Any]) -> str:
    if each.default_factory is MISSING:
        return each.name
    return f"make_{each.name}() if {each.name} is no_{each.name} else {each.name}"
