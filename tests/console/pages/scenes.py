"""Files in every state, for pages to show: what the ledger's own functions make, and dead slices as eight errors do."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from from_outside import NEWER, RULES, SEEDED, entry, receive

from freshness.ledger import own_writes
from freshness.ledger.files import FileRef

ERROR = "Unreadable: the answer for {ref} ends too soon"

_DEAD = """
UPDATE file_concerns c SET attempts = 8, tried_order = f.ordered, first_error_at = mlm_now(), last_error_at = mlm_now(),
    last_error = %(error)s
FROM file_freshness f WHERE f.id = c.file_id AND f.ref = %(ref)s AND c.concern = %(concern)s
"""

_CONCERN = """
INSERT INTO file_concerns (file_id, concern, served, landed, held)
SELECT id, unnest(%(concerns)s::text[]), ordered - 1, ordered - 1, mark FROM file_freshness WHERE ref = %(ref)s
"""

_RUNS = """
INSERT INTO slice_runs (file_id, concern, order_number, started_at, finished_at, outcome, error)
SELECT id, %(concern)s, ordered, mlm_now() - make_interval(secs => %(ago)s + 1),
       mlm_now() - make_interval(secs => %(ago)s), %(outcome)s, CASE WHEN %(outcome)s = 'failed' THEN 'Outage' END
FROM file_freshness, generate_series(1, %(count)s) WHERE ref = %(ref)s
"""


def stale(engine: sa.Engine, *refs: str) -> None:
    """Loans that the portal has made, and that MLM has changed since."""
    for ref in refs:
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("loan", ref), SEEDED)
        receive(engine, entry(ref, NEWER))


def dead(engine: sa.Engine, *refs: str, concern: str = "assets", error: str = ERROR) -> None:
    """Stale loans of which one slice failed eight times."""
    stale(engine, *refs)
    for ref in refs:
        with engine.begin() as conn:
            conn.exec_driver_sql(_CONCERN, {"ref": ref, "concerns": [concern.value for concern in RULES.active]})
            conn.exec_driver_sql(_DEAD, {"ref": ref, "concern": concern, "error": error.format(ref=ref)})


def trickle(engine: sa.Engine, ref: str, count: int) -> None:
    """Entries of one file, a second apart."""
    begin = dt.datetime(2026, 11, 1, 11, tzinfo=dt.UTC)
    for number in range(count):
        stamp = begin + dt.timedelta(seconds=number)
        receive(engine, entry(ref, stamp.isoformat()))


def runs(engine: sa.Engine, ref: str, outcome: str, count: int, concern: str = "fees", ago_s: float = 100) -> None:
    """Runs of one slice that ended so, so long ago."""
    asked = {"ref": ref, "outcome": outcome, "count": count, "concern": concern, "ago": ago_s}
    with engine.begin() as conn:
        conn.exec_driver_sql(_RUNS, asked)
