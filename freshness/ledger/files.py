"""Files: how they come, are ordered again, turn from lead to loan, and go.

A file's row may exist without a loan or a lead: the first loan-fields read makes the one that `sStatusT` names. A
reference number names a lead or a loan; a loan is never turned back.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection

from ..errors import UnknownFile
from ..rules import Rules
from . import epochs, receipts
from .locks import within_patience
from .orders import Placed, place
from .rows import FileRow, file_row

Kind = Literal["loan", "lead"]


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file by what the portal calls it: a loan or a lead, and `sLRefNm`."""

    kind: Kind
    ref: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The row that a file's rows hang on: `loans.id` or `leads.id`."""

    kind: Kind
    id: int


_ID = "SELECT id FROM file_freshness WHERE ref = %(ref)s"

# Not as joins: where there are no leads, PostgreSQL would take the empty table for the cheap side, and read all files.
_BY_NUMBER = """
SELECT id FROM file_freshness
WHERE loan_id = ANY(ARRAY(SELECT id FROM loans WHERE mlm_loan_number = ANY(%(numbers)s)))
UNION SELECT id FROM file_freshness
WHERE lead_id = ANY(ARRAY(SELECT id FROM leads WHERE mlm_loan_number = ANY(%(numbers)s)))
ORDER BY id
"""

_ADD = "INSERT INTO file_freshness (ref) VALUES (%(ref)s) ON CONFLICT (ref) DO NOTHING"

_MIRROR = {
    kind: f"""
UPDATE {kind}s SET
    mlm_last_modified_at = CASE WHEN %(back)s THEN %(v)s ELSE greatest(mlm_last_modified_at, %(v)s::timestamptz) END,
    is_hydrated = is_hydrated OR %(hydrated)s,
    hydrated_at = CASE WHEN %(hydrated)s THEN mlm_now() ELSE hydrated_at END,
    deleted_at = CASE WHEN %(hydrated)s THEN NULL ELSE deleted_at END
WHERE id = %(id)s AND (%(hydrated)s OR %(back)s OR %(v)s > coalesce(mlm_last_modified_at, '-infinity'))
"""  # noqa: S608 - a table of ours
    for kind in ("loan", "lead")
}

_OWNER_DELETED = {
    kind: f"UPDATE {kind}s SET deleted_at = coalesce(deleted_at, mlm_now()) WHERE id = %(id)s"  # noqa: S608 - a table of ours
    for kind in ("loan", "lead")
}

_TIE = """
UPDATE file_freshness SET kind = %(kind)s, loan_id = coalesce(%(loan_id)s, loan_id),
       lead_id = coalesce(%(lead_id)s, lead_id), not_found_at = NULL, deleted_at = NULL
WHERE id = %(file_id)s
"""

_TIE_RECEIPTS = """
UPDATE mlm_webhook_receipts SET loan_id = %(loan_id)s, lead_id = %(lead_id)s
WHERE file_id = %(file_id)s AND (loan_id, lead_id) IS DISTINCT FROM (%(loan_id)s::bigint, %(lead_id)s::bigint)
"""

_VOID_LEASES = "UPDATE file_concerns SET lease_token = NULL WHERE file_id = %(file_id)s AND concern <> 'loan_fields'"

_DELETE_FILE = """
UPDATE file_freshness SET deleted_at = coalesce(deleted_at, %(now)s), not_found_at = NULL, unstamped = false,
       served = greatest(served, %(served)s)
WHERE id = %(file_id)s
"""

_SERVE_ALL = """
INSERT INTO file_concerns (file_id, concern, served, landed)
SELECT %(file_id)s, unnest(%(concerns)s::text[]), %(served)s, %(served)s
ON CONFLICT (file_id, concern) DO UPDATE SET held = NULL,
    served = greatest(file_concerns.served, excluded.served), landed = greatest(file_concerns.landed, excluded.landed),
    attempts = 0, fruitless = 0, next_try_at = NULL, last_error = NULL, last_error_at = NULL, first_error_at = NULL,
    lease_token = NULL, lease_worker = NULL, lease_at = NULL, lease_until = NULL
"""


_FETCHING = """
UPDATE file_freshness SET fetching_order = ordered
WHERE id = %(file_id)s AND fetching_order < ordered AND served < ordered
"""


def find(conn: Connection, file: FileRef) -> FileRow:
    """The file that portal code means. A lead's reference still answers after MLM turned it into a loan; a loan's as
    soon as the portal has made its row, though the read of loan fields is yet to come that makes the lead one.

    Raises:
        UnknownFile: we have no such file, or it is of the other kind and no row of this kind stands behind it.
    """
    found = find_by_ref(conn, file.ref)
    if found is None:
        raise UnknownFile(file.kind, file.ref)
    row_id = found.loan_id if file.kind == "loan" else found.lead_id
    if found.kind not in (None, file.kind) and row_id is None:
        raise UnknownFile(file.kind, file.ref)
    return found


