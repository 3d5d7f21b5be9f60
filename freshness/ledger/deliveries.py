"""Refused deliveries leave a row: the first thing a new lender's integration needs to see.

At most 60 rows a minute for an address and status; the rest of that minute are counted in one more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

ROWS_A_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delivery that was refused. `keys`: the body's key names and sizes; no values, ever."""

    path: str
    address: str
    status: int
    reason: str
    content_length: int | None = None
    content_type: str | None = None
    fault_position: str | None = None
    keys: list[dict[str, Any]] | None = None


_RECORD = """
WITH so_far AS (
    SELECT count(*) AS rows FROM refused_deliveries
    WHERE minute = date_trunc('minute', mlm_now()) AND address = %(address)s AND status = %(status)s AND NOT is_rest
)
INSERT INTO refused_deliveries (minute, path, address, status, reason, content_length, content_type, fault_position,
                                keys, is_rest)
SELECT date_trunc('minute', mlm_now()), %(path)s, %(address)s, %(status)s, %(reason)s, %(content_length)s,
       %(content_type)s, %(fault_position)s, CASE WHEN so_far.rows < %(limit)s THEN %(keys)s::jsonb END,
       so_far.rows >= %(limit)s
FROM so_far
ON CONFLICT (minute, address, status) WHERE is_rest DO UPDATE SET count = refused_deliveries.count + 1
"""

#: Refused deliveries that one page looks through at most.
LOOK = 20_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which refused deliveries; None asks for all. `path` is a part of the route, letter case aside."""

    status: int | None = None
    path: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One page, newest first; the id before which the next one begins (None: this is the last), and, if it was looked
    through so many that it broke off there, the time that it got to."""

    refusals: Sequence[dict[str, Any]]
    next: int | None
    looked_back_to: dt.datetime | None


_LOOKED = """
SELECT id, at, path, address, status, reason, content_length, content_type, fault_position, keys, count
FROM refused_deliveries WHERE id < coalesce(%(before)s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %(look)s
"""

_PAGE = f"""
SELECT * FROM ({_LOOKED}) looked
WHERE (%(status)s::int IS NULL OR status = %(status)s)
  AND (%(path)s::text IS NULL OR position(lower(%(path)s) IN lower(path)) > 0)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR at < %(until)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - a statement of ours

_LAST_LOOKED = f"SELECT count(*) AS looked, min(id) AS last_id, min(at) AS last_at FROM ({_LOOKED}) looked"  # noqa: S608

_SINCE = "SELECT coalesce(sum(count), 0) AS refused, max(at) AS last FROM refused_deliveries WHERE minute >= %(since)s"


def record_refusal(conn: Connection, refusal: Refusal) -> None:
    """Write down a refused delivery."""
    parameters = {name: getattr(refusal, name) for name in Refusal.__slots__}
    parameters["keys"] = Jsonb(refusal.keys) if refusal.keys is not None else None
    conn.exec_driver_sql(_RECORD, {**parameters, "limit": ROWS_A_MINUTE})


def page(conn: Connection, wanted: Wanted, before: int | None = None, limit: int = 50, look: int = LOOK) -> Found:
    """One page before the delivery with this id, or the newest."""
    asked = {**asdict(wanted), "before": before, "limit": limit + 1, "look": look}
    rows = [dict(row) for row in conn.exec_driver_sql(_PAGE, asked).mappings()]
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1]["id"], None)
    last = conn.exec_driver_sql(_LAST_LOOKED, asked).one()
    return Found(rows, last.last_id, last.last_at) if last.looked >= look else Found(rows, None, None)


def last_refusals(conn: Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The newest refused deliveries, newest first."""
    return list(page(conn, Wanted(), limit=limit).refusals)


def refused_since(conn: Connection, since: dt.datetime) -> tuple[int, dt.datetime | None]:
    """How many deliveries were refused since then, counted by the minute, and when the last of them was."""
    row = conn.exec_driver_sql(_SINCE, {"since": since.replace(second=0, microsecond=0)}).one()
    return int(row.refused), row.last
