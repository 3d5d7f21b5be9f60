"""Confirmations: the stamp alone is read, and whatever differs from it is ordered. The one backstop.

`due` chooses the files that are unconfirmed and quiet; `begin` and `finish` stand around the caller's call to MLM.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from .. import confirming, stamp
from ..bell import Ring, Work
from ..confirming import Confirmation, HeldBy
from ..errors import LeaseLost
from ..readiness import GIVE_UP_AFTER
from ..rules import LONGEST_UNQUIET_S, Rules
from ..state import State
from . import epochs, events, own_writes, unconfirmed
from .files import mirror_mark, owner_of
from .orders import place
from .rows import FileRow, concern_rows, file_row, file_under_lock, resolution_in_force

#: A file that stays a candidate is confirmed again after this long, doubling to the second.
FIRST_AGAIN_S, LONGEST_AGAIN_S = 30.0, 600.0


@dataclass(frozen=True, slots=True)
class Asking:
    """A confirmation under way: which file to read, and the epoch and the time when it began."""

    file_id: int
    ref: str
    epoch: int
    began_at: dt.datetime


_CANDIDATES = """
SELECT f.id, f.unconfirmed_since, f.confirmations, greatest(
    (SELECT max(received_at) FROM mlm_webhook_receipts r
     WHERE r.file_id = f.id AND r.received_at > mlm_now() - make_interval(secs => %(quiet)s)),
    (SELECT max(placed_at) FROM refresh_orders o WHERE o.file_id = f.id AND o.number = f.ordered),
    (SELECT max(greatest(registered_at, exited_at, captured_at)) FROM own_writes w WHERE w.file_id = f.id)
) AS active_at, mlm_now() AS now
FROM file_freshness f WHERE f.confirm_at <= mlm_now()
ORDER BY f.confirm_at LIMIT %(limit)s FOR NO KEY UPDATE OF f SKIP LOCKED
"""

_OTHERS = """
SELECT id FROM file_freshness WHERE deleted_at IS NULL AND mark IS NOT NULL AND ref <> ALL(%(failed)s::text[])
ORDER BY round_at DESC LIMIT %(limit)s
"""

_NEXT = """
UPDATE file_freshness SET confirm_at = %(at)s, confirmations = %(count)s
WHERE id = %(file_id)s AND confirm_at IS NOT NULL
"""

_CONFIRMED = """
UPDATE file_freshness SET confirmed_at = mlm_now(), round_at = mlm_now(),
    doubted_until = CASE WHEN doubted_until > %(began_at)s THEN doubted_until END
WHERE id = %(file_id)s
"""

_RAISE = """
UPDATE file_freshness SET
    mark_seen_at = CASE WHEN %(v)s > coalesce(mark, '-infinity') THEN mlm_now() ELSE mark_seen_at END,
    mark = greatest(mark, %(v)s)
