"""The pulse: what came and what was read in the last while, counted by the minute for a picture; how fast it lands.

Counted from the newest `MOST` receipts and runs and no more, so that it costs the same on a night with ten million; a
picture that does not reach back as far as was asked says since when it counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from ..guard import Outcome

MOST = 25_000

#: No rate is taken over less time than this.
LEAST_S = 1.0

_RECEIPTS = f"""
WITH looked AS (
    SELECT received_at, outcome, served_at, sender FROM mlm_webhook_receipts
    WHERE received_at > %(since)s ORDER BY received_at DESC, id DESC LIMIT %(most)s
)
SELECT date_bin(make_interval(secs => %(step)s), received_at, %(since)s) AS bucket,
       count(*) AS receipts, min(received_at) AS first_at,
       {", ".join(f"count(*) FILTER (WHERE outcome = '{o.value}' AND sender = 'mlm') AS {o.value}" for o in Outcome)},
       count(*) FILTER (WHERE sender <> 'mlm') AS others,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM served_at - received_at))
           FILTER (WHERE served_at IS NOT NULL) AS served_s
FROM looked GROUP BY bucket ORDER BY bucket
"""  # noqa: S608 - outcomes of ours

_RUNS = """
WITH looked AS (
    SELECT * FROM (SELECT file_id, asked_at, finished_at, started_at, outcome, error FROM slice_runs
                   ORDER BY id DESC LIMIT %(most)s) newest
    WHERE finished_at > %(since)s
), reads AS (
    SELECT min(finished_at) AS first_at, count(*) AS slices, bool_or(error IS NOT NULL) AS failed
    FROM looked GROUP BY file_id, coalesce(asked_at, started_at)
)
SELECT date_bin(make_interval(secs => %(step)s), first_at, %(since)s) AS bucket, sum(slices)::int AS slices,
       min(first_at) AS first_at, count(*) AS reads, count(*) FILTER (WHERE failed) AS failed
FROM reads GROUP BY bucket ORDER BY bucket
"""

# A read that landed without serving its order drains nothing. What ended by neither was given away to somebody else.
_DRAIN = """
WITH newest AS (
    SELECT concern, finished_at, outcome, error FROM slice_runs ORDER BY id DESC LIMIT %(most)s
), looked AS (SELECT count(*) AS runs, min(finished_at) AS first_at FROM newest)
SELECT CASE WHEN runs >= %(most)s THEN greatest(first_at, %(since)s) ELSE %(since)s END AS counts_since, concern,
       count(*) FILTER (WHERE error IS NULL AND outcome LIKE 'landed%%' AND outcome <> 'landed, served nothing')
           AS landed,
       count(*) FILTER (WHERE error IS NOT NULL) AS failed
FROM looked LEFT JOIN newest ON finished_at > %(since)s GROUP BY counts_since, concern
"""


@dataclass(frozen=True, slots=True)
class Minute:
    """One step of the picture: MLM's receipts by outcome, and how long it took to serve them at the 50th, 95th and 99th
    percentile in seconds (None: none was served); receipts of other senders; reads of MLM, and those of them that
    failed."""

    at: dt.datetime
    outcomes: Mapping[str, int]
    others: int
    served_s: Sequence[float] | None
    reads: int
    failed: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """The steps from the oldest to the newest, without a gap; how long each is, and since when it counts."""

    minutes: Sequence[Minute]
    step_s: float
    counts_since: dt.datetime
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Drain:
    """Parts of files that landed and served an order, and parts that failed, by concern, within the `over_s` seconds
    that were really looked at."""

    landed: Mapping[str, int]
    failed: Mapping[str, int]
    over_s: float

    @property
    def landed_a_second(self) -> float:
        """All parts together."""
        return sum(self.landed.values()) / self.over_s

    @property
    def failed_a_second(self) -> float:
        """Likewise."""
        return sum(self.failed.values()) / self.over_s

    def rate_of(self, concern: str) -> float:
        """How many of one concern land in a second."""
        return self.landed.get(concern, 0) / self.over_s


def pulse(conn: Connection, window: dt.timedelta, steps: int = 60, most: int = MOST) -> Pulse:
    """The last `window` in so many steps."""
    now: dt.datetime = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    step_s, since = window.total_seconds() / steps, now - window
    parameters = {"since": since, "step": step_s, "most": most}
    came = conn.exec_driver_sql(_RECEIPTS, parameters).mappings().all()
    ran = conn.exec_driver_sql(_RUNS, parameters).mappings().all()
    full = [rows for rows, name in ((came, "receipts"), (ran, "slices")) if sum(row[name] for row in rows) >= most]
    counts_since = max([since, *(min(row["first_at"] for row in rows) for rows in full)])
    receipts = {_step(row["bucket"], since, step_s): row for row in came}
    runs = {_step(row["bucket"], since, step_s): row for row in ran}
    minutes = []
    for number in range(steps):
        came_then, ran_then = receipts.get(number), runs.get(number)
        minutes.append(
            Minute(
                at=since + dt.timedelta(seconds=number * step_s),
                outcomes={each.value: came_then[each.value] if came_then else 0 for each in Outcome},
                others=came_then["others"] if came_then else 0,
                served_s=[float(each) for each in came_then["served_s"]]
                if came_then and came_then["served_s"]
                else None,
                reads=ran_then["reads"] if ran_then else 0,
                failed=ran_then["failed"] if ran_then else 0,
            )
        )
    return Pulse(minutes, step_s, counts_since, now)


def drain(conn: Connection, window: dt.timedelta, most: int = MOST) -> Drain:
    """How fast parts landed in the last `window`, or since the oldest of the newest `most` runs."""
    now: dt.datetime = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    rows = conn.exec_driver_sql(_DRAIN, {"since": now - window, "most": most}).all()
    by_concern = [row for row in rows if row.concern is not None]
    return Drain(
        {row.concern: row.landed for row in by_concern},
        {row.concern: row.failed for row in by_concern},
        max((now - rows[0].counts_since).total_seconds(), LEAST_S),
    )


def _step(bucket: dt.datetime, since: dt.datetime, step_s: float) -> int:
    return round((bucket - since).total_seconds() / step_s)
