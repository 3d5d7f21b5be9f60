"""Claims of the schedule: a period of a job belongs to whoever writes its row first."""

from __future__ import annotations

from sqlalchemy import Connection

_CLAIM = "INSERT INTO schedule_claims (job, period) VALUES (%(job)s, %(period)s) ON CONFLICT DO NOTHING"


def claim(conn: Connection, job: str, period: str) -> bool:
    """Whether this period of the job is ours; of any number of schedulers exactly one hears yes."""
    return conn.exec_driver_sql(_CLAIM, {"job": job, "period": period}).rowcount == 1
