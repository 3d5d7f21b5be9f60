"""Commits: a slice's read is settled in one transaction with its rows.

The caller lands the rows first (they are locked first), then calls `commit_read`, in one transaction. Token and epoch
are checked under the file's lock; a loser raises `LeaseLost`, and everything rolls back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from .. import settling, stamp
from ..bell import Ring, Work
from ..concerns import Concern, downstream_of
from ..errors import LeaseLost
from ..guard import at_most
from ..rules import Rules
from ..settling import Settlement, Standing
from ..state import State
from . import backstops, calibration, doubts, epochs, events, own_writes, receipts, runs, unconfirmed
from .files import Owner, mirror_mark, tie
from .leases import Lease
from .orders import file_ring, place
from .rows import COLUMNS, ConcernRow, FileRow, concern_rows, resolution_in_force

# What came in one answer is settled concern by concern, and all of it bears one stamp.
_read = lru_cache(maxsize=256)(stamp.parse)

#: A read that serves nothing is tried again after this long, doubling to 30 s (docs/protocol.md, "The numbers").
FIRST_FRUITLESS_S, LONGEST_FRUITLESS_S = 0.25, 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer of MLM's: the stamp's text, and when it was asked for and answered, on PostgreSQL's clock."""

    stamp_text: str | None
    asked_at: dt.datetime
    answered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Landed:
    """What the caller has landed, and where: rows changed by table, and the fields that could not be read."""

    owner: Owner
    rows_changed: Mapping[str, int]
    unread: Sequence[Mapping[str, Any]] = ()

    @property
    def rows(self) -> int:
        """Rows changed in all."""
        return sum(self.rows_changed.values())


@dataclass(frozen=True, slots=True)
class Committed:
    """How a slice ended, and the rings for after the commit.

    `owner`: the loan or lead that its rows landed in. `again_s`: it is to be read again, so many seconds from now.
    `announced`: events wait to be numbered and sent. `healed`: rows changed that only this backstop had asked for.
    `served_s`: so long after the oldest webhook that had ordered it.
    """

    outcome: str
    rings: tuple[Ring, ...] = ()
    owner: Owner | None = None
    again_s: float | None = None
    announced: bool = False
    healed: str | None = None
    served_s: float | None = None

    @property
    def lost(self) -> bool:
        """Whether somebody else had the slice or was in the way, or the file had moved: nothing of it has happened."""
        return self.outcome in ("lease lost", "gave way")


_WRITE = f"""
WITH concern AS (
    UPDATE file_concerns SET held = %(held)s, served = %(served)s, landed = greatest(landed, %(order)s),
        landed_at = %(now)s, attempts = 0, fruitless = %(fruitless)s, tried_order = %(ordered)s, next_try_at = %(next)s,
        first_error_at = NULL, last_error = NULL, last_error_at = NULL, given_up_stamp = NULL,
        lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
    WHERE file_id = %(file_id)s AND concern = %(concern)s
), run AS ({runs.RECORD})
UPDATE file_freshness SET
    mark_seen_at = CASE WHEN %(stamp)s::timestamptz > coalesce(mark, '-infinity') THEN %(seen)s ELSE mark_seen_at END,
    mark = greatest(mark, %(stamp)s::timestamptz), racy_stamp = greatest(racy_stamp, %(racy)s::timestamptz),
    unstamped = %(unstamped)s, served = greatest(served, %(served_by_all)s), slice_committed_at = %(now)s
WHERE id = %(file_id)s RETURNING {COLUMNS}, {own_writes.EXITED_SINCE} AS exited_since
"""  # noqa: S608 - column names of ours


def is_worth_landing(rules: Rules, lease: Lease, reading: Reading) -> bool:
    """Whether the read is not older than what the concern holds; nobody else can move that while the lease is ours."""
    return not _settle(rules, lease, reading, lease.file, lease.held, lease.resolution_s).throw_away


