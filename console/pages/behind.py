"""What is behind, in a time that does not depend on how much that is.

Few stale files are counted as they stand. Of more than `COUNTED` it is said what a scheduler counted last
(`freshness.ledger.measures`), which is exact and seconds old; without a scheduler, that there are so many or more.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from sqlalchemy import Connection

from freshness.ledger import backlog, measures
from freshness.ledger.backlog import Backlog, ConcernBacklog
from freshness.rules import Rules

#: Stale files that a page counts itself, with their concerns: some 8 ms of PostgreSQL, which deliveries share.
COUNTED = 200

#: Errors and leases are looked for among so many.
AMONG = 1_000

#: A measure that is older than this says nothing of now.
MEASURED_WITHIN = dt.timedelta(minutes=5)


def behind(conn: Connection, rules: Rules, among: int = COUNTED) -> tuple[Backlog, bool]:
    """What is behind, and whether that is all of it: else there is so much or more."""
    few = backlog.backlog(conn, rules, among)
    if few.stale_files < among:
        return few, True
    measure = measures.last(conn)
    if measure is None or few.as_of.timestamp() - measure.measured_at > MEASURED_WITHIN.total_seconds():
        return few, False
    at_work = {each.concern: each.at_work for each in few.concerns}
    concerns = tuple(
        ConcernBacklog(name, each.stale, at_work.get(name, 0), each.failing, each.given_up, _instant(each.oldest))
        for name, each in measure.concerns.items()
    )
    whole = replace(
        few,
        stale_files=max(measure.stale_files, few.stale_files),
        oldest=_instant(measure.oldest) or few.oldest,
        unconfirmed_files=measure.unconfirmed_files,
        concerns=concerns,
    )
    return whole, True


def _instant(epoch: float | None) -> dt.datetime | None:
    return None if epoch is None else dt.datetime.fromtimestamp(epoch, dt.UTC)
