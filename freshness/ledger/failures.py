"""Failures: a slice that did not land. Its error, attempts and times stand in the ledger; nothing is only in Redis."""

from __future__ import annotations

import datetime as dt
from random import Random

from sqlalchemy import Connection

from ..bell import Ring, Work
from ..concerns import Concern
from ..errors import LeaseLost
from ..guard import at_most
from ..readiness import GIVE_UP_AFTER
from ..rules import Rules
from . import backstops, events, files, runs, unconfirmed
from .commits import FIRST_FRUITLESS_S, LONGEST_FRUITLESS_S, Committed, Reading, stamp_of
from .leases import Lease
from .orders import place
from .rows import ConcernRow, FileRow, concern_rows, file_under_lock, resolution_in_force

#: An error is tried again after this long, doubling, with half of it drawn by lot.
FIRST_RETRY_S, LONGEST_RETRY_S = 2.0, 300.0

#: "Not found" must be answered twice, at least this far apart, before a file is purged (docs/protocol.md).
NOT_FOUND_APART_S = 60.0

_FAIL = """
UPDATE file_concerns SET attempts = %(attempts)s, fruitless = %(fruitless)s, tried_order = %(ordered)s,
    next_try_at = %(next)s,
    first_error_at = CASE WHEN %(error)s::text IS NULL THEN first_error_at ELSE coalesce(first_error_at, %(now)s) END,
    last_error_at = CASE WHEN %(error)s::text IS NULL THEN last_error_at ELSE %(now)s END,
    last_error = coalesce(%(error)s, last_error),
    lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
WHERE file_id = %(file_id)s AND concern = %(concern)s AND lease_token = %(token)s
"""

_NOT_FOUND = "UPDATE file_freshness SET not_found_at = coalesce(not_found_at, mlm_now()) WHERE id = %(file_id)s"


def failed(conn: Connection, rules: Rules, lease: Lease, error: str, *, final: bool, lot: Random) -> Committed:
    """Write down an error of a slice: tried again with backoff and jitter, given up after 8 in a row or if `final`.

    For an order that was placed since the lease it is the first error, final or not: that one was not asked for yet.
    `error` is one line of ours that names what is wrong, never a value.
    """
    found = _ours(conn, rules, lease)
    if found is None:
        return Committed("lease lost")
    file, row = found
    asked_for_newest = file.ordered == lease.file.ordered
    attempts = GIVE_UP_AFTER if final and asked_for_newest else row.attempts + 1
    pause_s = min(FIRST_RETRY_S * 2.0**row.attempts, LONGEST_RETRY_S) * (0.5 + lot.random() / 2)
    _put_back(conn, lease, file, attempts=attempts, fruitless=row.fruitless, pause_s=pause_s, error=error)
    given_up = attempts >= GIVE_UP_AFTER
    outcome = "given up" if given_up else "failed"
    runs.record(conn, lease, outcome, error=error)
    if given_up:
        unconfirmed.note(conn, rules, file.id)
        return Committed(outcome)
    return Committed(outcome, (_again(lease, pause_s),))


def put_off(conn: Connection, rules: Rules, lease: Lease, error: str, *, pause_s: float) -> Committed:
    """A slice that could not ask, through no fault of its file: it shows why, and nothing counts against it."""
    found = _ours(conn, rules, lease)
    if found is None:
        return Committed("lease lost")
    file, row = found
    _put_back(conn, lease, file, attempts=row.attempts, fruitless=row.fruitless, pause_s=pause_s, error=error)
    return Committed("put off")


def thrown_away(conn: Connection, rules: Rules, lease: Lease, reading: Reading) -> Committed:
    """A read older than what is held: nothing lands, nothing counts as an error, the slice reads again soon."""
    return _fruitless(conn, rules, lease, "thrown away, older than what is held", asked_at=reading.asked_at)


def waits_for_borrowers(conn: Connection, rules: Rules, lease: Lease, reading: Reading, why: str) -> Committed:
    """The answer names somebody whom the file's borrowers do not hold yet: the slice waits, it does not guess.

    If the answer is newer than what borrowers hold and than what was asked for, they are ordered up to its stamp,
    once for each; the run counts as an error either way, since MLM may never show them.
    """
    file = file_under_lock(conn, lease.file.id)
    rings: tuple[Ring, ...] = ()
    v = stamp_of(rules, reading, resolution_in_force(conn, rules))
    if file is not None and v is not None and not at_most(v, file.wanted):
        borrowers = concern_rows(conn, rules, file)[Concern.BORROWERS]
        if not at_most(v, borrowers.held):
            rings = place(conn, file.id, "a slice met somebody whom the borrowers do not hold", wanted=v).rings
    done = failed(conn, rules, lease, why, final=False, lot=Random(lease.file.id))  # noqa: S311
    return Committed("waits for borrowers", (*rings, *done.rings))


