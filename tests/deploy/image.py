"""The site-packages of the image, out of those of the environment that the tests run in: a part of its files."""

import re
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "deploy" / "requirements.txt"


def locked() -> Iterator[Requirement]:
    """What the image's lock asks for on this machine."""
    for line in re.findall(r"^([a-z][^\\\n]*==[^\\\n]*)", LOCK.read_text("utf-8"), re.MULTILINE):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def lay(site: Path) -> None:
    """Links everything that the lock has into an empty site-packages. Fails where another version is here."""
    shared = {name for name, owners in Counter(_tops()).items() if owners > 1}
    for requirement in locked():
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version), f"{requirement}, but here is {found.version}"
        for path in _paths(found, shared):
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            # Two distributions may both bring the same empty file of a shared package.
            if not (site / path).is_symlink():
                (site / path).symlink_to(Path(str(found.locate_file(path))))


def _tops() -> Iterator[str]:
    """The first parts of all paths in site-packages, once for each distribution that has them."""
    for each in distributions():
        yield from {path.parts[0] for path in each.files or ()}


def _paths(of: Distribution, shared: set[str]) -> set[Path]:
    """What a distribution has below site-packages: whole folders, but files of those that it shares (`google`)."""
    files = [Path(str(path)) for path in of.files or () if ".." not in path.parts]
    return {
        path if path.parts[0] in shared else Path(path.parts[0]) for path in files if path.suffix != ".pyc"
    }
