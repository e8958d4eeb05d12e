"""Tables: drawn by rich on a terminal, plain aligned columns in a pipe.

What other nodes chose, such as their names, is shown with every control character escaped, so that no member can write
to another's terminal. Nothing here knows what the tables are about.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from shutil import get_terminal_size
from typing import TextIO

import click

_GAP = 2
_DRAWN = 200
"""rows that are wrapped to the width of a terminal; that takes milliseconds for each."""


def clean(text: str) -> str:
    """`text` with what would not print as itself (control, direction, lone surrogates) as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


_STATES: Mapping[str, str] = {
    "alive": "green",
    "active": "green",
    "healthy": "green",
    "chosen": "green",
    "daemon-down": "yellow",
    "standby": "blue",
    "waiting": "yellow",
    "quarantined": "yellow",
    "pruned": "red",
    "not healthy": "red",
}
"""What is coloured where it is all that a cell says. The word says it too."""


def painted(text: str, colour: str, err: bool = False) -> str:
    """In a colour when a person looks; see no-color.org. `err`: at standard error."""
    return click.style(text, fg=colour) if colourful(sys.stderr if err else sys.stdout) else text


def colourful(stream: TextIO | None = None) -> bool:
    return (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], spare: Sequence[str] = ()) -> None:
    """A table on standard output. Each row has as many cells as there are columns.

    `spare` names columns that a terminal too narrow for all of them does without, the first one first. Programs that
    read a pipe get them all.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and len(cells) <= _DRAWN:
        _draw(*_fitting(columns, cells, spare, get_terminal_size().columns))
        return
    lines = [list(columns), *([cell or "-" for cell in row] for row in cells)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    head, *rest = (form.format(*line).rstrip() for line in lines)
    # One write: thousands of lines are shown at once.
    click.echo("\n".join([click.style(head, bold=True) if colourful() else head, *rest]))


def show_fields(fields: Iterable[tuple[str, str]]) -> None:
    """`label: value` lines on standard output, the values aligned."""
    lines = [(f"{label}:", clean(value)) for label, value in fields]
    width = max((len(label) for label, _ in lines), default=0)
    for label, value in lines:
        shown = painted(value, _STATES[value]) if value in _STATES else value
        click.echo(f"{label.ljust(width)} {shown}".rstrip())


def _fitting(
    columns: Sequence[str], cells: list[list[str]], spare: Sequence[str], width: int
) -> tuple[list[str], list[list[str]]]:
    """The columns that fit into `width` characters, with a gap of `_GAP`."""
    kept = list(range(len(columns)))
    widths = [max(len(row[index]) for row in [list(columns), *cells]) for index in kept]
    for name in spare:
        if sum(widths[index] + _GAP for index in kept) - _GAP <= width:
            break
        kept = [index for index in kept if columns[index] != name]
    return [columns[index] for index in kept], [[row[index] for index in kept] for row in cells]


def _draw(columns: Sequence[str], cells: list[list[str]]) -> None:
    # Slow to import, and of no use in a pipe.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        # As `Text`, because rich would read a markup language in plain strings.
        table.add_row(*(Text(cell, style=_STATES.get(cell, "")) for cell in row))
    Console().print(table)