def commit_read(conn: Connection, rules: Rules, lease: Lease, reading: Reading, landed: Landed) -> Committed:
    """Settle a read whose rows the caller has landed in this transaction ("A slice", points 3 to 7).

    Raises:
        LeaseLost: somebody else holds the slice, the epoch ended, or a newer read came first: roll back.
    """
    is_loan_fields = lease.concern is Concern.LOAN_FIELDS
    seen = stamp_of(rules, reading, lease.resolution_s)
    gone_back = seen is not None and lease.held is not None and seen < lease.held
    if is_loan_fields or gone_back or (seen is not None and not at_most(seen, lease.file.mark)):
        mirror_mark(conn, landed.owner, seen, back=gone_back, hydrated=is_loan_fields)
    file, concerns = _lock_and_check(conn, rules, lease)
    row = concerns[lease.concern]
    resolution_s = resolution_in_force(conn, rules)
    v = stamp_of(rules, reading, resolution_s)
    settlement = _settle(rules, lease, reading, file, row.held, resolution_s)
    if settlement.throw_away:
        raise LeaseLost(file.id, lease.concern, "a newer read landed first")
    became_loan = is_loan_fields and tie(conn, file, landed.owner)
    if is_loan_fields and not row.landed:
        doubts.open_if_told_before(conn, rules, file, v, reading.asked_at)
    if settlement.new_epoch:
        epochs.begin(conn, rules, file, v, asked_at=reading.asked_at, holding=lease.concern)
    receipts.count_rows(conn, file.id, landed.rows, after=row.served, order=lease.terms.order, now=file.now)
    outcome = _outcome(settlement, became_loan)
    run = runs.run(
        lease, outcome, asked_at=reading.asked_at, stamp=v, rows_changed=landed.rows_changed, unread=landed.unread
    )
    file_after, concerns_after, exited_since = _write(conn, rules, lease, file, concerns, settlement, reading, run)
    rings = [Ring(Work.HYDRATE_CONCERN, file.id, below) for below in downstream_of(lease.concern, rules.active)]
    causes = _causes_for_another(settlement, exited_since, became_loan)
    if causes:
        due_at = settlement.racy_due_at
        place(conn, file.id, causes, due_at=due_at)
        rings.append(file_ring(file.id, (due_at - file.now).total_seconds() if due_at else 0.0))
    if causes or settlement.new_epoch:
        state = unconfirmed.note(conn, rules, file.id)
    else:
        state = unconfirmed.note_of(conn, rules, file_after, concerns_after)
    kinds = [events.HYDRATED] * is_loan_fields + [events.FRESH] * (state is State.FRESH)
    events.write(conn, file.ref, kinds)
    if is_loan_fields:
        _compare_stamps(conn, rules, lease, file, row, settlement, reading, resolution_s)
    healed = None
    if landed.rows:
        healed = backstops.heal(conn, file.id, lease.worker, order=row.served + 1, rows=landed.rows)
    return Committed(
        outcome,
        tuple(rings),
        landed.owner,
        _again_s(lease, settlement, file),
        announced=bool(kinds),
        healed=healed,
        served_s=_served_s(row, file) if settlement.serves else None,
    )


def stamp_of(rules: Rules, reading: Reading, resolution_s: float) -> dt.datetime | None:
    """The stamp of an answer, truncated; None if it bore none that can be read."""
    read = _read(reading.stamp_text, rules.zone, reading.answered_at)
    return stamp.truncate(read.instant, resolution_s) if isinstance(read, stamp.Stamp) else None


def _settle(
    rules: Rules, lease: Lease, reading: Reading, file: FileRow, held: dt.datetime | None, resolution_s: float
) -> Settlement:
    read = settling.Read(stamp_of(rules, reading, resolution_s), reading.asked_at, reading.answered_at)
    standing = Standing(
        held, file.captured, file.mark, file.mark_seen_at, file.wanted, file.wanted_seen_at, file.racy_stamp
    )
    return settling.settle(lease.terms, read, standing, resolution_s=resolution_s, read_lag_s=rules.read_lag_s)


def _lock_and_check(conn: Connection, rules: Rules, lease: Lease) -> tuple[FileRow, dict[Concern, ConcernRow]]:
    file = own_writes.close_open_and_lock(conn, lease.file.id)
    if file is None:
        raise LeaseLost(lease.file.id, lease.concern, "the file's row is gone")
    concerns = concern_rows(conn, rules, file)
    if concerns[lease.concern].lease_token != lease.token:
        raise LeaseLost(file.id, lease.concern, "another worker holds the lease")
    if file.epoch != lease.epoch:
        raise LeaseLost(file.id, lease.concern, "the epoch ended")
    return file, concerns


