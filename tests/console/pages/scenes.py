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
