"""What the command prints: answers to standard output, everything else to standard error.

Colour, spinners and live views appear on a terminal only, so that what a program reads is plain.
"""

import io
import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emco.cli.failures import Failure

_UNSEEN_WIDTH: Final = 10_000


class Output(StrEnum):
    """The forms in which an answer can be had."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print the answer")]


def out() -> Console:
    """Standard output, as it is now: tests and pipes replace it."""
    return Console(highlight=False, markup=False, soft_wrap=True)


def err() -> Console:
    """Standard error."""
    return Console(highlight=False, markup=False, soft_wrap=True, stderr=True)


def say(text: str, style: str = "") -> None:
    """One line of an answer."""
    out().print(Text(text, style=style))


def report(failure: Failure) -> None:
    """An error: the sentence, and indented below it the place and what to do."""
    err().print(Text(f"error: {failure.title}", style="bold red"))
    for line in failure.detail.splitlines():
        err().print(Text(f"  {line}"))


def data(value: Any, output: Output) -> None:
    """A value for programs; what is shown as a table to people is YAML here."""
    out().print(Text(as_json(value) if output is Output.JSON else as_yaml(value)))


def as_json(value: Any) -> str:
    """Indented JSON, keys in the order of the API."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def as_yaml(value: Any) -> str:
    """Block YAML, keys in the order of the API."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip("\n").removesuffix("\n...")


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Columns side by side, without lines; no column is cut when nobody sees the width."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column.upper(), no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    console = out()
    if console.is_terminal:
        console.print(grid, no_wrap=True, overflow="ignore", crop=False)
        return
    wide = Console(file=io.StringIO(), width=_UNSEEN_WIDTH)
    with wide.capture() as capture:
        wide.print(grid)
    for line in capture.get().splitlines():
        say(line.rstrip())
