"""Workers: a row each, beaten every second, so that a killed one's leases are void within seconds. Schedulers beat too,
for whoever asks whether one lives."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from ..rules import WORKER_LIFE_S

WORKER, SCHEDULER = "worker", "scheduler"

_BEAT = """
INSERT INTO workers (id, host, pid, process) VALUES (%(id)s, %(host)s, %(pid)s, %(process)s)
ON CONFLICT (id) DO UPDATE SET beat_at = mlm_now()
"""

_HEARD_OF = """
SELECT id, process, host, pid, started_at, beat_at, beat_at > mlm_now() - make_interval(secs => %(life)s) AS lives
FROM workers ORDER BY process, started_at
"""


@dataclass(frozen=True, slots=True)
class Process:
    """A worker or a scheduler that was heard of within the last hour, and whether it lives."""

    id: str
    process: str
    host: str
    pid: int
    started_at: dt.datetime
    beat_at: dt.datetime
    lives: bool


def beat(conn: Connection, worker_id: str, host: str, pid: int, process: str = WORKER) -> None:
    """Say that this worker, or scheduler, lives. Its leases are void once its beat is older than 6 seconds."""
    conn.exec_driver_sql(_BEAT, {"id": worker_id, "host": host, "pid": pid, "process": process})


def leave(conn: Connection, worker_id: str) -> None:
    """Say that this worker has ended: its leases, if any, are void at once."""
    conn.exec_driver_sql("DELETE FROM workers WHERE id = %(id)s", {"id": worker_id})


def living(conn: Connection) -> int:
    """How many workers live: those whose leases hold."""
    return sum(each.lives and each.process == WORKER for each in heard_of(conn))


def heard_of(conn: Connection) -> list[Process]:
    """Every worker and scheduler that did not say that it ended, unless it died an hour ago and more."""
    return [Process(*row) for row in conn.exec_driver_sql(_HEARD_OF, {"life": WORKER_LIFE_S})]


def forget_dead(conn: Connection) -> int:
    """Drop the rows of workers that died an hour ago and more."""
    gone = conn.exec_driver_sql("DELETE FROM workers WHERE beat_at < mlm_now() - interval '1 hour'")
    return gone.rowcount
