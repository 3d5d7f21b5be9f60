"""Receipts after they were written: when their order was served, what it changed, and when they are dropped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

_COUNT_ROWS = """
UPDATE mlm_webhook_receipts SET rows_changed = rows_changed + %(rows)s,
       data_updated_at = coalesce(data_updated_at, %(now)s)
WHERE file_id = %(file_id)s AND order_number > %(after)s AND order_number <= %(order)s AND served_at IS NULL
"""

_SERVED = """
UPDATE mlm_webhook_receipts SET served_at = %(now)s
WHERE file_id = %(file_id)s AND order_number <= %(served)s AND served_at IS NULL
"""


_COLUMNS = (
    "id, received_at, file_id, reference_number, loan_number, loan_id, lead_id, event_type, outcome, reason, "
    "last_modified_at, last_modified_text, mark_before, order_number, served_at, data_updated_at, rows_changed, "
    "replay_of"
)

_LIST = f"""
SELECT {_COLUMNS} FROM mlm_webhook_receipts
WHERE (%(reference)s::text IS NULL OR reference_number = %(reference)s)
  AND (%(number)s::text IS NULL OR loan_number = %(number)s)
  AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
  AND (%(event)s::text IS NULL OR lower(event_type) = lower(%(event)s))
  AND (%(since)s::timestamptz IS NULL OR received_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR received_at < %(until)s)
  AND (NOT %(unserved)s OR (order_number IS NOT NULL AND served_at IS NULL))
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608 - column names of ours

_BY_ID = f"SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE id = ANY(%(ids)s) ORDER BY received_at, id"  # noqa: S608

_MAKE_WEEK = "SELECT mlm_make_receipt_weeks((mlm_now() AT TIME ZONE 'UTC')::date + %(days)s::int, 1)"

_PARTITIONS = """
SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'mlm_webhook_receipts'::regclass ORDER BY c.relname
"""

_STRAYS = "SELECT EXISTS (SELECT FROM mlm_webhook_receipts_default)"

_NEWEST = "SELECT max(received_at) FROM mlm_webhook_receipts"

_UNSERVED = "order_number IS NOT NULL AND served_at IS NULL"

_PRUNE_ROWS = f"""
DELETE FROM mlm_webhook_receipts WHERE received_at < %(before)s AND NOT ({_UNSERVED})
"""  # noqa: S608

_PRUNE_RUNS = "DELETE FROM slice_runs WHERE finished_at < %(before)s"

_PRUNE_ORDERS = """
DELETE FROM refresh_orders o USING file_freshness f
WHERE f.id = o.file_id AND o.number < f.served AND o.placed_at < %(before)s
"""

_PRUNE_OWN_WRITES = """
DELETE FROM own_writes WHERE registered_at < %(before)s AND (exited_at IS NOT NULL OR abandoned_at IS NOT NULL)
    AND NOT (capture_wanted AND captured_at IS NULL)
"""

_PRUNE_REFUSED = "DELETE FROM refused_deliveries WHERE at < %(before)s"

# Missed changes stay: there should be none, and each is to be looked into.
_PRUNE_BACKSTOP_RUNS = "DELETE FROM backstop_runs WHERE hour < %(before)s"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which receipts to list; None asks for all, and as a limit for however many there are."""

    reference: str | None = None
    number: str | None = None
    outcome: str | None = None
    event: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    unserved: bool = False
    limit: int | None = 50


@dataclass(frozen=True, slots=True)
class Weeks:
    """How many of the weeks to come have their partition, without a gap; whether receipts lie outside of any week's."""

    ahead: int
    strays: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took away: whole weeks of receipts, receipts beside them, and rows of the other trails."""

    weeks_dropped: tuple[str, ...]
    receipts: int
    slice_runs: int
    orders: int
    own_writes: int
    refused_deliveries: int
    backstop_runs: int


def count_rows(conn: Connection, file_id: int, rows: int, *, after: int, order: int, now: dt.datetime) -> None:
    """Count a commit's rows on every receipt that its concern had not served before (`after`), up to its order.

    `data_updated_at` becomes the time of the first such commit with rows. Under the file's lock.
    """
    if rows:
        parameters = {"file_id": file_id, "rows": rows, "after": after, "order": order, "now": now}
        conn.exec_driver_sql(_COUNT_ROWS, parameters)


def mark_served(conn: Connection, file_id: int, served: int, now: dt.datetime) -> None:
    """Set `served_at` on the receipts whose orders every concern has served now. Under the file's lock."""
    conn.exec_driver_sql(_SERVED, {"file_id": file_id, "served": served, "now": now})


