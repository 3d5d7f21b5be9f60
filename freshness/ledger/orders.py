"""Orders: what makes every concern of a file stale until a read has served them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from ..bell import Ring, Work

#: A ring due within this many seconds is sent at once: the slice waits the rest itself.
SHORT_WAIT_S = 0.05

_PLACE = """
WITH file AS (
    UPDATE file_freshness SET
        ordered = ordered + 1,
        due_at = greatest(due_at, %(due_at)s::timestamptz),
        wanted_seen_at = CASE WHEN %(wanted)s::timestamptz > coalesce(wanted, '-infinity')
                              THEN mlm_now() ELSE wanted_seen_at END,
        wanted = greatest(wanted, %(wanted)s::timestamptz)
    WHERE id = %(file_id)s
    RETURNING id, ordered
)
INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause, backstop)
SELECT id, ordered, mlm_now(), coalesce(%(due_at)s::timestamptz, mlm_now()), %(cause)s, %(backstop)s::text FROM file
RETURNING number
"""

_BEGUN_ON = """
SELECT EXISTS (
    SELECT FROM file_concerns c JOIN refresh_orders o ON o.file_id = c.file_id AND o.number = %(number)s
    WHERE c.file_id = %(file_id)s
        AND (c.landed >= o.number OR (c.lease_token IS NOT NULL AND c.lease_at >= o.placed_at))
)
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was placed, and the rings for after the commit."""

    file_id: int
    number: int
    rings: tuple[Ring, ...]


def place(
    conn: Connection,
    file_id: int,
    cause: str,
    *,
    wanted: dt.datetime | None = None,
    due_at: dt.datetime | None = None,
    delay_s: float = 0.0,
    backstop: str | None = None,
) -> Placed:
    """Place an order: `ordered` + 1, `wanted` raised to `wanted`. Takes the file's row lock, the last of all locks.

    No slice starts for it before `due_at` (None: at once); `delay_s` is what remains until then, for the ring.
    `backstop` is the one that found it necessary, so that what it heals can be counted.
    """
    parameters = {"file_id": file_id, "cause": cause, "wanted": wanted, "due_at": due_at, "backstop": backstop}
    number = conn.exec_driver_sql(_PLACE, parameters).scalar_one()
    return Placed(file_id, number, (file_ring(file_id, delay_s),))


def begun_on(conn: Connection, placed: Placed) -> bool:
    """Whether a slice may have read for this order already: one has landed, or was taken after it was placed."""
    parameters = {"file_id": placed.file_id, "number": placed.number}
    return bool(conn.exec_driver_sql(_BEGUN_ON, parameters).scalar())


def file_ring(file_id: int, delay_s: float = 0.0) -> Ring:
    """The ring for a file that has an order; short delays are left to the slice."""
    return Ring(Work.HYDRATE_FILE, file_id, delay_s=delay_s if delay_s > SHORT_WAIT_S else 0.0)
