"""`freshness queues`: how much waits, and `queues redrive`: another chance for what was given up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from console.cells import second
from console.opening import open_house
from console.output import json_option, lines, plain, progress, say, show
from console.parameters import rate, ref
from console.processes import ended_by_signals
from freshness.concerns import ALL
from freshness.errors import UnknownFile
from freshness.ledger import files, given_up
from freshness.ledger.given_up import Filter, GivenUp

if TYPE_CHECKING:
    from console.redriving import Redriven
    from jobs.house import House

CONCERNS = [concern.value for concern in ALL]

#: Where no bar can be shown, a line says this often how far it is.
TELL_EVERY_S = 5.0


@click.group(
    invoke_without_command=True,
    epilog="\b\nExamples:\n  freshness queues\n  freshness queues --json\n  freshness queues redrive --dry-run",
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> int:
    """Show how much waits, and where: queues, stale files, what is at work, what was given up.

    Queues hold bells; what is due stands in PostgreSQL, by concern. `failing` is tried again by itself, `given up`
    (eight errors in a row) rests until a redrive or a new order. Nothing is changed by looking. Exits 1 if Redis is
    away: then only the bells are missing.
    """
    if ctx.invoked_subcommand is not None:
        return 0
    house = open_house("DATABASE_URL", "REDIS_URL")
    from console import backlog

    seen = backlog.look(house)
    if as_json:
        lines([seen.as_json()])
    else:
        backlog.tell(seen)
    if seen.away:
        click.echo(f"freshness: {plain(seen.away)}", err=True)
    return 1 if seen.away else 0


@command.command(
    "redrive",
    short_help="Give what was given up another chance.",
    epilog="\b\nExamples:\n"
    "  freshness queues redrive --dry-run\n"
    "  freshness queues redrive --concern fees --rate 5/s\n"
    "  freshness queues redrive --error Outage",
)
@click.option("--concern", type=click.Choice(CONCERNS), metavar="CONCERN", help=f"One of {', '.join(CONCERNS)}.")
@click.option("--error", metavar="TEXT", help="Whose last error says this; letter case aside.")
@click.option("--ref", "reference", metavar="REF", type=ref, help="Of this file only.")
@click.option("--dry-run", is_flag=True, help="List what would be redriven, and change nothing.")
@click.option("--rate", "a_second", metavar="N/s", type=rate, help="At most so many files a second; else at once.")
@json_option
def redrive(
    concern: str | None, error: str | None, reference: str | None, dry_run: bool, a_second: float | None, as_json: bool
) -> int:
    """Give what was given up another chance: all of it, or what the options leave.

    Each file gets one order, as by `freshness refresh`: its other concerns are read again with it. Workers do the
    reading, within MLM_RATE; it is not waited for. Ctrl-C breaks it off, and the same command takes the rest. Exits 1
    if it was broken off, or if there is no such file.
    """
    house = open_house("DATABASE_URL", "REDIS_URL")
    found = _find(house, Filter(concern, error, reference))
    if dry_run:
        show(map(asdict, found) if as_json else map(_shown, found), COLUMNS, as_json, NOTHING)
        if found and not as_json:
            say(f"{_files(len({each.file_id for each in found}))} would be ordered.")
        return 0
    if not found:
        show((), COLUMNS, as_json, NOTHING)
        return 0
    return _redrive(house, found, a_second, as_json)


COLUMNS = ("file", "concern", "tries", "last_try", "error")
NOTHING = "Nothing of that kind was given up."


def _find(house: House, wanted: Filter) -> list[GivenUp]:
    with house.engine.begin() as conn:
        if wanted.ref is not None and files.find_by_ref(conn, wanted.ref) is None:
            raise UnknownFile(None, wanted.ref)
        return given_up.listed(conn, house.rules, wanted)


def _redrive(house: House, found: list[GivenUp], a_second: float | None, as_json: bool) -> int:
    from console import redriving

    total, reached = len(redriving.files_of(found)), []
    with ended_by_signals() as ended, _telling(total, as_json) as told:
        for each in redriving.redrive(house.engine, house.rules, house.bell, found, a_second):
            reached.append(each)
            told(each)
    if ended.by:
        click.echo("Broken off. What was ordered goes on; the same command takes the rest.", err=True)
        return 1
    if not as_json:
        ordered = sum(each.order is not None for each in reached)
        late = f"; {len(reached) - ordered} had been ordered meanwhile" if len(reached) > ordered else ""
        say(f"Ordered {_files(ordered)}{late}.")
    return 0


@contextmanager
def _telling(total: int, as_json: bool) -> Iterator[Callable[[Redriven], None]]:
    """Scripts get a line a file; people a bar, or a line now and then where no bar can be shown."""
    if as_json:
        yield lambda each: lines([asdict(each)])
        return
    done, told_at = 0, time.monotonic()

    def tell(_: Redriven) -> None:
        nonlocal done, told_at
        done += 1
        advance(1)
        if not sys.stderr.isatty() and time.monotonic() - told_at > TELL_EVERY_S:
            told_at = time.monotonic()
            click.echo(f"{done} of {total} files are ordered.", err=True)

    with progress("Files", total) as advance:
        yield tell


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _shown(each: GivenUp) -> dict[str, object]:
    return {
        "file": each.ref,
        "concern": each.concern,
        "tries": each.attempts,
        "last_try": second(each.last_error_at),
        "error": each.last_error,
    }
