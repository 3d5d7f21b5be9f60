"""Workers: a row each, beaten every second, so that a killed one's leases are void within seconds."""

from __future__ import annotations

from sqlalchemy import Connection

from ..rules import WORKER_LIFE_S

_BEAT = """
INSERT INTO workers (id, host, pid) VALUES (%(id)s, %(host)s, %(pid)s)
ON CONFLICT (id) DO UPDATE SET beat_at = mlm_now()
"""


def beat(conn: Connection, worker_id: str, host: str, pid: int) -> None:
    """Say that this worker lives. Its leases are void once its beat is older than 6 seconds."""
    conn.exec_driver_sql(_BEAT, {"id": worker_id, "host": host, "pid": pid})


def leave(conn: Connection, worker_id: str) -> None:
    """Say that this worker has ended: its leases, if any, are void at once."""
    conn.exec_driver_sql("DELETE FROM workers WHERE id = %(id)s", {"id": worker_id})


def living(conn: Connection) -> int:
    """How many workers live: those whose leases hold."""
    found = conn.exec_driver_sql(
        "SELECT count(*) FROM workers WHERE beat_at > mlm_now() - make_interval(secs => %(life)s)",
        {"life": WORKER_LIFE_S},
    )
    return int(found.scalar_one())


def forget_dead(conn: Connection) -> int:
    """Drop the rows of workers that died an hour ago and more."""
    gone = conn.exec_driver_sql("DELETE FROM workers WHERE beat_at < mlm_now() - interval '1 hour'")
    return gone.rowcount
