"""How a store is laid out, a folder and a bucket alike.

    STORE/<customer_id>/model.safetensors          the active artefact
    STORE/<customer_id>/versions/<n>.safetensors   every published version
    STORE/<customer_id>/model.pkl                  opened only where pickles are allowed; else cause for a refusal

Versions count from 1, and no number is given twice.
"""

import re
from collections.abc import Iterable

ACTIVE = "model.safetensors"
"""The active artefact's name in the customer's folder."""

PICKLE = "model.pkl"
"""A pickled model's name there."""

VERSIONS = "versions"
"""The name of the folder of versions there."""

_VERSION = re.compile(r"([1-9][0-9]{0,17})\.safetensors")
_MAX_VERSION = 10**18 - 1


def version_name(version: int) -> str:
    """The name of a version's file in the folder of versions."""
    return f"{version}.safetensors"


def versions_among(names: Iterable[str]) -> tuple[int, ...]:
    """The versions that these names in the folder of versions stand for, ascending; other names are strays."""
    matches = (_VERSION.fullmatch(name) for name in names)
    return tuple(sorted(int(match[1]) for match in matches if match))


def may_exist(version: int) -> bool:
    """Whether a version may have this number."""
    return 1 <= version <= _MAX_VERSION
