"""What a benchmark of a promise found: a row each, with what was promised beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.machine import describe
from forecast_grpc.cli._common import output, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure."""

    what: str
    """What was measured."""

    measured: float
    """The figure."""

    unit: str = ""
    """Its unit."""

    at_most: float | None = None
    """What it may be; None where nothing is promised."""

    at_least: float | None = None
    """What it must be; None where nothing is promised."""

    @property
    def holds(self) -> str:
        """Whether the promise is kept; empty where there is none."""
        if self.at_most is None and self.at_least is None:
            return ""
        low, high = self.at_least or float("-inf"), self.at_most
        return "yes" if low <= self.measured and (high is None or self.measured <= high) else "NO"

    def row(self) -> tuple[str, str, str, str]:
        """For the table."""
        limits = ((self.at_most, "at most"), (self.at_least, "at least"))
        wanted = ", ".join(
            f"{word} {_number(limit, self.unit)}" for limit, word in limits if limit is not None
        )
        return self.what, _number(self.measured, self.unit), wanted, self.holds


def _number(value: float, unit: str) -> str:
    digits = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.3g}"  # noqa: PLR2004
    return f"{digits} {unit}".strip()


def report(title: str, findings: Sequence[Finding], json_file: Path | None) -> None:
    """Prints the table, and writes what was measured, with the machine, where that is asked for."""
    made = table("what", "measured", "promised", "kept", numbers=("measured", "promised"))
    for each in findings:
        made.add_row(*each.row())
    output().print(f"\n{title}", made)
    if json_file is not None:
        facts = {"benchmark": title, "findings": [asdict(each) | {"holds": each.holds} for each in findings]}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(describe() | facts, indent=2) + "\n")
