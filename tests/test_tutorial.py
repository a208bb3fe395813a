"""docs/tutorial.ipynb runs from top to bottom, and prints what it shows."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.documents import matches
from tests.marks import alive, marked
from tests.service import eventually
from tools.tutorial import read, run


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What every process of the notebook has in its environment; those that are left are killed."""
    with marked() as found:
        for name, value in found.items():
            monkeypatch.setenv(name, value)
        for name in [name for name in os.environ if name.startswith(("FORECAST_GRPC_STORE", "RAY_"))]:
            monkeypatch.delenv(name)
        yield found


def test_it_prints_what_it_shows_and_leaves_nothing(mark: dict[str, str]) -> None:
    """Each cell runs; the outputs, but for those that are said to vary, are the committed ones; all is ended."""
    committed, now = read(), run()
    for cell, again in zip(committed.cells, now.cells, strict=True):
        if cell.cell_type == "code" and "varies" not in cell.metadata.get("tags", ()):
            shown, printed = output(cell), output(again)
            assert matches(tuple(shown), tuple(printed)), (
                f"{cell.source}\n--- shown\n{shown}\n--- now\n{printed}"
            )
    eventually(lambda: alive(mark) == [])


def test_each_part_of_rays_tutorial_has_its_own() -> None:
    """The chapters of Ray's notebook have their counterparts, by their names where those fit."""
    text = "\n".join(cell.source for cell in read().cells)
    for heading in (
        "Configure", "Deploy locally", "Launch", "Send requests", "Test multiple customers", "Deployment handles",
        "The caches at work", "Monitor", "Performance tips", "Scale replicas", "Tune cache sizes",
        "Pre-warm models",
        "Deploy to production with Anyscale", "Troubleshooting",
    ):  # fmt: skip
        assert f"# {heading}\n" in text


def test_it_holds_nothing_of_the_machine_that_ran_it() -> None:
    """The committed outputs are there, and hold no error, no home and no address of ours."""
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    text = "\n".join("\n".join(output(cell)) for cell in cells)
    assert "121.45" in text
    assert "Traceback" not in text
    assert os.path.expanduser("~") not in text  # noqa: PTH111 - a text, not a path


def output(cell: Any) -> list[str]:
    """What a cell has printed, line by line."""
    assert all(each.output_type in {"stream", "execute_result"} for each in cell.outputs), cell.outputs
    texts = [each.text if each.output_type == "stream" else each.data["text/plain"] for each in cell.outputs]
    return "".join(texts).splitlines()
