"""Refused deliveries leave a row: the first thing a new lender's integration needs to see.

At most 60 rows a minute for an address and status; the rest of that minute are counted in one more.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
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

_LAST = """
SELECT id, at, path, address, status, reason, content_length, content_type, fault_position, keys, count
FROM refused_deliveries WHERE id < coalesce(%(before)s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %(limit)s
"""


_SINCE = "SELECT coalesce(sum(count), 0) AS refused, max(at) AS last FROM refused_deliveries WHERE minute >= %(since)s"


def record_refusal(conn: Connection, refusal: Refusal) -> None:
    """Write down a refused delivery."""
    parameters = {name: getattr(refusal, name) for name in Refusal.__slots__}
    parameters["keys"] = Jsonb(refusal.keys) if refusal.keys is not None else None
    conn.exec_driver_sql(_RECORD, {**parameters, "limit": ROWS_A_MINUTE})


def last_refusals(conn: Connection, limit: int = 20, before: int | None = None) -> list[dict[str, Any]]:
    """The newest refused deliveries, newest first; of those before the one with this id, if given."""
    return [dict(row) for row in conn.exec_driver_sql(_LAST, {"limit": limit, "before": before}).mappings()]


def refused_since(conn: Connection, since: dt.datetime) -> tuple[int, dt.datetime | None]:
    """How many deliveries were refused since then, counted by the minute, and when the last of them was."""
    row = conn.exec_driver_sql(_SINCE, {"since": since.replace(second=0, microsecond=0)}).one()
    return int(row.refused), row.last
