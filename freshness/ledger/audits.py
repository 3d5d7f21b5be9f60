"""Audits: a whole file read from MLM is held against our copy, and what differs though it should not is counted.

A difference counts as missed only if the copy had no excuse: the file called itself fresh, at the very stamp that the
read bore, and no own write was under way. Any other is an ordinary change, and is ordered like one; in a file without a
stamp nothing else would find it. Nothing lands here: slices do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from ..bell import Ring
from ..concerns import Concern
from ..rules import Rules
from ..state import State
from . import confirmations, own_writes, unconfirmed
from .backstops import Backstop
from .confirmations import Asking, stamp_shown
from .files import Owner, owner_of
from .orders import place
from .own_writes import Seen
from .rows import concern_rows, file_row

#: How many of the file's receipts the trail of a missed change names.
TRAIL = 12


class Claim(StrEnum):
    """What the copy says of itself, so that rows that differ mean something: equal to MLM at just this stamp, or as
    good as can be told of a file without one."""

    EQUAL = "equal"
    UNSTAMPED = "unstamped"


@dataclass(frozen=True, slots=True)
class Auditing:
    """An audit under way: the file, what stands behind it, and its own writes before MLM was asked."""

    asking: Asking
    owner: Owner
    writes: Seen

    @property
    def ref(self) -> str:
        """What to read."""
        return self.asking.ref


@dataclass(frozen=True, slots=True)
class Found:
    """What an audit came to: rows missed by concern, the receipts before it, its order, rings for after the commit."""

    missed: Mapping[str, int]
    receipts: tuple[int, ...] = ()
    order: int | None = None
    rings: tuple[Ring, ...] = ()


_TRAIL = """
SELECT id FROM mlm_webhook_receipts WHERE file_id = %(file_id)s ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""

_MISSED = """
INSERT INTO missed_changes (file_id, concern, stamp, rows, order_number, receipts)
VALUES (%(file_id)s, %(concern)s, %(stamp)s, %(rows)s, %(order)s, %(receipts)s)
"""


def begin(conn: Connection, file_id: int) -> Auditing | None:
    """What to read for an audit; None if there is no copy to audit."""
    file = file_row(conn, file_id)
    owner = owner_of(file) if file is not None and file.is_there else None
    if file is None or owner is None:
        return None
    return Auditing(Asking(file.id, file.ref, file.epoch, file.now), owner, own_writes.seen(conn, file.id))


def claim(conn: Connection, rules: Rules, auditing: Auditing, stamp_text: str | None) -> Claim | None:
    """What the copy claims, in this transaction's one snapshot; None if rows may differ for good reason.

    No own write may be under way, or have ended since MLM was asked: its local half would be such a difference.
    """
    file = file_row(conn, auditing.asking.file_id)
    if file is None or file.epoch != auditing.asking.epoch or owner_of(file) != auditing.owner:
        return None
    if own_writes.seen(conn, file.id).under_way or own_writes.exited_since(conn, file.id, auditing.writes):
        return None
    concerns = concern_rows(conn, rules, file)
    v, state = stamp_shown(conn, rules, stamp_text, file.now), unconfirmed.state(conn, file, concerns)
    if v is None:
        return Claim.UNSTAMPED if state is State.UNSTAMPED and file.served >= file.ordered else None
    return Claim.EQUAL if state is State.FRESH and all(row.held == v for row in concerns.values()) else None


def finish(
    conn: Connection,
    rules: Rules,
    auditing: Auditing,
    stamp_text: str | None,
    differing: Mapping[Concern, int],
    claimed: Claim | None,
) -> Found:
    """Take in what an audit found. Rows that differ are ordered, and written down as missed if the copy claimed to be
    equal; if none do, the stamp is a confirmation's.

    Raises:
        LeaseLost: the file moved while this transaction ran; try again.
    """
    file_id = auditing.asking.file_id
    if not differing:
        return Found({}, rings=confirmations.finish(conn, rules, auditing.asking, stamp_text, Backstop.AUDIT))
    placed = place(conn, file_id, "the audit found rows that differ from MLM", backstop=Backstop.AUDIT)
    if claimed is not Claim.EQUAL:
        return Found({}, rings=placed.rings)
    receipts = tuple(conn.exec_driver_sql(_TRAIL, {"file_id": file_id, "limit": TRAIL}).scalars())
    v = stamp_shown(conn, rules, stamp_text, conn.exec_driver_sql("SELECT mlm_now()").scalar_one())
    trail = {"file_id": file_id, "stamp": v, "order": placed.number, "receipts": list(receipts)}
    for concern, rows in differing.items():
        conn.exec_driver_sql(_MISSED, {**trail, "concern": concern.value, "rows": rows})
    return Found({c.value: rows for c, rows in differing.items()}, receipts, placed.number, placed.rings)


def not_found(conn: Connection, rules: Rules, auditing: Auditing) -> tuple[Ring, ...]:
    """MLM does not have the file: ordered; its loan-fields slice decides."""
    return confirmations.not_found(conn, rules, auditing.asking, Backstop.AUDIT)
