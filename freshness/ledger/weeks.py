"""Weeks: the partitions that receipts lie in, one a week by UTC, named for the Monday that it begins with.

They are made weeks ahead by the schedule and dropped whole by a prune. What no week was made for lies in the default
partition, so that a schedule that stood still never refuses a batch (docs/decisions/0012-receipts-by-the-week.md).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

TABLE, DEFAULT = "mlm_webhook_receipts", "mlm_webhook_receipts_default"
#: How a week is called once it is detached, until its table is dropped.
GONE = "mlm_webhook_receipts_gone_"
LENGTH = dt.timedelta(days=7)

#: So long, at most, does whoever touches receipts wait behind a week that is made or dropped and finds them in use.
STALL_MS = 50

_STALL = f"SET LOCAL lock_timeout = {STALL_MS}"

_MAKE = "SELECT mlm_make_receipt_weeks((mlm_now() AT TIME ZONE 'UTC')::date + %(days)s::int, 1)"

_PARTITIONS = f"""
SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = '{TABLE}'::regclass AND NOT i.inhdetachpending ORDER BY c.relname
"""  # noqa: S608 - a table of ours

_STRAYS = f"SELECT EXISTS (SELECT FROM {DEFAULT} WHERE received_at >= %(since)s)"  # noqa: S608

#: A receipt that says why a file is stale, or an entry of another sender's that waits for its subject's beginning.
UNSERVED = "(order_number IS NOT NULL AND served_at IS NULL OR outcome = 'waiting')"

#: So many unserved receipts of a week are moved to the default partition when it is dropped; with more it stays whole.
MOST_MOVED = 1_000

# Functions of the receipts' owner's, whom no process runs as (deploy/roles.sql).
_DETACH = "SELECT mlm_detach_receipt_week(%(monday)s)"
_DROP = "SELECT mlm_drop_detached_receipt_weeks()"

_COUNT_UNSERVED = "SELECT count(*) FROM (SELECT FROM {week} WHERE {unserved} LIMIT {most}) u"
_MOVE = "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM {week} WHERE {unserved}"


@dataclass(frozen=True, slots=True)
class Week:
    """One week's partition."""

    name: str
    begins: dt.datetime

    @property
    def ends(self) -> dt.datetime:
        """When the next one begins."""
        return self.begins + LENGTH


@dataclass(frozen=True, slots=True)
class Reach:
    """How many of the weeks to come have their partition, without a gap; whether receipts of this week or later lie
    outside of any week's: their week was not made in time."""

    ahead: int
    strays: bool


def beginning_of(moment: dt.datetime) -> dt.datetime:
    """The Monday 00:00 UTC of this moment's week."""
    day = moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - dt.timedelta(days=day.weekday())


def made(conn: Connection) -> list[Week]:
    """The weeks that have their partition, oldest first."""
    names = [row.name for row in conn.exec_driver_sql(_PARTITIONS) if row.name[-8:].isdigit()]
    return [Week(name, dt.datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=dt.UTC)) for name in names]


def make_ahead(conn: Connection, weeks: int = 5) -> int:
    """Make the partitions of this week and the next ones; how many were new.

    A week that the default partition has receipts of already (the schedule stood still) is left to it, and one that
    could only be made by waiting for longer than STALL_MS to the next time.
    """
    return sum(_make(conn, ahead) for ahead in range(weeks))


def reach(conn: Connection) -> Reach:
    """How far ahead the partitions reach."""
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    begun, ahead, this = {week.begins for week in made(conn)}, 0, beginning_of(now)
    while this + LENGTH * (ahead + 1) in begun:
        ahead += 1
    return Reach(ahead, bool(conn.exec_driver_sql(_STRAYS, {"since": this}).scalar()))


def unserved(conn: Connection, week: Week) -> int:
    """How many of its receipts are unserved; MOST_MOVED + 1 stands for all that are more.

    In a transaction for this week alone: it goes by indexes from here on, where the planner would read the week through
    for the first thousand.
    """
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    query = _COUNT_UNSERVED.format(week=week.name, unserved=UNSERVED, most=MOST_MOVED + 1)
    return int(conn.exec_driver_sql(query).scalar_one())


def detach(conn: Connection, week: Week) -> int | None:
    """Take a week out of the receipts, for `drop_detached`; how many unserved ones were moved to the default partition.

    None if receipts were in use for longer than STALL_MS: then nothing has happened. Nobody reads or writes a receipt
    from when the lock is got until the commit, so the caller's transaction goes on to nothing else, and does not wait
    for the disk: if this commit is lost, the week is there as before.
    """
    gone = f"{GONE}{week.begins:%Y%m%d}"
    try:
        with conn.begin_nested():
            conn.exec_driver_sql(_STALL)
            conn.exec_driver_sql("SET LOCAL synchronous_commit = off")
            conn.exec_driver_sql(_DETACH, {"monday": week.begins.date()})
            return conn.exec_driver_sql(_MOVE.format(table=TABLE, week=gone, unserved=UNSERVED)).rowcount
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return None
        raise


def drop_detached(conn: Connection) -> None:
    """Drop the tables of weeks that were detached, by a prune that was killed too. Receipts are not locked for it."""
    conn.exec_driver_sql(_DROP)


def _make(conn: Connection, ahead: int) -> int:
    try:
        with conn.begin_nested():
            conn.exec_driver_sql(_STALL)
            return int(conn.exec_driver_sql(_MAKE, {"days": 7 * ahead}).scalar_one())
    except IntegrityError:
        return 0
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return 0
        raise
