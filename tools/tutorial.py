"""Runs docs/tutorial.ipynb from top to bottom and writes its outputs into it: `python tools/tutorial.py`."""

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "tutorial.ipynb"

_CELL_TIMEOUT_S = 180


def read() -> Any:  # noqa: ANN401 - nbformat's own kind of dictionary
    """The notebook as it is committed."""
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def run() -> Any:  # noqa: ANN401 - the same
    """The notebook with the outputs that its cells have now. Raises CellExecutionError where one of them fails."""
    client = NotebookClient(
        read(),
        timeout=_CELL_TIMEOUT_S,
        # When each cell ran would change the file each time.
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    )
    notebook = client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            # Notes of libraries to whoever runs it: nothing that a reader wants.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    nbformat.write(run(), NOTEBOOK)  # type: ignore[no-untyped-call]
