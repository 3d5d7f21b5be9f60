"""Measures: how much is stale, since when, given up, waiting. Counted by a scheduler every so often, and kept.

Counting costs what is stale, which after an import of everything is everything. So it is not done for whoever asks: of
several schedulers one counts, it rests nine times as long as that took, and who asks reads one row. Files are counted
whatever their number; by concern, where more than `AMONG` are stale, it is counted among so many of them.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from ..rules import Rules
from . import backlog, receipts

EVERY_S = 10.0

#: Of so long, one part is counting.
RESTS = 9

AMONG = 50_000

_MAKE = "INSERT INTO measures (id, measured_at) VALUES (1, '-infinity') ON CONFLICT DO NOTHING"

_TAKE = """
SELECT FROM measures
WHERE measured_at <= mlm_now() - make_interval(secs => greatest(%(every)s, %(rests)s * took_s)) FOR UPDATE SKIP LOCKED
"""

_STALE = """
SELECT count(*) AS files, min(o.placed_at) AS oldest
FROM file_freshness f LEFT JOIN refresh_orders o ON o.file_id = f.id AND o.number = f.served + 1
WHERE f.served < f.ordered
"""

_WAITING = "SELECT count(*) FROM own_writes WHERE capture_wanted AND captured_at IS NULL"

_KEEP = "UPDATE measures SET measured_at = mlm_now(), took_s = %(took)s, told = %(told)s WHERE id = 1"

_READ = """
SELECT extract(epoch FROM measured_at)::float8 AS at, told FROM measures WHERE isfinite(measured_at)
"""


@dataclass(frozen=True, slots=True)
class ConcernMeasure:
    """One concern over all files: how many are stale, failing and given up; the oldest, in seconds of the epoch."""

    stale: int = 0
    failing: int = 0
    given_up: int = 0
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """How the house stood. Instants are seconds of the epoch; None: there is none."""

    measured_at: float
    stale_files: int = 0
    oldest: float | None = None
    unconfirmed_files: int = 0
    captures_waiting: int = 0
    newest_receipt: float | None = None
    concerns: Mapping[str, ConcernMeasure] = field(default_factory=dict)


def measure(conn: Connection, rules: Rules) -> bool:
    """Count, if it is time and nobody else is at it. Returns whether it did."""
    conn.exec_driver_sql(_MAKE)
    if conn.exec_driver_sql(_TAKE, {"every": EVERY_S - 1, "rests": RESTS}).first() is None:
        return False
    began = time.monotonic()
    behind = backlog.backlog(conn, rules, among=AMONG)
    stale_files, oldest = behind.stale_files, behind.oldest
    if stale_files >= AMONG:
        stale_files, oldest = conn.exec_driver_sql(_STALE).one()
    told = {
        "stale_files": stale_files,
        "oldest": _epoch(oldest),
        "unconfirmed_files": behind.unconfirmed_files,
        "captures_waiting": conn.exec_driver_sql(_WAITING).scalar_one(),
        "newest_receipt": _epoch(receipts.newest_at(conn)),
        "concerns": {
            each.concern: [each.stale, each.failing, each.given_up, _epoch(each.oldest)] for each in behind.concerns
        },
    }
    conn.exec_driver_sql(_KEEP, {"took": time.monotonic() - began, "told": Jsonb(told)})
    return True


def last(conn: Connection) -> Measure | None:
    """How the house stood when it was measured last; None if it never was."""
    row = conn.exec_driver_sql(_READ).one_or_none()
    if row is None:
        return None
    told = dict(row.told)
    concerns = {name: ConcernMeasure(*each) for name, each in told.pop("concerns").items()}
    return Measure(measured_at=row.at, concerns=concerns, **told)


def _epoch(moment: dt.datetime | None) -> float | None:
    return moment.timestamp() if moment else None