def not_found(conn: Connection, rules: Rules, lease: Lease) -> Committed:
    """MLM says it does not have the file. Only loan fields decide that it is gone; other slices wait for them.

    The caller purges (`files.purge`) when this returns the outcome `gone`: not found twice, a minute apart.
    """
    found = _ours(conn, rules, lease)
    if found is None:
        return Committed("lease lost")
    file, row = found
    if lease.concern is not Concern.LOAN_FIELDS:
        return _wait_for_loan_fields(conn, rules, lease, file, row)
    since = (file.now - file.not_found_at).total_seconds() if file.not_found_at else 0.0
    if file.not_found_at is not None and since >= NOT_FOUND_APART_S:
        return Committed("gone")
    conn.exec_driver_sql(_NOT_FOUND, {"file_id": file.id})
    pause_s = NOT_FOUND_APART_S - since + 0.5
    _put_back(conn, lease, file, attempts=row.attempts, fruitless=row.fruitless, pause_s=pause_s, error=None)
    runs.record(conn, lease, "not found, asked again in a minute")
    return Committed("not_found", (_again(lease, pause_s),))


def gone(conn: Connection, rules: Rules, lease: Lease) -> Committed:
    """The file is gone: a new epoch that holds nothing; every concern has served the order that asked. The caller has
    purged the children and closed the own writes in this transaction, before this takes the file's lock.

    Raises:
        LeaseLost: the slice is no longer ours: roll the purge back.
    """
    found = _ours(conn, rules, lease)
    if found is None:
        raise LeaseLost(lease.file.id, lease.concern, "another worker holds the lease")
    file, row = found
    files.mark_deleted(conn, rules, file, order=lease.terms.order)
    runs.record(conn, lease, "not found twice, purged")
    events.write(conn, file.ref, [events.PURGED])
    unconfirmed.note(conn, rules, file.id)
    healed = backstops.heal(conn, file.id, lease.worker, order=row.served + 1, rows=1)
    return Committed("purged", announced=True, healed=healed)


def _wait_for_loan_fields(conn: Connection, rules: Rules, lease: Lease, file: FileRow, row: ConcernRow) -> Committed:
    rings: tuple[Ring, ...] = ()
    if concern_rows(conn, rules, file)[Concern.LOAN_FIELDS].served >= file.ordered:
        rings = place(conn, file.id, f"{lease.concern.value} met a file that MLM does not have").rings
    _put_back(
        conn, lease, file, attempts=row.attempts, fruitless=row.fruitless, pause_s=LONGEST_FRUITLESS_S, error=None
    )
    runs.record(conn, lease, "not found, waits for loan fields")
    return Committed("not_found", rings)


def _fruitless(
    conn: Connection, rules: Rules, lease: Lease, outcome: str, *, asked_at: dt.datetime | None
) -> Committed:
    found = _ours(conn, rules, lease)
    if found is None:
        return Committed("lease lost")
    file, row = found
    pause_s = min(FIRST_FRUITLESS_S * 2.0 ** min(row.fruitless, 16), LONGEST_FRUITLESS_S)
    _put_back(conn, lease, file, attempts=row.attempts, fruitless=row.fruitless + 1, pause_s=pause_s, error=None)
    runs.record(conn, lease, outcome, asked_at=asked_at)
    return Committed("thrown_away", (_again(lease, pause_s),))


def _ours(conn: Connection, rules: Rules, lease: Lease) -> tuple[FileRow, ConcernRow] | None:
    """The file, locked, and the concern, if the lease is still ours."""
    file = file_under_lock(conn, lease.file.id)
    if file is None:
        return None
    row = concern_rows(conn, rules, file)[lease.concern]
    return (file, row) if row.lease_token == lease.token else None


def _put_back(
    conn: Connection, lease: Lease, file: FileRow, *, attempts: int, fruitless: int, pause_s: float, error: str | None
) -> None:
    parameters = {
        "file_id": file.id, "concern": lease.concern.value, "token": lease.token, "attempts": attempts,
        "fruitless": fruitless, "ordered": file.ordered, "now": file.now, "error": error,
        "next": file.now + dt.timedelta(seconds=pause_s),
    }  # fmt: skip
    conn.exec_driver_sql(_FAIL, parameters)


def _again(lease: Lease, delay_s: float) -> Ring:
    return Ring(Work.HYDRATE_CONCERN, lease.file.id, lease.concern, delay_s=delay_s)
