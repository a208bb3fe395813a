"""What obstore raises, as our errors: translated here and nowhere else, the most specific first."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from forecast_grpc.store.base import store_unavailable

_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")
"""How S3 (and Google, which speaks its language) and Azure say that the bucket does not exist."""

_DENIED = re.compile("status code: 40[13] ")
"""A refusal to list, which the library has no error of its own for."""

_ROOT = re.compile(r'(?:message|error): "([^"]+)"|source: (\w+),')
"""What the innermost error says, or is called, in the library's debug output."""

_CAUSE_LENGTH = 500


class StoreFault(Exception):
    """For the operator: what the store or the library said, on one line. It names addresses and objects."""


@contextmanager
def translated(*answers: type[Exception]) -> Iterator[None]:
    """What goes wrong comes out as StoreUnavailable; `answers`, with which a store says no, as they are."""
    try:
        yield
    except answers:
        raise
    except (PermissionDeniedError, UnauthenticatedError) as exc:
        raise store_unavailable("The store of models does not permit this.") from _fault(exc)
    except FileNotFoundError as exc:
        # Whoever needs an object to be there takes this for an answer; for the others it is the bucket.
        raise store_unavailable("The bucket of the store of models does not exist.") from _fault(exc)
    except (BaseError, OSError, ValueError) as exc:
        raise store_unavailable(_sentence(str(exc))) from _fault(exc)


def _sentence(said: str) -> str:
    if _NO_BUCKET.search(said):
        return "The bucket of the store of models does not exist."
    if _DENIED.search(said):
        return "The store of models does not permit this."
    return "The store of models does not answer."


def _fault(exc: Exception) -> StoreFault:
    """The library's sentence, in which it blacks out signatures itself, and what lies at its root."""
    sentence, _, debug = str(exc).partition("\n\nDebug source")
    roots = [message or kind for message, kind in _ROOT.findall(debug)]
    return StoreFault(" ".join(sentence.split())[:_CAUSE_LENGTH] + (f" ({roots[-1]})" if roots else ""))
