"""The load generator on a service that is measured: only right answers make a measurement."""

import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from forecast_grpc.cli import _load


class WrongAnswersError(Exception):
    """Some of the answers were not the right one, so that their rate means nothing."""


@cache
def program() -> Path:
    """The generator, built once a run. Ends the benchmark where it cannot be had."""
    try:
        found = _load.generator()
    except _load.BuildFailedError as exc:
        sys.exit(f"The load generator cannot be built:\n{exc}")
    return found or sys.exit("There is no Go here to build the load generator with: see CONTRIBUTING.md.")


def load(options: Mapping[str, object], **more: object) -> dict[str, Any]:
    """What the generator found; in_flight=1 is `--in-flight=1`. Raises WrongAnswersError."""
    dashed = {key.replace("_", "-"): value for key, value in {**options, **more}.items()}
    found = _load.run(program(), dashed)
    if set(found["outcomes"]) != {"OK"}:
        raise WrongAnswersError(f"{found['outcomes']}: {found.get('messages')}")
    return found