WHERE id = %(file_id)s
"""

_GIVEN_UP_AT = """
UPDATE file_concerns SET given_up_stamp = %(v)s
WHERE file_id = %(file_id)s AND attempts >= %(limit)s AND tried_order = %(ordered)s
"""


def due(conn: Connection, rules: Rules, limit: int = 100) -> list[Ring]:
    """Rings for the files that are to be confirmed now: candidates, quiet for `quiet_s` or candidates for 5 minutes.

    Each is put off to its next time at once, so that a confirmation that is lost is made again then.
    """
    rings = []
    for row in conn.exec_driver_sql(_CANDIDATES, {"quiet": rules.quiet_s, "limit": limit}).all():
        file = file_row(conn, row.id)
        assert file is not None  # noqa: S101 - locked above
        concerns = concern_rows(conn, rules, file)
        if not unconfirmed.is_candidate(file, concerns):
            unconfirmed.note(conn, rules, row.id)
            _put_off(conn, row.id, row.now + dt.timedelta(seconds=rules.quiet_s), row.confirmations)
            continue
        if (doubted_until := unconfirmed.doubt_to_wait_out(file, concerns)) is not None:
            _put_off(conn, row.id, doubted_until, row.confirmations)
            continue
        quiet_at = row.active_at + dt.timedelta(seconds=rules.quiet_s) if row.active_at else row.now
        at_last = (row.unconfirmed_since or row.now) + dt.timedelta(seconds=LONGEST_UNQUIET_S)
        if min(quiet_at, at_last) > row.now:
            _put_off(conn, row.id, min(quiet_at, at_last), row.confirmations)
            continue
        again_s = min(FIRST_AGAIN_S * 2.0 ** min(row.confirmations, 16), LONGEST_AGAIN_S)
        _put_off(conn, row.id, row.now + dt.timedelta(seconds=again_s), min(row.confirmations + 1, 100))
        rings.append(Ring(Work.CONFIRM, row.id))
    return rings


def others(conn: Connection, failed: Sequence[str], limit: int) -> list[Ring]:
    """Rings to confirm files other than these, those that MLM answered for last: to see whether it answers at all."""
    rows = conn.exec_driver_sql(_OTHERS, {"failed": list(failed), "limit": limit})
    return [Ring(Work.CONFIRM, row.id) for row in rows]


def begin(conn: Connection, file_id: int) -> Asking | None:
    """What to read for a confirmation."""
    file = file_row(conn, file_id)
    return Asking(file.id, file.ref, file.epoch, file.now) if file else None


def finish(
    conn: Connection, rules: Rules, asking: Asking, stamp_text: str | None, backstop: str | None = None
) -> tuple[Ring, ...]:
    """Weigh the stamp that MLM shows: mark raised, and an order, or a new epoch, where `confirming.confirm` says so.

    Thrown away if the epoch changed. No stamp orders nothing, unless a backstop asks or a doubt is to be ended, of a
    file that has had one: MLM shows something else than we hold. `backstop` says which one asks; rings mean that an
    order was placed.

    Raises:
        LeaseLost: the file moved while this transaction ran; try again.
    """
    seen = file_row(conn, asking.file_id)
    if seen is None:
        return ()
    if seen.epoch != asking.epoch:
        return ()
    v = stamp_shown(conn, rules, stamp_text, seen.now)
    if v is None:
        is_in_doubt = seen.doubted_until is not None and seen.doubted_until <= asking.began_at
        if (backstop is None and not is_in_doubt) or seen.unstamped or seen.served < seen.ordered:
            return ()
        placed = place(conn, seen.id, "a confirmation met no stamp that can be read", backstop=backstop)
        if is_in_doubt:  # what is read for this order is asked for late enough
            unconfirmed.end_doubt(conn, seen.id)
        return placed.rings
    foreseen = _weigh(conn, rules, seen, v)
    mirror_mark(conn, owner_of(seen), v, back=foreseen.new_epoch)
    if foreseen.new_epoch:
        own_writes.close_open(conn, seen.id)
    file = file_under_lock(conn, seen.id)
    assert file is not None  # noqa: S101 - files are never deleted
    if file.epoch != asking.epoch:
        raise LeaseLost(file.id, "confirmation", "the epoch ended")
    found = _weigh(conn, rules, file, v)
    if found.new_epoch != foreseen.new_epoch:
        raise LeaseLost(file.id, "confirmation", "the file moved")
    rings: tuple[Ring, ...] = ()
    if found.new_epoch:
        epochs.begin(conn, rules, file, v, asked_at=asking.began_at)
    else:
        conn.exec_driver_sql(_RAISE, {"file_id": file.id, "v": v})
    if found.orders:
        parameters = {"file_id": file.id, "v": v, "limit": GIVE_UP_AFTER, "ordered": file.ordered}
        conn.exec_driver_sql(_GIVEN_UP_AT, parameters)
        cause = "MLM has gone back" if found.new_epoch else "a confirmation found another stamp"
        rings = place(conn, file.id, cause, wanted=v, backstop=backstop).rings
    state = _confirmed(conn, rules, asking)
    if file.doubted_until is not None and state is State.FRESH:
        events.write(conn, file.ref, [events.FRESH])
    return rings


def not_found(conn: Connection, rules: Rules, asking: Asking, backstop: str | None = None) -> tuple[Ring, ...]:
    """MLM does not have the file: ordered, unless it is deleted here too; its loan-fields slice decides."""
    file = file_under_lock(conn, asking.file_id)
    if file is None or file.epoch != asking.epoch or file.served < file.ordered:
        return ()
    if file.deleted_at is not None:
        _confirmed(conn, rules, asking)
        return ()
    return place(conn, file.id, "a confirmation met a file that MLM does not have", backstop=backstop).rings


def stamp_shown(conn: Connection, rules: Rules, text: str | None, now: dt.datetime) -> dt.datetime | None:
    """The stamp that MLM shows, truncated to the resolution in force; None if it shows none that can be read."""
    read = stamp.parse(text, rules.zone, now)
    return stamp.truncate(read.instant, resolution_in_force(conn, rules)) if isinstance(read, stamp.Stamp) else None


def _weigh(conn: Connection, rules: Rules, file: FileRow, v: dt.datetime) -> Confirmation:
    held = [
        HeldBy(row.held, row.served < file.ordered, row.attempts >= GIVE_UP_AFTER, row.given_up_stamp)
        for row in concern_rows(conn, rules, file).values()
    ]
    return confirming.confirm(
        v,
        held,
        mark=file.mark,
        wanted=file.wanted,
        unstamped=file.unstamped,
        raised_at=file.raised_at,
        now=file.now,
        read_lag_s=rules.read_lag_s,
    )


def _confirmed(conn: Connection, rules: Rules, asking: Asking) -> State:
    """The file was asked for: a doubt that was over then is no more."""
    conn.exec_driver_sql(_CONFIRMED, {"file_id": asking.file_id, "began_at": asking.began_at})
    return unconfirmed.note(conn, rules, asking.file_id)


def _put_off(conn: Connection, file_id: int, at: dt.datetime, count: int) -> None:
    conn.exec_driver_sql(_NEXT, {"file_id": file_id, "at": at, "count": count})
