"""`freshness import`: files read from MLM, whole, many at a time."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from console import importing
from console.opening import open_house
from console.output import json_option, lines, plain, progress, say, table
from console.parameters import ref
from console.processes import ended_by_signals
from freshness.ledger import workers
from freshness.ledger.imports import Progress, Shortfall

if TYPE_CHECKING:
    from jobs.house import House

#: Where no bar can be shown, a line says this often how far it is.
TELL_EVERY_S = 5.0

#: So long without a file served, it is worth a look whether anybody works.
STILL_S = 5.0


@click.command(epilog="\b\nExamples:\n  freshness import R000123 R000124\n  freshness import --all")
@click.argument("refs", metavar="[REF]...", nargs=-1, type=ref)
@click.option("--all", "everything", is_flag=True, help="Every loan and lead that we have, again.")
@click.option("--no-wait", is_flag=True, help="Order the files, and do not wait until they are here.")
@json_option
def command(refs: tuple[str, ...], everything: bool, no_wait: bool, as_json: bool) -> int:
    """Read files from MLM, whole, and wait until they are here.

    A file that we do not have yet becomes a loan or a lead, by what MLM says it is. Workers do the reading. Ctrl-C
    breaks the import off; the same command takes it up again. Exits 1 if MLM does not have a file (it is asked twice, a
    minute apart) or if one was given up. With --all, a file that was known to be deleted in MLM before is asked for
    again, and is no failure if it still is.
    """
    if everything == bool(refs):
        raise click.UsageError("name files, or say --all")
    house = open_house("DATABASE_URL", "REDIS_URL")
    short: list[Shortfall] = []
    with ended_by_signals() as ended:
        begun = importing.begin(house.engine, None if everything else refs)
        if no_wait:
            reached = importing.order_all(house.engine, house.bell, begun.run)
        else:
            reached = _watched(house, begun)
            short = importing.shortfalls(house.engine, begun.run)
    if ended.by:
        _note("Broken off. What was ordered goes on; the same command takes the rest up again.")
        return 1
    _tell(reached, short, begun.resumed, no_wait, as_json)
    return 1 if short else 0


def _watched(house: House, begun: importing.Begun) -> Progress:
    """Follow the run to its end, telling on standard error how far it is."""
    steps = importing.follow(house.engine, house.bell, begun.run)
    now = next(steps)
    if begun.resumed:
        _note(f"Takes up an import that was broken off: {now.served} of {now.total} files are here.")
    watch = Watch(house)
    with progress("Files", now.total) as advance:
        advance(now.served)
        for step in steps:
            advance(step.served - now.served)
            now = step
            watch.look(now)
    return now


class Watch:
    """Says what a bar cannot: how far it is where there is no bar, that nobody works, that MLM misses files."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._served = -1
        self._moved_at = self._told_at = time.monotonic()
        self._idle_told = self._missing_told = False

    def look(self, now: Progress) -> None:
        """Take in how far it is, and say what is worth it."""
        at = time.monotonic()
        if now.served != self._served:
            self._served, self._moved_at = now.served, at
        if now.not_found and not self._missing_told:
            self._missing_told = True
            _note("MLM does not find some of them; it is asked again after a minute, before that counts.")
        if not self._idle_told and at - self._moved_at > STILL_S:
            self._idle_told = True
            with self._house.engine.begin() as conn:
                if not workers.living(conn):
                    _note("No worker is running: nothing is read until `freshness worker` runs.")
        if not sys.stderr.isatty() and at - self._told_at > TELL_EVERY_S:
            self._told_at = at
            _note(f"{now.served} of {now.total} files are here.")


def _tell(reached: Progress, short: list[Shortfall], resumed: bool, no_wait: bool, as_json: bool) -> None:
    if as_json:
        numbers = {name: number for name, number in asdict(reached).items() if name != "not_found"}
        lines([{**numbers, "resumed": resumed, "short": [asdict(each) for each in short]}])
        return
    if not reached.total:
        say("Nothing to import: we have no loans and no leads yet. Name files: freshness import REF…")
    elif no_wait:
        say(f"Ordered {_files(reached.total)}.")
    else:
        rest = [f"{reached.missing} not in MLM"] if reached.missing else []
        rest += [f"{reached.deleted} deleted in MLM before"] if reached.deleted else []
        rest += [f"{reached.given_up} given up"] if reached.given_up else []
        here = f"{reached.served - reached.missing - reached.deleted} of {_files(reached.total)}"
        say(f"{', '.join([f'{here} {_are(reached.total)} here', *rest])}.")
    if short:
        table((asdict(each) for each in short), ("ref", "why"))


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _note(text: str) -> None:
    click.echo(plain(text), err=True)
