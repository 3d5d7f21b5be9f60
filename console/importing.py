"""Imports from beginning to end: files are ordered a few at a time, rung for, and followed until they are served.

    run, resumed = importing.begin(engine, ["R000123", "R000124"])
    for progress in importing.follow(engine, bell, run):
        ...

What is done so far stands in PostgreSQL: who breaks an import off, by leaving the loop or by a kill, takes it up again
with the same references.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from freshness.bell import Bell
from freshness.ledger import imports
from freshness.ledger.imports import Progress, Shortfall

#: Files of an import under way at once. What a webhook orders meanwhile waits behind their slices at the most: 900
#: reads, 45 s at 20 a second.
UNDER_WAY = 100

LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Begun:
    """A run of an import. `resumed`: it was begun before and broken off."""

    run: int
    resumed: bool


def begin(engine: Engine, refs: Sequence[str] | None) -> Begun:
    """The run for these references (None: every loan and lead), taken up again if it was broken off.

    One that was broken off and has come to its end since is closed, and a new one begun: who asks again means now.
    """
    with engine.begin() as conn:
        run, resumed = imports.start_or_resume(conn, refs)
        if resumed and imports.progress(conn, run).done:
            imports.finish(conn, run)
            run, resumed = imports.start_or_resume(conn, refs)
    return Begun(run, resumed)


def follow(engine: Engine, bell: Bell, run: int) -> Iterator[Progress]:
    """How far the run is, again and again until every file is served or given up; orders and rings as there is room.

    Then the run is finished. Left before its end, it can be taken up again.
    """
    while True:
        with engine.begin() as conn:
            progress = imports.progress(conn, run)
        yield progress
        if progress.done:
            break
        room = UNDER_WAY - (progress.ordered - progress.served - progress.given_up - progress.not_found)
        if progress.ordered < progress.total and room > 0:
            _order(engine, bell, run, room)
        else:
            time.sleep(LOOK_EVERY_S)
    _finish(engine, run)


def order_all(engine: Engine, bell: Bell, run: int) -> Progress:
    """Order all files of the run at once, wait for none, and finish it."""
    while _order(engine, bell, run, UNDER_WAY):
        pass
    _finish(engine, run)
    with engine.begin() as conn:
        return imports.progress(conn, run)


def shortfalls(engine: Engine, run: int) -> list[Shortfall]:
    """The run's files that MLM does not have, and those that were given up."""
    with engine.begin() as conn:
        return imports.shortfalls(conn, run)


def _order(engine: Engine, bell: Bell, run: int, limit: int) -> bool:
    with engine.begin() as conn:
        rings = imports.order_next(conn, run, limit)
    bell(rings)
    return bool(rings)


def _finish(engine: Engine, run: int) -> None:
    with engine.begin() as conn:
        imports.finish(conn, run)
