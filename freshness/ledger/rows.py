"""A file and its concerns as they stand in PostgreSQL, read in one statement each.

`file_under_lock` is where every decision begins that moves a number: it takes the file's row lock, last of all
locks, and reads the concerns and the resolution in a statement of its own, whose snapshot is younger than the lock.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from ..concerns import Concern, upstream_of
from ..guard import latest
from ..readiness import SliceState
from ..rules import WORKER_LIFE_S, Rules


@dataclass(frozen=True, slots=True)
class FileRow:
    """One row of `file_freshness`, and PostgreSQL's clock when it was read."""

    id: int
    ref: str
    kind: str | None
    loan_id: int | None
    lead_id: int | None
    mark: dt.datetime | None
    mark_seen_at: dt.datetime | None
    captured: dt.datetime | None
    wanted: dt.datetime | None
    wanted_seen_at: dt.datetime | None
    ordered: int
    served: int
    due_at: dt.datetime | None
    epoch: int
    doubted_until: dt.datetime | None
    doubted_below: dt.datetime | None
    unstamped: bool
    deleted_at: dt.datetime | None
    not_found_at: dt.datetime | None
    racy_stamp: dt.datetime | None
    slice_committed_at: dt.datetime | None
    unconfirmed_since: dt.datetime | None
    confirm_at: dt.datetime | None
    confirmations: int
    confirmed_at: dt.datetime | None
    now: dt.datetime

    @property
    def is_there(self) -> bool:
        """Whether a loan or lead stands behind it that slices may land in."""
        return self.deleted_at is None and (self.loan_id is not None or self.lead_id is not None)

    @property
    def newest(self) -> dt.datetime | None:
        """The newest of mark and wanted: what a fresh concern holds at least."""
        return latest(self.mark, self.wanted)

    @property
    def raised_at(self) -> dt.datetime | None:
        """When mark or wanted was raised last."""
        return latest(self.mark_seen_at, self.wanted_seen_at)


@dataclass(frozen=True, slots=True)
class ConcernRow:
    """One active concern of a file. A concern without a row holds nothing and has served nothing.

    `attempts`, `fruitless` and `next_try_at` count for the newest order only; `behind_since` is when the oldest order
    it has not served was placed, `behind_a_webhook` whether that was by an entry of MLM's webhook.
    """

    concern: Concern
    held: dt.datetime | None
    served: int
    landed: int
    landed_at: dt.datetime | None
    attempts: int
    fruitless: int
    next_try_at: dt.datetime | None
    last_error: str | None
    last_error_at: dt.datetime | None
    given_up_stamp: dt.datetime | None
    alone_order: int
    lease_token: uuid.UUID | None
    lease_worker: str | None
    lease_at: dt.datetime | None
    leased: bool
    behind_since: dt.datetime | None
    behind_a_webhook: bool

    @property
    def is_void(self) -> bool:
        """Whether its worker ended, or its lease ran out, while it was at work."""
        return self.lease_token is not None and not self.leased


#: The columns of a `FileRow`, in order.
COLUMNS = (
    "id, ref, kind, loan_id, lead_id, mark, mark_seen_at, captured, wanted, wanted_seen_at, ordered, "
    "served, due_at, epoch, doubted_until, doubted_below, unstamped, deleted_at, not_found_at, racy_stamp, "
    "slice_committed_at, unconfirmed_since, confirm_at, confirmations, confirmed_at, mlm_now() AS now"
)

_FILE = f"SELECT {COLUMNS} FROM file_freshness WHERE id = %(file_id)s"  # noqa: S608

# Not FOR UPDATE: a row that refers to the file (a registration, a lease) must not wait for this lock.
_LOCK = f"{_FILE} FOR NO KEY UPDATE"

# The columns of a `ConcernRow`, in order, behind the file's id.
_EACH_CONCERN = """
SELECT c.file_id, c.concern, c.held, c.served, c.landed, c.landed_at,
       CASE WHEN c.tried_order = f.ordered THEN c.attempts ELSE 0 END AS attempts,
       CASE WHEN c.tried_order = f.ordered THEN c.fruitless ELSE 0 END AS fruitless,
       CASE WHEN c.tried_order = f.ordered THEN c.next_try_at END AS next_try_at,
       c.last_error, c.last_error_at, c.given_up_stamp, c.alone_order, c.lease_token, c.lease_worker, c.lease_at,
       c.lease_token IS NOT NULL AND c.lease_until > mlm_now() AND EXISTS (
           SELECT FROM workers w
           WHERE w.id = c.lease_worker AND w.beat_at > mlm_now() - make_interval(secs => %(life)s)
       ) AS leased,
       o.placed_at AS behind_since, coalesce(starts_with(o.cause, 'webhook, '), false) AS behind_a_webhook
FROM file_concerns c
JOIN file_freshness f ON f.id = c.file_id
LEFT JOIN refresh_orders o ON o.file_id = c.file_id AND o.number = c.served + 1
"""

_CONCERNS = f"{_EACH_CONCERN} WHERE c.file_id = %(file_id)s"

_FILES = f"SELECT {COLUMNS} FROM file_freshness WHERE id = ANY(%(file_ids)s)"  # noqa: S608

_CONCERNS_OF_FILES = f"{_EACH_CONCERN} WHERE c.file_id = ANY(%(file_ids)s)"

