"""What commands print: tables for people, one JSON object a line for scripts, progress on standard error.

Colours and bars only on a terminal. What comes from outside (a reference number, a reason) is shown with its
control characters written out, so that it cannot drive the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

#: `--json`, for every command that prints; the command gets it as `as_json`.
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for scripts.")

#: Wide enough that no table is folded or cut where a program reads it.
ENDLESS = 100_000


def say(text: str) -> None:
    """Print a line for people."""
    click.echo(plain(text, keep="\n"))


def lines(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print each row as one line of JSON, as soon as it comes. Times are ISO 8601, decimals are strings."""
    import msgspec

    encoder = msgspec.json.Encoder(enc_hook=str)
    for row in rows:
        click.echo(encoder.encode(row))


def table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], empty: str = "Nothing.", alarming: Sequence[str] = ()
) -> None:
    """Print rows as a table with these columns, each by its key with `_` as a space; or `empty` if there are none.

    What is in one of the `alarming` columns and is not nothing is red, on a terminal.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(*(name.replace("_", " ") for name in columns), box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(
            *(Text(cell(row.get(name)), style="red" if name in alarming and row.get(name) else "") for name in columns)
        )
    if shown.row_count:
        Console(width=None if sys.stdout.isatty() else ENDLESS).print(shown)
    else:
        say(empty)


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], as_json: bool, empty: str = "Nothing.") -> None:
    """Print rows for whoever asked: whole, as JSON lines, or these columns as a table."""
    if as_json:
        lines(rows)
    else:
        table(rows, columns, empty)


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, which the block moves on; none where standard error is no terminal.

    with progress("Files", 25) as advance:
        advance(1)
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


def cell(value: Any) -> str:
    """A value as people read it: times in UTC to the millisecond, yes and no, a dash for nothing."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
        case _:
            return plain(str(value))


def plain(text: str, keep: str = "") -> str:
    """The text with everything unprintable written out, as in a Python string."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
