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
INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause)
SELECT id, ordered, mlm_now(), coalesce(%(due_at)s::timestamptz, mlm_now()), %(cause)s FROM file
RETURNING number
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
) -> Placed:
    """Place an order: `ordered` + 1, `wanted` raised to `wanted`. Takes the file's row lock, the last of all locks.

    No slice starts for it before `due_at` (None: at once); `delay_s` is what remains until then, for the ring.
    """
    parameters = {"file_id": file_id, "cause": cause, "wanted": wanted, "due_at": due_at}
    number = conn.exec_driver_sql(_PLACE, parameters).scalar_one()
    return Placed(file_id, number, (file_ring(file_id, delay_s),))


def file_ring(file_id: int, delay_s: float = 0.0) -> Ring:
    """The ring for a file that has an order; short delays are left to the slice."""
    return Ring(Work.HYDRATE_FILE, file_id, delay_s=delay_s if delay_s > SHORT_WAIT_S else 0.0)
