"""Backstops: whose turn it is, which files come next, and what it all came to (docs/protocol.md, "Backstops").

    poll     MLM's own list of modified files
    rounds   the files longest not confirmed
    audit    whole files, longest not audited, held against our copy

None is needed while everything works. What each did is counted by process and hour in `backstop_runs`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from .. import metrics
from ..rules import WORKER_LIFE_S
from . import tallies


class Backstop(StrEnum):
    """The three that run by themselves."""

    POLL = "poll"
    ROUNDS = "rounds"
    AUDIT = "audit"


#: What was not spent of a share for longer than this is not made up for.
LONGEST_SAVED_S = 10.0

#: A file that was put back is due again after this.
PAUSE_S = 60.0

_POLL_IS_DUE = """
SELECT begun_at <= mlm_now() - make_interval(secs => %(every)s) FROM backstop_turns WHERE backstop = 'poll'
"""

_TAKE_POLL = """
UPDATE backstop_turns SET begun_at = mlm_now(), holder = %(worker)s WHERE backstop = 'poll'
    AND begun_at <= mlm_now() - make_interval(secs => %(every)s) AND NOT EXISTS (
        SELECT FROM workers w WHERE w.id = holder AND w.id <> %(worker)s
            AND w.beat_at > mlm_now() - make_interval(secs => %(life)s)
    )
"""

_END_POLL = "UPDATE backstop_turns SET holder = NULL WHERE backstop = 'poll' AND holder = %(worker)s"

_BUDGET = """
SELECT least(greatest(begun_at, now - make_interval(secs => %(saved)s)), now) AS begun_at, now
FROM backstop_turns CROSS JOIN mlm_now() AS now WHERE backstop = %(backstop)s FOR UPDATE OF backstop_turns SKIP LOCKED
"""

_SPENT = "UPDATE backstop_turns SET begun_at = %(until)s WHERE backstop = %(backstop)s"

# Rows that are locked are passed over, never waited for: so the order they are locked in does no harm.
_NEXT = {
    Backstop.ROUNDS: """
UPDATE file_freshness SET round_at = mlm_now() WHERE id IN (
    SELECT id FROM file_freshness WHERE round_at <= mlm_now() - make_interval(secs => %(every)s)
    ORDER BY round_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
) RETURNING id
""",
    Backstop.AUDIT: """
UPDATE file_freshness SET audited_at = mlm_now() WHERE id IN (
    SELECT id FROM file_freshness WHERE audited_at <= mlm_now() - make_interval(secs => %(every)s)
        AND deleted_at IS NULL AND (loan_id IS NOT NULL OR lead_id IS NOT NULL) AND served >= ordered
    ORDER BY audited_at LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
) RETURNING id
""",
}

_PUT_BACK = {
    Backstop.ROUNDS: """
UPDATE file_freshness SET round_at = least(round_at, mlm_now() - make_interval(secs => %(every)s - %(pause)s))
WHERE id = %(file_id)s
""",
    Backstop.AUDIT: """
UPDATE file_freshness SET audited_at = least(audited_at, mlm_now() - make_interval(secs => %(every)s - %(pause)s))
WHERE id = %(file_id)s
""",
}

_COUNT = """
INSERT INTO backstop_runs AS b
    (backstop, hour, worker, runs, looked, ordered, healed, missed, failed, last_at, last_error)
VALUES (%(backstop)s, date_trunc('hour', mlm_now(), 'UTC'), %(worker)s, %(runs)s, %(looked)s, %(ordered)s, %(healed)s,
    %(missed)s, %(failed)s, mlm_now(), %(error)s)
ON CONFLICT (backstop, hour, worker) DO UPDATE SET runs = b.runs + excluded.runs, looked = b.looked + excluded.looked,
    ordered = b.ordered + excluded.ordered, healed = b.healed + excluded.healed, missed = b.missed + excluded.missed,
    failed = b.failed + excluded.failed, last_at = excluded.last_at,
    last_error = coalesce(excluded.last_error, b.last_error)
"""

_HEAL = """
UPDATE refresh_orders SET healed_rows = healed_rows + %(rows)s
WHERE file_id = %(file_id)s AND number = %(number)s AND backstop IS NOT NULL
RETURNING backstop, healed_rows = %(rows)s AS newly
"""

_REPORT = """
SELECT backstop, sum(runs)::int AS runs, sum(looked)::int AS looked, sum(ordered)::int AS ordered,
       sum(healed)::int AS healed, sum(missed)::int AS missed, sum(failed)::int AS failed, max(last_at) AS last_at,
       (array_agg(last_error ORDER BY last_at DESC) FILTER (WHERE last_error IS NOT NULL))[1] AS last_error
