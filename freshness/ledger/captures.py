"""Captures: after an own write, the stamp alone is read, so that MLM's echo of the write is known.

The call to MLM is the caller's: `begin` says what to read, `finish` takes what was read.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from .. import stamp
from ..bell import Ring
from ..errors import LeaseLost
from ..readiness import GIVE_UP_AFTER
from ..rules import WORKER_LIFE_S, Rules
from . import unconfirmed
from .files import mirror_mark, owner_of
from .orders import place
from .rows import file_row, file_under_lock, resolution_in_force

#: A capture that failed is tried again after this long, doubling.
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture to be made: which file to read, and the epoch when it began."""

    own_write_id: int
    file_id: int
    ref: str
    epoch: int
    attempts: int


_BEGIN = """
UPDATE own_writes w SET next_try_at = mlm_now() + make_interval(secs => %(life)s) FROM file_freshness f
WHERE w.id = %(id)s AND f.id = w.file_id AND w.capture_wanted AND w.captured_at IS NULL AND w.next_try_at <= mlm_now()
RETURNING w.file_id, f.ref, f.epoch, w.attempts
"""

_PUT_BACK = "UPDATE own_writes SET next_try_at = mlm_now() WHERE id = %(id)s AND captured_at IS NULL"

_IS_WANTED = "SELECT EXISTS (SELECT FROM own_writes WHERE id = %(id)s AND capture_wanted AND captured_at IS NULL)"

_LOCK = "SELECT closed_at FROM own_writes WHERE id = %(id)s AND capture_wanted AND captured_at IS NULL FOR UPDATE"

_DONE = "UPDATE own_writes SET captured_at = mlm_now(), last_error = %(error)s WHERE id = %(id)s"

_RAISE = """
UPDATE file_freshness SET
    mark_seen_at = CASE WHEN %(v)s > coalesce(mark, '-infinity') THEN mlm_now() ELSE mark_seen_at END,
    mark = greatest(mark, %(v)s),
    captured = CASE WHEN %(vouches)s THEN greatest(captured, %(v)s) ELSE captured END
WHERE id = %(file_id)s
"""

_RETRY = """
UPDATE own_writes SET attempts = attempts + 1, last_error = %(error)s,
       next_try_at = mlm_now() + make_interval(secs => %(pause)s)
WHERE id = %(id)s AND captured_at IS NULL
"""


def begin(conn: Connection, own_write_id: int) -> Capture | None:
    """What to read for an own write; None if its capture is done, or under way, or none is wanted. One that has not
    ended after a worker's life is due again: a killed worker's is made by another."""
    row = conn.exec_driver_sql(_BEGIN, {"id": own_write_id, "life": WORKER_LIFE_S}).one_or_none()
    return Capture(own_write_id, row.file_id, row.ref, row.epoch, row.attempts) if row else None


def finish(conn: Connection, rules: Rules, capture: Capture, stamp_text: str | None) -> tuple[Ring, ...]:
    """Take the stamp that was read. Marks the own write captured in this same transaction: a second run does nothing.

    The mark is raised; `captured` too, if the own write is still open. Orders instead if the epoch changed meanwhile
    or the answer bore no stamp that can be read.

    Raises:
        LeaseLost: the file moved while this transaction ran; try again.
    """
    seen = file_row(conn, capture.file_id)
    if seen is None or not conn.exec_driver_sql(_IS_WANTED, {"id": capture.own_write_id}).scalar():
        return ()
    v = _stamp(conn, rules, stamp_text, seen.now)
    if seen.epoch == capture.epoch:
        mirror_mark(conn, owner_of(seen), v)
    own_write = conn.exec_driver_sql(_LOCK, {"id": capture.own_write_id}).one_or_none()
    file = file_under_lock(conn, capture.file_id)
    assert file is not None  # noqa: S101 - files are never deleted
    if own_write is None or file.epoch != seen.epoch:
        raise LeaseLost(file.id, "capture", "the file moved")
    conn.exec_driver_sql(_DONE, {"id": capture.own_write_id, "error": None if v else "no stamp that can be read"})
    if v is None or file.epoch != capture.epoch:
        cause = "a capture met no stamp" if v is None else "a capture met a new epoch"
        return place(conn, file.id, cause).rings
    v = _stamp(conn, rules, stamp_text, file.now)
    conn.exec_driver_sql(_RAISE, {"file_id": file.id, "v": v, "vouches": own_write.closed_at is None})
    unconfirmed.note(conn, rules, file.id)
    return ()


def put_back(conn: Connection, capture: Capture) -> None:
    """MLM could not be asked, through no fault of the file: the capture is due, and nothing counts against it."""
    conn.exec_driver_sql(_PUT_BACK, {"id": capture.own_write_id})


def failed(conn: Connection, capture: Capture, error: str, *, final: bool = False) -> tuple[Ring, ...]:
    """Write down that a capture could not be read; the sweep rings for it again. Given up, it orders the file."""
    if not final and capture.attempts + 1 < GIVE_UP_AFTER:
        pause_s = min(FIRST_RETRY_S * 2.0**capture.attempts, LONGEST_RETRY_S)
        conn.exec_driver_sql(_RETRY, {"id": capture.own_write_id, "error": error, "pause": pause_s})
        return ()
    if conn.exec_driver_sql(_LOCK, {"id": capture.own_write_id}).one_or_none() is None:
        return ()
    conn.exec_driver_sql(_DONE, {"id": capture.own_write_id, "error": error})
    return place(conn, capture.file_id, "a capture was given up").rings


def _stamp(conn: Connection, rules: Rules, text: str | None, now: dt.datetime) -> dt.datetime | None:
    read = stamp.parse(text, rules.zone, now)
    return stamp.truncate(read.instant, resolution_in_force(conn, rules)) if isinstance(read, stamp.Stamp) else None
