"""The backlog: how much is behind MLM, since when, who is at work on it, and what was given up.

Counted from the stale files alone, which a partial index finds: it costs what is stale, not what there is. Who must
answer quickly whatever is stale counts among the first so many (`among`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from ..readiness import GIVE_UP_AFTER
from ..rules import WORKER_LIFE_S, Rules

_STALE = """
(SELECT id, ref, served, ordered FROM file_freshness WHERE served < ordered ORDER BY id LIMIT %(among)s::bigint)
"""

# OFFSET keeps it file by file here and below: for what the planner expects to be stale, which is a third of all files,
# it would read every order and every concern of a large database, and with few files of a small one.
_FILES = f"""
SELECT count(*) AS stale, min(o.placed_at) AS oldest, mlm_now() AS as_of,
       (SELECT count(*) FROM (SELECT FROM file_freshness WHERE confirm_at IS NOT NULL AND served >= ordered
                              AND deleted_at IS NULL LIMIT %(among)s::bigint) u) AS unconfirmed
FROM {_STALE} f LEFT JOIN LATERAL (
    SELECT placed_at FROM refresh_orders WHERE file_id = f.id AND number = f.served + 1 OFFSET 0
) o ON true
"""  # noqa: S608 - a statement of ours

# Each order is looked for once, for all concerns that wait for it. A concern without a row holds nothing and has served
# nothing.
_CONCERNS = f"""
WITH f AS MATERIALIZED {_STALE},
seen AS MATERIALIZED (
    SELECT f.id, c.concern, c.served, CASE WHEN c.tried_order = f.ordered THEN c.attempts ELSE 0 END AS attempts,
           c.lease_token IS NOT NULL AND c.lease_until > mlm_now() AND w.id IS NOT NULL AS leased
    FROM f CROSS JOIN LATERAL (SELECT * FROM file_concerns WHERE file_id = f.id OFFSET 0) c
    LEFT JOIN workers w ON w.id = c.lease_worker AND w.beat_at > mlm_now() - make_interval(secs => %(life)s)
), behind AS MATERIALIZED (
    SELECT f.id, a.concern, a.place, coalesce(s.served, 0) AS served, s.attempts, s.leased
    FROM f CROSS JOIN unnest(%(active)s::text[]) WITH ORDINALITY AS a (concern, place)
    LEFT JOIN seen s ON s.id = f.id AND s.concern = a.concern
    WHERE coalesce(s.served, 0) < f.ordered
), unserved AS MATERIALIZED (
    SELECT b.id, b.served, o.placed_at FROM (SELECT DISTINCT id, served FROM behind) b
    CROSS JOIN LATERAL (
        SELECT placed_at FROM refresh_orders WHERE file_id = b.id AND number = b.served + 1 OFFSET 0
    ) o
)
SELECT b.concern, count(*) AS stale, count(*) FILTER (WHERE b.leased) AS at_work,
       count(*) FILTER (WHERE b.attempts BETWEEN 1 AND %(least)s - 1) AS failing,
       count(*) FILTER (WHERE b.attempts >= %(least)s) AS given_up, min(o.placed_at) AS oldest
FROM behind b LEFT JOIN unserved o ON o.id = b.id AND o.served = b.served
GROUP BY b.concern, b.place ORDER BY b.place
"""  # noqa: S608 - a statement of ours

_LEASES = f"""
SELECT f.ref, c.concern, c.lease_worker AS worker, c.lease_at AS since, c.lease_until AS until,
       c.lease_until > mlm_now() AND w.id IS NOT NULL AS holds
FROM {_STALE} f
CROSS JOIN LATERAL (
    SELECT * FROM file_concerns WHERE file_id = f.id AND concern = ANY(%(active)s) AND lease_token IS NOT NULL OFFSET 0
) c LEFT JOIN workers w ON w.id = c.lease_worker AND w.beat_at > mlm_now() - make_interval(secs => %(life)s)
ORDER BY c.lease_at, f.id
"""  # noqa: S608 - a statement of ours


@dataclass(frozen=True, slots=True)
class ConcernBacklog:
    """One concern over all files: how many are stale, at work, failing (to be tried again) and given up."""

    concern: str
    stale: int
    at_work: int
    failing: int
    given_up: int
    #: When the oldest order that one of them has not served was placed.
    oldest: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Stale files, when the oldest order not served was placed, files waiting for their confirmation; by concern."""

    stale_files: int
    oldest: dt.datetime | None
    as_of: dt.datetime
    unconfirmed_files: int
    concerns: tuple[ConcernBacklog, ...]

    @property
    def given_up(self) -> int:
        """How many (file, concern)s were given up."""
        return sum(each.given_up for each in self.concerns)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A slice that a worker has taken. `holds` is False once it ran out or its worker died: anybody may take it."""

    ref: str
    concern: str
    worker: str | None
    since: dt.datetime | None
    until: dt.datetime | None
    holds: bool


def backlog(conn: Connection, rules: Rules, among: int | None = None) -> Backlog:
    """How much is behind. A concern of which nothing is stale is left out."""
    parameters = {
        "among": among,
        "active": [concern.value for concern in rules.active],
        "life": WORKER_LIFE_S,
        "least": GIVE_UP_AFTER,
    }
    files = conn.exec_driver_sql(_FILES, {"among": among}).one()
    concerns = tuple(ConcernBacklog(*row) for row in conn.exec_driver_sql(_CONCERNS, parameters))
    return Backlog(files.stale, files.oldest, files.as_of, files.unconfirmed, concerns)


def leases(conn: Connection, rules: Rules, among: int | None = None) -> list[HeldLease]:
    """Every lease that stands, the oldest first."""
    parameters = {"among": among, "active": [concern.value for concern in rules.active], "life": WORKER_LIFE_S}
    return [HeldLease(*row) for row in conn.exec_driver_sql(_LEASES, parameters)]
