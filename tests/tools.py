"""Programs that some tests need and pip does not bring: from the PATH, or from where `.ci/run` puts them."""

import os
import shutil
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tool(name: str) -> str:
    """The program's path. Where there is none the test is skipped, and fails under CI=true."""
    places = chain(*(ROOT.glob(pattern) for pattern in (".tools/bin", f".tools/{name}-*/bin")))
    path = os.pathsep.join([*map(str, places), os.environ["PATH"]])
    found = shutil.which(name, path=path)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is neither on the PATH nor in .tools")
    assert found
    return found
