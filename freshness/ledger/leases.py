"""Leases: slices are taken, so that never two are at work on one (file, concern).

With shared reads, whoever takes one takes along what else of the file may be read now: one call asks for all of it,
and each lands in a transaction of its own, under a lease of its own with the same token.

A lease is a row with a token, checked again at the commit. It is void when it runs out, or when its worker's beat is
older than 6 s: a killed worker's work is taken up within seconds, and one that was only paused fails at the token.

A slice that ends its worker would end the next one too. So whoever finds a void lease counts it as an error of the
slice: the first time it is taken all the same, then after pauses that double, and after 8 in a row it is given up.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from ..concerns import Concern
from ..guard import latest
from ..readiness import GIVE_UP_AFTER, Wait, taken_along, why_not
from ..rules import Rules
from ..settling import Terms
from .files import Owner
from .locks import within_patience
from .own_writes import Seen
from .rows import ConcernRow, FileRow, concern_rows, file_row, resolution_in_force, slice_states

#: A slice that has ended two workers waits so long, doubling with each more; and half to two and a half times that, by
#: lot: those that were only beside it when a worker ended must not come back with it each time.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 300.0

ENDED = "its worker ended, or its lease ran out, while it was at work"


@dataclass(frozen=True, slots=True)
class Lease:
    """What a slice took. Its terms were fixed in the lease's transaction and are not read again."""

    file: FileRow
    concern: Concern
    token: uuid.UUID
    worker: str
    terms: Terms
    epoch: int
    held: dt.datetime | None
    #: PostgreSQL's clock in the lease's transaction; the worker adds its own elapsed time to it.
    started_at: dt.datetime
    #: No call leaves before this: one resolution after `wanted` was first seen.
    read_not_before: dt.datetime | None
    attempts: int
    #: The resolution in force then, in seconds.
    resolution_s: float
    #: The file's own writes when the lease was taken: what exits after that may have written beside the read.
    writes: Seen
    #: Newest order that the concern had served: it is read for those after it, up to its terms' order.
    served: int = 0

    @property
    def orders(self) -> list[tuple[int, int]]:
        """The orders that it is read for, each as the file's id and the number, the newest last; twenty of many."""
        newest = self.terms.order
        first = min(max(self.served + 1, newest - 19), newest)
        return [(self.file.id, number) for number in range(first, newest + 1)]

    def after(self, owner: Owner, mark: dt.datetime | None) -> Lease:
        """The same lease, once rows that were taken with it have landed in their owner and raised the mark."""
        file = replace(self.file, kind=owner.kind, mark=latest(self.file.mark, mark))
        if owner.kind == "loan":
            return replace(self, file=replace(file, loan_id=owner.id))
        return replace(self, file=replace(file, lead_id=owner.id))


@dataclass(frozen=True, slots=True)
class NotNow:
    """Why there is no lease to be had this moment."""

    why: Wait
    retry_at: dt.datetime | None = None


_LOCK = """
SELECT concern FROM file_concerns WHERE file_id = %(file_id)s AND concern = %(concern)s FOR NO KEY UPDATE SKIP LOCKED
"""

_MAKE = """
INSERT INTO file_concerns (file_id, concern)
SELECT f.id, a.concern FROM file_freshness f, unnest(%(concerns)s::text[]) AS a (concern)
WHERE f.id = %(file_id)s ORDER BY a.concern ON CONFLICT DO NOTHING
"""

# Of what is taken along, only what still is as it was seen, and nobody else has locked.
_TAKE = """
UPDATE file_concerns c SET lease_token = %(token)s, lease_worker = %(worker)s, lease_at = %(now)s,
       lease_until = %(now)s + make_interval(secs => %(lease_s)s)
FROM (
    SELECT f.concern FROM file_concerns f JOIN unnest(%(concerns)s::text[], %(served)s::bigint[]) AS s (concern, served)
        ON s.concern = f.concern AND s.served = f.served
    WHERE f.file_id = %(file_id)s AND (f.lease_token IS NULL OR f.concern = %(concern)s)
    FOR NO KEY UPDATE OF f SKIP LOCKED
) free
WHERE c.file_id = %(file_id)s AND c.concern = free.concern
RETURNING c.concern, mlm_now() AS now,
    (SELECT coalesce(max(id), 0) FROM own_writes WHERE file_id = %(file_id)s) AS newest,
    ARRAY(SELECT id FROM own_writes
          WHERE file_id = %(file_id)s AND exited_at IS NULL AND abandoned_at IS NULL) AS under_way
"""

_COUNT_END = """
UPDATE file_concerns SET attempts = %(attempts)s, fruitless = %(fruitless)s, tried_order = %(ordered)s,
    next_try_at = %(next)s, first_error_at = coalesce(first_error_at, %(now)s), last_error_at = %(now)s,
    last_error = %(error)s, lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
WHERE file_id = %(file_id)s AND concern = %(concern)s
"""

_LEAVE = """
UPDATE file_concerns SET lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
WHERE file_id = %(file_id)s AND concern = ANY(%(concerns)s::text[])
"""

_RELEASE = """
UPDATE file_concerns SET lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
WHERE file_id = %(file_id)s AND lease_token = %(token)s
"""

_PART = """
UPDATE file_concerns SET alone_order = %(ordered)s,
    lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
WHERE file_id = %(file_id)s AND lease_token = %(token)s
"""