_FIRST_ORDER = "SELECT placed_at FROM refresh_orders WHERE file_id = %(file_id)s AND number = 1"

_FIRST_UNDUE = """
SELECT number, due_at FROM refresh_orders
WHERE file_id = %(file_id)s AND number > %(served)s AND due_at > mlm_now() ORDER BY number LIMIT 1
"""

_RESOLUTION = "SELECT auto_resolution_s FROM stamp_calibration"


def file_row(conn: Connection, file_id: int) -> FileRow | None:
    """The file as it stands, without a lock."""
    found = conn.exec_driver_sql(_FILE, {"file_id": file_id}).one_or_none()
    return FileRow(*found) if found else None


def file_under_lock(conn: Connection, file_id: int) -> FileRow | None:
    """The file, its row locked until the transaction ends. Nothing may be waited for after it."""
    found = conn.exec_driver_sql(_LOCK, {"file_id": file_id}).one_or_none()
    return FileRow(*found) if found else None


def concern_rows(conn: Connection, rules: Rules, file: FileRow) -> dict[Concern, ConcernRow]:
    """Every active concern of the file, those without a row too."""
    found = conn.exec_driver_sql(_CONCERNS, {"file_id": file.id, "life": WORKER_LIFE_S})
    rows = {row[1]: row for row in found}
    first = None
    if file.ordered and any(concern not in rows for concern in rules.active):
        first = conn.exec_driver_sql(_FIRST_ORDER, {"file_id": file.id}).scalar()
    return {c: ConcernRow(c, *rows[c][2:]) if c in rows else _missing(c, first) for c in rules.active}


def files_with_slices(
    conn: Connection, rules: Rules, file_ids: Sequence[int]
) -> Iterator[tuple[FileRow, dict[Concern, SliceState]]]:
    """These files, in this order, each with what decides whether its slices may start: two statements for all of them,
    and one for each that has an order not due yet."""
    for file, concerns in files_with_concerns(conn, rules, file_ids):
        yield file, slice_states(conn, rules, file, concerns)


def files_with_concerns(
    conn: Connection, rules: Rules, file_ids: Sequence[int]
) -> list[tuple[FileRow, dict[Concern, ConcernRow]]]:
    """These files, in this order, each with its active concerns, in two statements for all of them. Of a concern
    without a row it is not said since when it is behind."""
    parameters = {"file_ids": list(file_ids), "life": WORKER_LIFE_S}
    files = {row.id: FileRow(*row) for row in conn.exec_driver_sql(_FILES, parameters).all()}
    found: dict[int, dict[Concern, ConcernRow]] = {}
    for file_id, concern, *numbers in conn.exec_driver_sql(_CONCERNS_OF_FILES, parameters).all():
        if concern in rules.active:
            found.setdefault(file_id, {})[Concern(concern)] = ConcernRow(Concern(concern), *numbers)
    return [
        (files[file_id], {c: found.get(file_id, {}).get(c) or _missing(c, None) for c in rules.active})
        for file_id in file_ids
        if file_id in files
    ]


def resolution_in_force(conn: Connection, rules: Rules) -> float:
    """The resolution stamps are truncated to, in seconds.

    With `auto` it is one stored value, read after the file's lock: whoever committed a finer stamp to this file did
    so after the value had changed, so it can't be compared with a coarser one (docs/protocol.md, "Stamps").
    """
    if rules.resolution_s is not None:
        return rules.resolution_s
    return float(conn.exec_driver_sql(_RESOLUTION).scalar_one())


def slice_states(
    conn: Connection, rules: Rules, file: FileRow, concerns: Mapping[Concern, ConcernRow]
) -> dict[Concern, SliceState]:
    """What decides, for each active concern, whether its slice may start now (`readiness.why_not`)."""
    undue = None
    if file.due_at is not None and file.due_at > file.now:
        undue = conn.exec_driver_sql(_FIRST_UNDUE, {"file_id": file.id, "served": file.served}).one_or_none()
    due_order = file.ordered if undue is None else undue.number - 1
    return {
        c: _state(c, row, file, concerns, rules, due_order, undue.due_at if undue else None)
        for c, row in concerns.items()
    }


def _state(
    concern: Concern,
    row: ConcernRow,
    file: FileRow,
    concerns: Mapping[Concern, ConcernRow],
    rules: Rules,
    due_order: int,
    undue_until: dt.datetime | None,
) -> SliceState:
    above = upstream_of(concern, rules.active)
    return SliceState(
        is_loan_fields=concern is Concern.LOAN_FIELDS,
        order=due_order if above is None else min(concerns[above].landed, due_order),
        served=row.served,
        ordered=file.ordered,
        undue_until=undue_until,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        leased=row.leased,
        file_is_there=file.is_there,
        hangs_on=above,
        alone=row.attempts > 0 or row.is_void or row.alone_order >= file.ordered,
    )


def _missing(concern: Concern, behind_since: dt.datetime | None) -> ConcernRow:
    return ConcernRow(
        concern=concern,
        held=None,
        served=0,
        landed=0,
        landed_at=None,
        attempts=0,
        fruitless=0,
        next_try_at=None,
        last_error=None,
        last_error_at=None,
        given_up_stamp=None,
        alone_order=0,
        lease_token=None,
        lease_worker=None,
        lease_at=None,
        leased=False,
        behind_since=behind_since,
        behind_a_webhook=False,
    )