def listed(conn: Connection, wanted: Filter) -> list[dict[str, Any]]:
    """The receipts that pass the filter, newest first."""
    return [dict(row) for row in conn.exec_driver_sql(_LIST, asdict(wanted)).mappings()]


def by_id(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The receipts with these ids, oldest first. It looks through every week: there is no index on the id alone."""
    return [dict(row) for row in conn.exec_driver_sql(_BY_ID, {"ids": list(ids)}).mappings()]


def make_weeks_ahead(conn: Connection, weeks: int = 5) -> int:
    """Make the partitions of this week and the next ones; how many were new.

    A week that the default partition has receipts of already (the schedule stood still) is left to it.
    """
    return sum(_make_week(conn, ahead) for ahead in range(weeks))


def weeks(conn: Connection) -> Weeks:
    """How far ahead the partitions reach."""
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    made, ahead = {monday for _, monday in _mondays(conn)}, 0
    this = (now - dt.timedelta(days=now.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    while this + dt.timedelta(days=7 * (ahead + 1)) in made:
        ahead += 1
    return Weeks(ahead, bool(conn.exec_driver_sql(_STRAYS).scalar()))


def newest_at(conn: Connection) -> dt.datetime | None:
    """When the newest entry was received; None if none ever was."""
    newest: dt.datetime | None = conn.exec_driver_sql(_NEWEST).scalar()
    return newest


def prune(conn: Connection, older_than: dt.timedelta) -> Pruned:
    """Drop what is older than this: whole weeks where nothing is unserved, single rows elsewhere.

    A receipt whose order is not served stays however old it is: it says why a file is stale.
    """
    before = conn.exec_driver_sql("SELECT mlm_now()").scalar_one() - older_than
    dropped = [name for name in _weeks_before(conn, before) if _drop_week(conn, name)]
    parameters = {"before": before}
    rest = (
        conn.exec_driver_sql(statement, parameters).rowcount
        for statement in (
            _PRUNE_ROWS,
            _PRUNE_RUNS,
            _PRUNE_ORDERS,
            _PRUNE_OWN_WRITES,
            _PRUNE_REFUSED,
            _PRUNE_BACKSTOP_RUNS,
        )
    )
    return Pruned(tuple(dropped), *rest)


def _make_week(conn: Connection, ahead: int) -> int:
    try:
        with conn.begin_nested():
            return int(conn.exec_driver_sql(_MAKE_WEEK, {"days": 7 * ahead}).scalar_one())
    except IntegrityError:
        return 0


def _weeks_before(conn: Connection, before: dt.datetime) -> list[str]:
    """Names of the weeks that end before this instant."""
    return [name for name, monday in _mondays(conn) if monday + dt.timedelta(days=7) <= before]


def _mondays(conn: Connection) -> list[tuple[str, dt.datetime]]:
    """The weeks that have their partition, each with its Monday: its name says it, in UTC."""
    names = [row.name for row in conn.exec_driver_sql(_PARTITIONS) if row.name[-8:].isdigit()]
    return [(name, dt.datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=dt.UTC)) for name in names]


def _drop_week(conn: Connection, name: str) -> bool:
    if conn.exec_driver_sql(f'SELECT EXISTS (SELECT FROM "{name}" WHERE {_UNSERVED})').scalar():  # noqa: S608
        return False
    conn.exec_driver_sql(f'DROP TABLE "{name}"')
    return True