def take(
    conn: Connection, rules: Rules, file_id: int, concern: Concern, worker: str, token: uuid.UUID
) -> list[Lease] | NotNow:
    """Take the slice if it may start now, and with it what the same call can read; upstream first.

    The concern's row is locked first, and nobody is waited for: one that is locked is being taken or landed, and
    whoever does that rings for what is left. The file's row is read, not locked.
    """
    if concern not in rules.active:
        return NotNow(Wait.SERVED)
    if not _is_locked_by_us(conn, rules, file_id, concern):
        return NotNow(Wait.LEASED)
    file = file_row(conn, file_id)
    assert file is not None  # noqa: S101 - its concern is locked, and files are never deleted
    concerns = concern_rows(conn, rules, file)
    states = slice_states(conn, rules, file, concerns)
    row = concerns[concern]
    if (wait := why_not(states[concern], file.now)) is not None:
        return NotNow(wait, _retry_at(wait, states[concern].undue_until, row.next_try_at))
    attempts = row.attempts
    if row.is_void:
        attempts += 1
        next_try_at = _count_end(conn, file, row, attempts, token)
        if attempts > 1:
            return NotNow(Wait.GIVEN_UP) if attempts >= GIVE_UP_AFTER else NotNow(Wait.RETRY, next_try_at)
    wanted = taken_along(states, concern, file.now) if rules.shared_reads else {concern: states[concern].order}
    resolution_s = resolution_in_force(conn, rules)
    parameters = {
        "file_id": file_id, "concern": concern, "concerns": list(wanted),
        "served": [concerns[each].served for each in wanted],
        "token": token, "worker": worker, "now": file.now, "lease_s": rules.lease_s,
    }  # fmt: skip
    taken = {row.concern: row for row in conn.exec_driver_sql(_TAKE, parameters)}
    orders, seen = wanted, taken[concern]
    if len(taken) < len(wanted):
        orders = taken_along({c: state for c, state in states.items() if c in taken}, concern, file.now)
        conn.exec_driver_sql(_LEAVE, {"file_id": file_id, "concerns": [c for c in taken if c not in orders]})
    need = latest(file.wanted, file.mark)
    return [
        Lease(
            file=file,
            concern=each,
            token=token,
            worker=worker,
            terms=Terms(order=order, need=need, behind_since=concerns[each].behind_since),
            epoch=file.epoch,
            held=concerns[each].held,
            started_at=taken[each].now,
            read_not_before=_read_not_before(file, resolution_s),
            attempts=attempts if each == concern else 0,
            resolution_s=resolution_s,
            writes=Seen(seen.newest, tuple(seen.under_way)),
            served=concerns[each].served,
        )
        for each, order in orders.items()
    ]


def release(conn: Connection, lease: Lease) -> None:
    """Give back unused whatever was taken with this lease and has not ended: nothing counts against any slice."""
    conn.exec_driver_sql(_RELEASE, {"file_id": lease.file.id, "token": lease.token})


def part(conn: Connection, lease: Lease) -> None:
    """Give back what was taken with this lease, each to be read by itself for the orders that stand: asking for all of
    it at once has failed. Nothing counts against any slice."""
    parameters = {"file_id": lease.file.id, "token": lease.token, "ordered": lease.file.ordered}
    conn.exec_driver_sql(_PART, parameters)


def _is_locked_by_us(conn: Connection, rules: Rules, file_id: int, concern: Concern) -> bool:
    """Lock the concern's row, unless somebody has; if it is missing it is made, and with it all that the file lacks."""
    key = {"file_id": file_id, "concern": concern.value}
    if conn.exec_driver_sql(_LOCK, key).first() is not None:
        return True
    missing = {"file_id": file_id, "concerns": [each.value for each in rules.active]}
    return bool(within_patience(conn, _MAKE, missing)) and conn.exec_driver_sql(_LOCK, key).first() is not None


def _count_end(conn: Connection, file: FileRow, row: ConcernRow, attempts: int, token: uuid.UUID) -> dt.datetime:
    """Write down that a slice was at work when its lease became void; when it may be tried again. The token is the
    lot."""
    pause_s = min(FIRST_PAUSE_S * 2.0 ** (attempts - 2), LONGEST_PAUSE_S) if attempts > 1 else 0.0
    pause_s *= 0.5 + 2 * (token.int % 1024) / 1024
    next_try_at = file.now + dt.timedelta(seconds=pause_s)
    parameters = {
        "file_id": file.id, "concern": row.concern.value, "attempts": attempts, "fruitless": row.fruitless,
        "ordered": file.ordered, "next": next_try_at, "now": file.now, "error": ENDED,
    }  # fmt: skip
    conn.exec_driver_sql(_COUNT_END, parameters)
    return next_try_at


def _read_not_before(file: FileRow, resolution_s: float) -> dt.datetime | None:
    if file.wanted_seen_at is None:
        return None
    return file.wanted_seen_at + dt.timedelta(seconds=resolution_s)


def _retry_at(wait: Wait, undue_until: dt.datetime | None, next_try_at: dt.datetime | None) -> dt.datetime | None:
    if wait is Wait.NOT_DUE:
        return undue_until
    return next_try_at if wait is Wait.RETRY else None