def _compare_stamps(
    conn: Connection,
    rules: Rules,
    lease: Lease,
    file: FileRow,
    before: ConcernRow,
    settlement: Settlement,
    reading: Reading,
    resolution_s: float,
) -> None:
    """What this read says of webhooks' stamps and ours. Loan fields speak for all: the stamp is the file's."""
    read = _read(reading.stamp_text, rules.zone, reading.answered_at)
    if isinstance(read, stamp.Stamp):
        calibration.compare(
            conn,
            file,
            before,
            exact=read.instant,
            v=stamp.truncate(read.instant, resolution_s),
            resolution_s=resolution_s,
            order=lease.terms.order,
            serves=settlement.serves,
        )


def _write(
    conn: Connection,
    rules: Rules,
    lease: Lease,
    file: FileRow,
    concerns: Mapping[Concern, ConcernRow],
    settlement: Settlement,
    reading: Reading,
    run: Mapping[str, Any],
) -> tuple[FileRow, dict[Concern, ConcernRow], bool]:
    """Write the settlement and the run down in one statement; the file and its concerns as they stand then, and
    whether an own write has ended since the lease was taken."""
    v = run["stamp"]
    row = concerns[lease.concern]
    pause = dt.timedelta(seconds=min(FIRST_FRUITLESS_S * 2.0 ** min(row.fruitless, 16), LONGEST_FRUITLESS_S))
    written = replace(
        row,
        held=row.held if v is None else v,
        served=max(row.served, lease.terms.order) if settlement.serves else row.served,
        attempts=0,
        fruitless=0 if settlement.serves else row.fruitless + 1,
        # By the answer, so that what came in one answer is due again in one.
        next_try_at=None if settlement.serves else reading.answered_at + pause,
    )
    after = {**concerns, lease.concern: written}
    served_by_all = min(after[c].served for c in rules.active)
    parameters = {
        **run, **lease.writes.parameters,
        "held": written.held, "served": written.served, "now": file.now, "ordered": file.ordered,
        "fruitless": written.fruitless, "next": written.next_try_at, "racy": v if settlement.racy_due_at else None,
        "served_by_all": served_by_all, "unstamped": settlement.unstamped, "seen": reading.answered_at,
    }  # fmt: skip
    *columns, exited_since = conn.exec_driver_sql(_WRITE, parameters).one()
    if served_by_all > file.served:
        receipts.mark_served(conn, file.id, served_by_all, file.now)
    return FileRow(*columns), after, exited_since


def _causes_for_another(settlement: Settlement, exited_since: bool, became_loan: bool) -> str:
    causes = {
        "MLM has gone back": settlement.new_epoch,
        "an own write ended while the slice was at work": exited_since,
        "another save may share the stamp": settlement.racy_due_at is not None,
        "the lead became a loan": became_loan,
    }
    return "; ".join(cause for cause, holds in causes.items() if holds)


def _outcome(settlement: Settlement, became_loan: bool) -> str:
    if settlement.new_epoch:
        return "landed, new epoch"
    if settlement.unstamped:
        return "landed, unstamped"
    if became_loan:
        return "landed, became a loan"
    return "landed" if settlement.serves else "landed, served nothing"


def _served_s(before: ConcernRow, file: FileRow) -> float | None:
    """How long the concern was behind a webhook; None if something else had ordered it first."""
    if before.behind_since is None or not before.behind_a_webhook:
        return None
    return max(0.0, (file.now - before.behind_since).total_seconds())


def _again_s(lease: Lease, settlement: Settlement, file: FileRow) -> float | None:
    """When the slice is to be read again: an order that came meanwhile is due, or this read has served nothing."""
    if not settlement.serves:
        return FIRST_FRUITLESS_S
    is_due = file.due_at is None or file.due_at <= file.now
    return 0.0 if lease.terms.order < file.ordered and is_due else None
