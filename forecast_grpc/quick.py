"""Frozen dataclasses that are made in a third of the time: decoding a model makes a dozen of them.

The `__init__` of a frozen dataclass stores each field by a call of `object.__setattr__`, which takes five times as
long as a plain assignment. The one made here turns the new object into one of an open twin class, assigns, and
turns it back: two calls, however many fields. Once it is made, the object is as frozen as before.
"""

from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar

T = TypeVar("T")


def quick(cls: type[T]) -> type[T]:
    """Gives a frozen, slotted dataclass of the standard library, without `__post_init__`, that `__init__`.

    Its parameters stay as they are. A subclass that adds nothing to `__init__` is made in the usual way.
    """
    known: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]  # Mypy knows dataclasses by their decorator.
    if hasattr(cls, "__post_init__") or not all(each.init for each in known):
        raise TypeError(f"{cls.__name__} has more to do when it is made")
    slow: Any = cls.__init__
    twin = type(cls.__name__, (), {"__slots__": tuple(each.name for each in known)})
    names: dict[str, Any] = {"become": object.__setattr__, "slow": slow, "Frozen": cls, "Twin": twin}
    names |= {f"make_{each.name}": each.default_factory for each in known}
    names |= {f"no_{name}": value for name, value in (slow.__kwdefaults__ or {}).items()}
    # Code of our own, of the fields' names alone, as the standard library makes it.
    exec(_source(known), names)  # noqa: S102
    made = names["__init__"]
    made.__defaults__, made.__kwdefaults__ = slow.__defaults__, slow.__kwdefaults__
    made.__annotations__, made.__qualname__ = slow.__annotations__, slow.__qualname__
    cls.__init__ = made  # type: ignore[method-assign]  # That is what it is for.
    return cls


def _source(known: tuple[Field[Any], ...]) -> str:
    """The function's text. The defaults are the standard library's, put in later."""
    first = [each.name for each in known if not each.kw_only]
    later = [each.name for each in known if each.kw_only]
    parameters = ", ".join(["self", *first, *(["*"] if later else []), *later])
    given = ", ".join([*first, *(f"{name}={name}" for name in later)])
    stored = [f"    self.{each.name} = {_value(each)}" for each in known]
    lines = [
        f"def __init__({parameters}):",
        "    if self.__class__ is not Frozen:",
        f"        slow(self, {given})",
        "        return",
        '    become(self, "__class__", Twin)',
        *stored,
        "    self.__class__ = Frozen",
    ]
    return "\n".join(lines)


def _value(each: Field[Any]) -> str:
    if each.default_factory is MISSING:
        return each.name
    return f"make_{each.name}() if {each.name} is no_{each.name} else {each.name}"
