"""Prune: what is old goes, and nobody waits for it. Receipts go by the week, the trails beside them by the row.

A week of receipts is dropped, which costs the same however many they are. By the row, a thousand in a transaction
and with a rest after each, go what lies outside of any week, and the first days of a week that is not old as a whole
yet. No order that is unserved goes, nor a receipt of one, however old: it says why a file is stale.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Connection

from . import body_keys, weeks
from .weeks import DEFAULT, UNSERVED, Week

#: What a refused body told of itself (the names of its keys, the sizes of what they held) goes sooner than the row.
BODIES_KEPT = dt.timedelta(days=14)

#: Who did what in the web console stays for so long, however young the receipts are that go: it is asked for late, and
#: whoever may prune is not to take along what was done.
ACTIONS_KEPT = dt.timedelta(days=400)

#: Rows, or files whose orders are looked at, in one transaction.
AT_ONCE = 1_000

#: Receipts are in use for moments only, but for a backup or a long listing: a week is tried for a few times.
TRIES, TRY_AGAIN_S = 4, 0.25

#: So many times as long as it took it rests after each transaction by the row: others have the disk and the processors.
REST = 9.0

Begin = Callable[[], AbstractContextManager[Connection]]

# Whoever waits for its subject's beginning needs its body then.
_BODY_WAITS = """
EXISTS (SELECT FROM mlm_webhook_receipts r WHERE r.body_id = sender_bodies.id AND r.outcome = 'waiting')
"""

# By place on the disk, found in the order of time: no chunk looks again through what the one before has deleted.
_RECEIVED = """
WITH gone AS (
    DELETE FROM {part} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {part} WHERE received_at >= %(since)s AND received_at < %(before)s AND NOT ({kept})
        ORDER BY received_at LIMIT %(limit)s
    )) RETURNING received_at
)
SELECT count(*) AS n, max(received_at) AS last FROM gone
"""

# A chunk of a trail in the order of its ids, which is that of time but for a moment.
_CHUNK = """
SELECT max(id) AS upto, bool_or({at} < %(before)s) AS old
FROM (SELECT id, {at} FROM {table} WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) chunk
"""
_GONE = "DELETE FROM {table} WHERE id > %(after)s AND id <= %(upto)s AND {at} < %(before)s AND {done}"

_FILES = """
SELECT max(id) FROM (SELECT id FROM file_freshness WHERE id > %(after)s ORDER BY id LIMIT %(limit)s) chunk
"""
_ORDERS = """
DELETE FROM refresh_orders o USING file_freshness f
WHERE f.id = o.file_id AND f.id > %(after)s AND f.id <= %(upto)s AND o.number < f.served AND o.placed_at < %(before)s
"""

_WRITE_IS_DONE = "(exited_at IS NOT NULL OR abandoned_at IS NOT NULL) AND NOT (capture_wanted AND captured_at IS NULL)"

# Missed changes stay: there should be none, and each is to be looked into.
_BACKSTOP_RUNS = "DELETE FROM backstop_runs WHERE hour < %(before)s"

_BODIES = "UPDATE refused_deliveries SET keys = NULL WHERE at < %(before)s AND keys IS NOT NULL"


@dataclass(frozen=True, slots=True)
class DroppedWeeks:
    """What became of the weeks that were old: dropped, `receipts_moved` out of them because they were unserved; left
    because receipts were `in_use` just then; or kept whole for very many `unserved` receipts."""

    dropped: tuple[str, ...]
    receipts_moved: int
    in_use: tuple[str, ...]
    unserved: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took away: whole weeks of receipts, receipts beside them, and rows of the other trails.

    `bodies` of refused deliveries are gone whose rows stay. What is said of weeks: `DroppedWeeks`.
    """

    weeks_dropped: tuple[str, ...]
    weeks_in_use: tuple[str, ...]
    weeks_unserved: tuple[str, ...]
    receipts_moved: int
    receipts: int
    slice_runs: int
    orders: int
    own_writes: int
    refused_deliveries: int
    bodies: int
    backstop_runs: int
    sender_bodies: int
    body_keys: int
    console_actions: int


