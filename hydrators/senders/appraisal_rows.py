"""What hangs on an order of CollateralXP's: revisions, notes, files and payouts as rows.

A note and a transfer are rows by what their newest version says, all of it: newest by its own time, and what has none
is older than what has one. Of files, which have no time, the last arrival's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from freshness.ledger.sendings import Applied

from .appraisal_fields import NOTE, TRANSFER, file_row, one
from .appraisal_states import REVISIONS
from .rows import Row, inserts, upsert, write
from .said import instant, label, mapping, money, read, text

#: Events that are notes, and who made them.
NOTES = {
    "ordering::note_added": "person",
    "ordering::lifecycle_note_added": "lifecycle",
    "ordering::note_added_from_integration": "integration",
}
PAYOUT = "payouting::payout_completed"
_FILE_ADDED = "ordering::file_added"

_WHOSE = "SELECT note_id, order_id FROM appraisal_notes WHERE note_id = ANY(%(ids)s)"

_NEITHER = "the transfers add up to neither the payout's dollars nor its cents: taken as cents"


class Children:
    """The rows that a batch of events becomes beside their orders."""

    def __init__(self) -> None:
        self._revisions: list[Row] = []
        self._notes: list[Row] = []
        self._files: list[Row] = []
        self._payouts: list[Row] = []

    def take(self, event: str, data: Mapping[str, Any], order_id: str, applied: Applied) -> tuple[int, str | None]:
        """One event of this order: how many rows it came to, and what its receipt is to say of them."""
        note_id = one(label, data.get("note_id")) if event in NOTES else None
        revisions = [_revision(event, data, order_id, applied)] if event in REVISIONS else []
        notes = [_note(event, data, order_id, note_id)] if note_id else []
        named = (row for each in _files(event, data, note_id) if (row := file_row(each, order_id, note_id)))
        files = list(named)
        payout, odd = (
            _payout(data, applied.sent.payload.get("transfer"), order_id) if event == PAYOUT else (None, False)
        )
        self._revisions += revisions
        self._notes += notes
        self._files += files
        self._payouts += [payout] if payout else []
        return len(revisions) + len(notes) + len(files) + bool(payout), _NEITHER if odd else None

    def write(self, conn: Connection) -> None:
        """Write them."""
        write(conn, inserts("appraisal_revisions", self._revisions))
        if self._notes:
            _write_notes(conn, self._notes)
        upsert(conn, "appraisal_files", ("order_id", "file_key"), self._files)
        upsert(conn, "appraisal_payouts", ("order_id", "payout_id"), self._payouts, newest_by="completed_at")


def _write_notes(conn: Connection, notes: Sequence[Row]) -> None:
    """Each under its id; if a note of another order has it, be it since this moment, under that and its order's."""
    ids = sorted({note["note_id"] for note in notes})
    whose = _whose(conn, ids)
    own = [note for note in notes if whose.setdefault(note["note_id"], note["order_id"]) == note["order_id"]]
    upsert(conn, "appraisal_notes", ("note_id",), own, newest_by="note_added_at", only_of="order_id")
    whose = _whose(conn, ids)
    others = [
        {**note, "note_id": f"{note['note_id']} of {note['order_id']}"}
        for note in notes
        if whose[note["note_id"]] != note["order_id"]
    ]
    upsert(conn, "appraisal_notes", ("note_id",), others, newest_by="note_added_at")


def _whose(conn: Connection, ids: Sequence[str]) -> dict[str, str]:
    return {row.note_id: row.order_id for row in conn.exec_driver_sql(_WHOSE, {"ids": ids})}


def _revision(event: str, data: Mapping[str, Any], order_id: str, applied: Applied) -> Row:
    said = {"user_id": one(text, data.get("user_id")), "content": one(text, data.get("content"))}
    return {"order_id": order_id, "asked_by": REVISIONS[event], "received_at": applied.received_at, **said}


def _note(event: str, data: Mapping[str, Any], order_id: str, note_id: str) -> Row:
    said = read({key: value for key, value in data.items() if key in NOTE}, NOTE)[0]
    unsaid = {column: None for column, _ in NOTE.values()}
    return {**unsaid, **said, "note_id": note_id, "order_id": order_id, "source": NOTES[event]}


def _files(event: str, data: Mapping[str, Any], note_id: str | None) -> list[Any]:
    if event == _FILE_ADDED:
        return [data]
    if note_id:
        return [*_list(data, "attachment_resources"), *_list(data, "attachment_sgids")]
    return _list(data, "files")


def _payout(data: Mapping[str, Any], place: Any, order_id: str) -> tuple[Row | None, bool]:
    """One transfer, and whether its unit is doubtful. Its amount is cents beside the payout's dollars (1300 beside 13),
    unless the transfers add up to the payout's own number: then both are dollars."""
    payout_id = one(label, data.get("payout_id"))
    transfers = _list(data, "transfers")
    if payout_id is None or not isinstance(place, int):
        return None, False
    said = mapping(transfers[place])
    total = sum((one(money, mapping(each).get("amount")) or Decimal(0) for each in transfers), Decimal(0))
    whole, amount = one(money, data.get("amount")), one(money, said.get("amount"))
    unit = 1 if whole == total else 100
    row: Row = {column: None for column, _ in TRANSFER.values()}
    row |= read({key: value for key, value in said.items() if key in TRANSFER}, TRANSFER)[0]
    siblings = [each for each in transfers if one(label, mapping(each).get("order_id")) == order_id]
    behind = f" {row['transfer_id'] or f'#{place}'}" if len(siblings) > 1 else ""
    row |= {
        "order_id": order_id, "payout_id": f"{payout_id}{behind}",
        "amount": None if amount is None else amount / unit, "amount_said": one(text, said.get("amount")),
        "payout_amount": whole, "vendor_id": one(text, data.get("vendor_id")),
        "check_number": one(text, data.get("check_number")), "completed_at": one(instant, data.get("completed_at")),
    }  # fmt: skip
    return row, amount is not None and whole not in (total, total / 100)


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    said = data.get(name)
    return said if isinstance(said, list) else []