def find_by_ref(conn: Connection, ref: str) -> FileRow | None:
    """The file with this reference number, whatever its kind."""
    file_id = conn.exec_driver_sql(_ID, {"ref": ref}).scalar()
    return file_row(conn, file_id) if file_id is not None else None


def find_by_number(conn: Connection, *numbers: str) -> list[int]:
    """The ids of the files that bear one of these loan numbers in our copy. A number may change, and be another's by
    now: who finds by it reads, and takes nobody's word."""
    return list(conn.exec_driver_sql(_BY_NUMBER, {"numbers": list(numbers)}).scalars())


def ensure(conn: Connection, ref: str) -> int:
    """The id of the file with this reference number, its row made if absent."""
    file_id = conn.exec_driver_sql(_ID, {"ref": ref}).scalar()
    if file_id is None:
        conn.exec_driver_sql(_ADD, {"ref": ref})
        # In a statement of its own: whoever added it first has committed only while we waited.
        file_id = conn.exec_driver_sql(_ID, {"ref": ref}).scalar_one()
    return int(file_id)


def refresh(conn: Connection, rules: Rules, file: FileRef, cause: str = "refresh") -> Placed:
    """Order a file again because somebody asked for it.

    Raises:
        UnknownFile: we have no such file.
    """
    return place(conn, find(conn, file).id, cause)


def import_file(conn: Connection, ref: str, cause: str = "import", backstop: str | None = None) -> Placed:
    """Order a file that we may not have yet: its row stands, with an order, before its first read."""
    return place(conn, ensure(conn, ref), cause, backstop=backstop)


def mirror_mark(
    conn: Connection, owner: Owner | None, v: dt.datetime | None, *, back: bool = False, hydrated: bool = False
) -> None:
    """Carry the mark to `mlm_last_modified_at` of the loan or lead where it moves; it goes back only with an epoch.

    `hydrated`: its own fields have landed. Locks the loan's or lead's row: before own writes and the file's.
    """
    if owner is not None and (v is not None or hydrated):
        parameters = {"id": owner.id, "v": v, "back": back and v is not None, "hydrated": hydrated}
        conn.exec_driver_sql(_MIRROR[owner.kind], parameters)


def owner_of(file: FileRow) -> Owner | None:
    """The loan or lead that stands behind a file, if one does: the loan, once a lead has become one."""
    if file.loan_id is not None and file.kind != "lead":
        return Owner("loan", file.loan_id)
    return Owner("lead", file.lead_id) if file.lead_id is not None else None


def tie(conn: Connection, file: FileRow, owner: Owner) -> bool:
    """Tie a file and its receipts to what its loan fields landed in; True if a lead has become a loan by it.

    The caller holds the file's lock. Slices of the lead that are at work lose their leases.
    """
    became_loan = file.kind == "lead" and owner.kind == "loan"
    parameters = {
        "file_id": file.id, "kind": owner.kind,
        "loan_id": owner.id if owner.kind == "loan" else None, "lead_id": owner.id if owner.kind == "lead" else None,
    }  # fmt: skip
    is_as_it_stood = owner_of(file) == owner
    if not is_as_it_stood or file.kind is None or file.not_found_at or file.deleted_at:
        conn.exec_driver_sql(_TIE, parameters)
    if not is_as_it_stood:
        conn.exec_driver_sql(_TIE_RECEIPTS, parameters)
    if became_loan:
        conn.exec_driver_sql(_VOID_LEASES, {"file_id": file.id})
    return became_loan


def mark_owner_deleted(conn: Connection, owner: Owner) -> None:
    """Set `deleted_at` of a loan or lead that MLM no longer has, if it is not set; its row and receipts stay."""
    conn.exec_driver_sql(_OWNER_DELETED[owner.kind], {"id": owner.id})


def mark_deleted(conn: Connection, rules: Rules, file: FileRow, *, order: int) -> None:
    """The file is gone from MLM: a new epoch that holds nothing, and every concern has served this order.

    A younger order (a webhook that came while MLM was asked) stands: the file may be back. One that was gone already
    stays so since then. Under the file's lock.
    """
    epochs.begin(conn, rules, file, None, asked_at=file.not_found_at or file.now)
    conn.exec_driver_sql(_DELETE_FILE, {"file_id": file.id, "now": file.now, "served": order})
    concerns = [concern.value for concern in rules.active]
    conn.exec_driver_sql(_SERVE_ALL, {"file_id": file.id, "concerns": concerns, "served": order})
    receipts.mark_served(conn, file.id, order, file.now)


def note_fetching(conn: Connection, file_id: int) -> bool:
    """Whether a deep fetch for the newest order was not announced yet; it counts as announced from now on. Not if that
    order is served by now, so that nobody hears of a fetch after its end, nor if the file is locked for long."""
    return within_patience(conn, _FETCHING, {"file_id": file_id}) == 1
