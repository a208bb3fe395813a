"""What the documentation says, taken out of its Markdown: commands with their output, code, links, headings."""

import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

VOLATILE = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r"\b20\d\d-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?)?", "<time>"),
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r'((?:forecast-replica"?:? |"replica": )"?)\w{8}\b', r"\1<replica>"),
    (r'("duration_ms": )[\d.]+', r"\1<ms>"),
    (r"^date: .*", "date: <time>"),
)
"""What differs from run to run, and what stands for it in a comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block."""

    language: str
    """What stands behind the fence."""

    text: str
    """What it holds."""

    line: int
    """Where it begins in its page, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that a page tells its reader to type."""

    text: str
    """As it is typed, over several lines perhaps."""

    output: tuple[str, ...] | None
    """The lines that the page shows as its output; None where it shows none."""

    @property
    def fails(self) -> bool:
        """Whether the page shows an error of a command, which then has to end with an exit code of its own."""
        return any(re.match(r"(ERROR|Error|Error .*): ?|Failed ", line) for line in self.output or ())


def pages() -> list[Path]:
    """The pages that speak to users and operators."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        yield Block(language=found[1], text=found[2], line=text.count("\n", 0, found.start()) + 1)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def commands(page: Path) -> list[Command]:
    """The commands of a page: `$` lines of console blocks with what follows them, and all lines of sh blocks."""
    found: list[Command] = []
    for block in blocks(page):
        if block.language == "sh":
            found += (Command(text=text, output=None) for text in _joined(block.text.splitlines()))
        elif block.language == "console":
            found += _session(block.text)
    return found


def _joined(lines: list[str]) -> Iterator[str]:
    """Lines of a script put together into whole commands."""
    text = ""
    for line in lines:
        text += line
        if text.endswith("\\") or _is_open(text):
            text += "\n"
            continue
        if text.strip() and not text.startswith("#"):
            yield text
        text = ""


def _is_open(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _session(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        typed = [lines.pop(0)]
        while lines and (typed[-1].endswith("\\") or _is_open("\n".join(typed))):
            typed.append(lines.pop(0))
        yield Command(text="\n".join(typed), output=tuple(lines) or None)


def matches(shown: tuple[str, ...], real: tuple[str, ...]) -> bool:
    """Whether real output is what a page shows. A line of `...` is any lines, `...` at a line's end any rest."""
    if not shown:
        return not real
    if shown[0].strip() == "...":
        return any(matches(shown[1:], real[start:]) for start in range(len(real) + 1))
    return bool(real) and _alike(shown[0], real[0]) and matches(shown[1:], real[1:])


def _alike(shown: str, real: str) -> bool:
    shown, real = _settled(shown), _settled(real)
    if shown.endswith("..."):
        return real.startswith(shown[:-3])
    number = r"(-?\d+\.\d+)"
    pairs = list(zip(re.split(number, shown), re.split(number, real), strict=False))
    return re.sub(number, "", shown) == re.sub(number, "", real) and all(
        # Decimals may differ in what another processor makes of them, and no more.
        math.isclose(float(a), float(b), rel_tol=1e-3) if place % 2 else a == b
        for place, (a, b) in enumerate(pairs)
    )


def _settled(line: str) -> str:
    for pattern, stand_in in VOLATILE:
        line = re.sub(pattern, stand_in, line)
    # Releases of grpcurl differ in how they print names: customerId, customer_id.
    line = re.sub(r'"\w+":', lambda key: re.sub(r"([A-Z])", r"_\1", key[0]).lower(), line)
    return " ".join(line.split())


def links(page: Path) -> Iterator[tuple[str, str]]:
    """The relative links of a page: the path, and the heading's anchor, either of which may be empty."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}
