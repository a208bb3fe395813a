"""Every command is documented, in its own help and in docs/cli.md, and the examples there run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from forecast_grpc.cli import app
from tests.cli.conftest import RunCommand

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def commands(group: TyperGroup, path: str = "forecast-grpc") -> Iterator[tuple[str, TyperCommand]]:
    """Every command of the tree with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{path} {name}", command


root = typer.main.get_command(app)
assert isinstance(root, TyperGroup)
COMMANDS = dict(commands(root))


def section(name: str) -> str:
    """What the page says of a command."""
    found = re.search(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section for {name}"
    return found[1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(run: RunCommand, name: str) -> None:
    """Each command's help describes it, and shows how it is called."""
    done = run(*name.split()[1:], "--help")
    assert done.code == 0
    assert f"Example: {name}" in done.out
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_page_has_every_option(name: str) -> None:
    """The page has a section for the command, with an example, and each of its options."""
    text = section(name)
    assert f"\n{name}" in text
    options = {
        option for parameter in COMMANDS[name].params for option in parameter.opts if option[:2] == "--"
    }
    assert {option for option in options - {"--help"} if f"`{option}" not in text} == set()


def test_page_has_no_other_command() -> None:
    """The page describes no command and no option that does not exist."""
    assert set(re.findall(r"^## (forecast-grpc .*)$", PAGE.read_text(), re.MULTILINE)) == set(COMMANDS)
    for name, command in COMMANDS.items():
        known = {option for parameter in command.params for option in parameter.opts}
        rows = re.findall(r"^\| (`--.*?) \|", section(name), re.MULTILINE)
        named = {option for row in rows for option in re.findall(r"--[a-z-]+", row)}
        assert named <= known