FROM backstop_runs WHERE %(since)s::timestamptz IS NULL OR hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
GROUP BY backstop
"""

_MISSED = """
SELECT m.found_at, f.ref, m.concern, m.stamp, m.rows, m.order_number, m.receipts
FROM missed_changes m JOIN file_freshness f ON f.id = m.file_id ORDER BY m.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What one backstop came to. `runs` are polls of the list, or files; `looked` entries of the list, or files;
    `ordered` the orders it placed, `healed` those of them that brought rows where nothing else had asked; `missed` rows
    that differed from MLM in files that called themselves fresh; `failed` what could not be looked at."""

    backstop: str
    runs: int = 0
    looked: int = 0
    ordered: int = 0
    healed: int = 0
    missed: int = 0
    failed: int = 0
    last_at: dt.datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """Rows of one concern that differed from MLM at the stamp they were held at, and the file's receipts before."""

    found_at: dt.datetime
    ref: str
    concern: str
    stamp: dt.datetime
    rows: int
    order_number: int
    receipts: Sequence[int]


def poll_is_due(conn: Connection, every_s: float) -> bool:
    """Whether the last poll of the list began so long ago. Somebody may be at it still: `take_poll` tells."""
    return bool(conn.exec_driver_sql(_POLL_IS_DUE, {"every": every_s}).scalar())


def take_poll(conn: Connection, worker: str, every_s: float) -> bool:
    """Take the poll, if it is due. One worker at a time has it, until `end_poll` or until its beat is too old; one that
    has it already, because it could not end the last, takes it again."""
    parameters = {"worker": worker, "every": every_s, "life": WORKER_LIFE_S}
    return conn.exec_driver_sql(_TAKE_POLL, parameters).rowcount == 1


def end_poll(conn: Connection, worker: str) -> None:
    """Give the poll back; nothing happens if somebody else has taken it meanwhile."""
    conn.exec_driver_sql(_END_POLL, {"worker": worker})


def next_files(conn: Connection, backstop: Backstop, *, calls_a_second: float, every_s: float) -> list[int]:
    """The files to look at now, longest not looked at first, none sooner than `every_s` after the last time.

    As many as the share of MLM's budget has room for since it was asked last; of several schedulers one chooses.
    A file is looked at once it was chosen: put it back if it could not be.
    """
    saved_s = max(LONGEST_SAVED_S, 1.0 / calls_a_second)
    turn = conn.exec_driver_sql(_BUDGET, {"backstop": backstop.value, "saved": saved_s}).one_or_none()
    room = int((turn.now - turn.begun_at).total_seconds() * calls_a_second + 1e-6) if turn else 0
    if turn is None or room < 1:
        return []
    until = turn.begun_at + dt.timedelta(seconds=room / calls_a_second)
    conn.exec_driver_sql(_SPENT, {"backstop": backstop.value, "until": until})
    return list(conn.exec_driver_sql(_NEXT[backstop], {"every": every_s, "limit": room}).scalars())


def put_back(conn: Connection, backstop: Backstop, file_id: int, every_s: float) -> None:
    """This file could not be looked at, through no fault of its own: it is due again in a minute, or sooner."""
    parameters = {"file_id": file_id, "every": every_s, "pause": min(PAUSE_S, every_s)}
    conn.exec_driver_sql(_PUT_BACK[backstop], parameters)


def count(
    conn: Connection,
    backstop: Backstop,
    worker: str,
    *,
    runs: int = 0,
    looked: int = 0,
    ordered: int = 0,
    healed: int = 0,
    missed: int = 0,
    failed: int = 0,
    error: str | None = None,
) -> None:
    """Add to what this process's work for a backstop came to in this hour, and to what it has counted for `/metrics`.
    Last in a transaction: it locks those rows."""
    numbers = {
        "runs": runs, "looked": looked, "ordered": ordered, "healed": healed, "missed": missed, "failed": failed,
    }  # fmt: skip
    conn.exec_driver_sql(_COUNT, {"backstop": backstop.value, "worker": worker, "error": error, **numbers})
    counted = {
        metrics.BACKSTOP_LOOKED: looked, metrics.BACKSTOP_ORDERED: ordered, metrics.BACKSTOP_HEALED: healed,
        metrics.BACKSTOP_MISSED: missed, metrics.BACKSTOP_FAILED: failed,
    }  # fmt: skip
    tallies.add(conn, worker, {(metric.name, (backstop.value,)): by for metric, by in counted.items() if by})


def heal(conn: Connection, file_id: int, worker: str, *, order: int, rows: int) -> Backstop | None:
    """Count rows that a slice has landed to the backstop that had placed `order`, the first that the slice's concern
    had not served: nothing else had asked. Returns the backstop, if it was one. Under the file's lock, and last."""
    found = conn.exec_driver_sql(_HEAL, {"file_id": file_id, "number": order, "rows": rows}).one_or_none()
    if found is None:
        return None
    backstop = Backstop(found.backstop)
    if found.newly:
        count(conn, backstop, worker, healed=1)
    return backstop


def report(conn: Connection, since: dt.datetime | None = None) -> list[Report]:
    """What each backstop came to, in all or since the hour of an instant."""
    found = {row.backstop: Report(*row) for row in conn.exec_driver_sql(_REPORT, {"since": since})}
    return [found.get(backstop.value, Report(backstop.value)) for backstop in Backstop]


def last_missed(conn: Connection, limit: int = 20) -> list[Missed]:
    """The missed changes that the audit found last, newest first. There should be none."""
    return [Missed(*row) for row in conn.exec_driver_sql(_MISSED, {"limit": limit})]