def prune(begin: Begin, older_than: dt.timedelta, *, whole_weeks: bool = False) -> Pruned:
    """Drop what is older than this, in many short transactions, each from `begin`.

    `whole_weeks`: receipts of a week stay until it is old as a whole, so that none of it goes by the row.
    """
    with begin() as conn:
        now: dt.datetime = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    before = now - older_than
    old = drop_weeks(begin, before)
    return Pruned(
        old.dropped,
        old.in_use,
        old.unserved,
        old.receipts_moved,
        receipts=sum(_by_row(begin, part, before) for part in _parts(begin, before, whole_weeks)),
        slice_runs=_trail(begin, "slice_runs", "finished_at", before),
        orders=_orders(begin, before),
        own_writes=_trail(begin, "own_writes", "registered_at", before, done=_WRITE_IS_DONE),
        refused_deliveries=_trail(begin, "refused_deliveries", "at", before),
        bodies=_at_once(begin, _BODIES, max(before, now - BODIES_KEPT)),
        backstop_runs=_at_once(begin, _BACKSTOP_RUNS, before),
        sender_bodies=_by_row(begin, "sender_bodies", before, _BODY_WAITS),
        body_keys=_body_keys(begin, before),
        console_actions=_trail(begin, "console_actions", "at", min(before, now - ACTIONS_KEPT)),
    )


def drop_weeks(begin: Begin, before: dt.datetime) -> DroppedWeeks:
    """Drop the weeks that ended before this: each is detached by a transaction of its own, then all are dropped."""
    with begin() as conn:
        old = [week for week in weeks.made(conn) if week.ends <= before]
    became: dict[_Fate, list[str]] = {fate: [] for fate in _Fate}
    moved = 0
    for week in old:
        fate, took = _detach(begin, week)
        became[fate].append(week.name)
        moved += took
    with begin() as conn:
        weeks.drop_detached(conn)
    return DroppedWeeks(tuple(became[_Fate.GONE]), moved, tuple(became[_Fate.IN_USE]), tuple(became[_Fate.UNSERVED]))


def _body_keys(begin: Begin, before: dt.datetime) -> int:
    with begin() as conn:
        return body_keys.drop_old(conn, before)


class _Fate(Enum):
    GONE, IN_USE, UNSERVED = range(3)


def _detach(begin: Begin, week: Week) -> tuple[_Fate, int]:
    """What became of the week, and how many receipts were moved out of it."""
    for again in range(TRIES):
        if again:
            time.sleep(TRY_AGAIN_S)
        with begin() as conn:
            if weeks.unserved(conn, week) > weeks.MOST_MOVED:
                return _Fate.UNSERVED, 0
            moved = weeks.detach(conn, week)
        if moved is not None:
            return _Fate.GONE, moved
    return _Fate.IN_USE, 0


def _parts(begin: Begin, before: dt.datetime, whole_weeks: bool) -> list[str]:
    """Partitions of which single receipts may go."""
    with begin() as conn:
        partly = [week.name for week in weeks.made(conn) if week.begins < before < week.ends]
    return [DEFAULT] if whole_weeks else [DEFAULT, *partly]


def _by_row(begin: Begin, part: str, before: dt.datetime, kept: str = UNSERVED) -> int:
    """Delete the old receipts of one partition, or other senders' old bodies; how many they were."""
    query = _RECEIVED.format(part=part, kept=kept)
    since: dt.datetime | str = "-infinity"
    deleted = 0
    while True:
        with _unhurried(begin) as conn:
            gone = conn.exec_driver_sql(query, {"since": since, "before": before, "limit": AT_ONCE}).one()
        deleted += int(gone.n)
        if gone.n < AT_ONCE:
            return deleted
        since = gone.last


def _trail(begin: Begin, table: str, at: str, before: dt.datetime, done: str = "true") -> int:
    """Delete the old rows of a trail, those that are done with; how many they were."""
    chunk, delete = _CHUNK.format(table=table, at=at), _GONE.format(table=table, at=at, done=done)
    after = deleted = 0
    while True:
        with _unhurried(begin) as conn:
            found = conn.exec_driver_sql(chunk, {"after": after, "before": before, "limit": AT_ONCE}).one()
            if not found.old:
                return deleted
            parameters = {"after": after, "upto": found.upto, "before": before}
            deleted += conn.exec_driver_sql(delete, parameters).rowcount
        after = found.upto


def _orders(begin: Begin, before: dt.datetime) -> int:
    """Delete old orders, but the newest that was served of each file; how many they were."""
    after = deleted = 0
    while True:
        with _unhurried(begin) as conn:
            upto = conn.exec_driver_sql(_FILES, {"after": after, "limit": AT_ONCE}).scalar()
            if upto is None:
                return deleted
            parameters = {"after": after, "upto": upto, "before": before}
            deleted += conn.exec_driver_sql(_ORDERS, parameters).rowcount
        after = upto


@contextmanager
def _unhurried(begin: Begin) -> Iterator[Connection]:
    """A transaction, and a rest after it."""
    began = time.monotonic()
    with begin() as conn:
        yield conn
    time.sleep(REST * (time.monotonic() - began))


def _at_once(begin: Begin, statement: str, before: dt.datetime) -> int:
    with begin() as conn:
        return int(conn.exec_driver_sql(statement, {"before": before}).rowcount)
