"""Claims of the schedule: a period of a job belongs to whoever writes its row first."""

from __future__ import annotations

from sqlalchemy import Connection

_CLAIM = "INSERT INTO schedule_claims (job, period) VALUES (%(job)s, %(period)s) ON CONFLICT DO NOTHING"

_GIVE_BACK = "DELETE FROM schedule_claims WHERE job = %(job)s AND period = %(period)s"

_IS_CLAIMED = "SELECT EXISTS (SELECT FROM schedule_claims WHERE job = %(job)s AND period = %(period)s)"

_THIS_WEEK = """SELECT to_char(mlm_now() AT TIME ZONE 'UTC', 'IYYY-"W"IW')"""


def claim(conn: Connection, job: str, period: str) -> bool:
    """Whether this period of the job is ours; of any number of schedulers exactly one hears yes."""
    return conn.exec_driver_sql(_CLAIM, {"job": job, "period": period}).rowcount == 1


def give_back(conn: Connection, job: str, period: str) -> None:
    """What this period is for could not be done: somebody is to claim it again."""
    conn.exec_driver_sql(_GIVE_BACK, {"job": job, "period": period})


def is_claimed(conn: Connection, job: str, period: str) -> bool:
    """Whether somebody has claimed this period of the job."""
    return bool(conn.exec_driver_sql(_IS_CLAIMED, {"job": job, "period": period}).scalar())


def this_week(conn: Connection) -> str:
    """The period of a weekly job, such as `2026-W47`: PostgreSQL's week, in UTC."""
    return str(conn.exec_driver_sql(_THIS_WEEK).scalar_one())
