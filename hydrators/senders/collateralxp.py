"""CollateralXP: appraisal orders as rows, with their events, notes, files, revisions and payouts.

Where an order stands is `appraisal_states`' to say. Each column of it has the word of the event furthest on that said
something of it: what comes late fills, and does not overwrite; what an event does not say clears nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Applied, Landed

from .appraisal_fields import NOTE, TRANSFER, changed_on_purpose, file_row, one, own_time, snapshot
from .appraisal_states import (
    CANCELLED,
    CHANGED,
    CONDITION,
    CONDITIONS,
    FORWARD,
    RELEASES,
    REPEATED,
    REVISIONS,
    Effect,
    OrderState,
)
from .binding import Bound, Told, bind
from .rows import Row, clear, insert, sealed_aside, upsert
from .said import instant, label, mapping, money, read, text

_ORDERS = "appraisal_orders"
_CHILDREN = ("appraisal_events", "appraisal_revisions", "appraisal_notes", "appraisal_files", "appraisal_payouts")
_PAST = "(past vendors)"

_NOTES = {
    "ordering::note_added": "person",
    "ordering::lifecycle_note_added": "lifecycle",
    "ordering::note_added_from_integration": "integration",
}
_FILE_ADDED = "ordering::file_added"
_PAYOUT = "payouting::payout_completed"

#: What a vendor leaves behind when the order is taken back.
_OF_VENDOR = (
    "vendor_id", "vendor_name", "vendor_email", "vendor_phone", "vendor_license_number", "vendor_license_type",
    "vendor_license_state", "vendor_license_expires_at", "assignment_accepted_at",
)  # fmt: skip

_HELD = """
SELECT order_id, status, status_key, status_at, is_held, hold_reason, holds, vendor_id, loan_number, loan_id, lead_id,
       said_by
FROM appraisal_orders WHERE order_id = ANY(%(ids)s)
"""


class CollateralxpHydrator:
    """Lands CollateralXP's events."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """Every event is kept, and moves its order if it can; the order is tied to a loan by its number."""
        ids = sorted({each.sent.subject for each in applied if each.sent.kind == "order"})
        held = {row["order_id"]: dict(row) for row in conn.exec_driver_sql(_HELD, {"ids": ids}).mappings()}
        orders = {name: _Order(name, held.get(name, {})) for name in ids}
        batch = _Batch(keys)
        effects = [batch.take(each, orders.get(each.sent.subject)) for each in applied]
        bound = dict(zip(ids, bind(conn, [Told(orders[name].number) for name in ids]), strict=True))
        upsert(conn, _ORDERS, ("order_id",), [order.row(bound[order.name]) for order in orders.values()])
        written = batch.write(conn)
        return [
            _landed(effect, rows, orders.get(each.sent.subject), bound.get(each.sent.subject))
            for each, effect, rows in zip(applied, effects, written, strict=True)
        ]

    def clear(self, conn: Connection, kind: str, subject: str) -> None:
        """Empty the order's row, and take away what belongs to it."""
        if kind == "order":
            for table in _CHILDREN:
                conn.exec_driver_sql(f"DELETE FROM {table} WHERE order_id = %(id)s", {"id": subject})  # noqa: S608
            defaults = {"is_held": "false", "holds": "0", "said_by": "'{}'"}
            clear(conn, _ORDERS, ("order_id",), {"order_id": subject}, **defaults)
        else:
            unnamed = {"event": subject}
            conn.exec_driver_sql("DELETE FROM appraisal_events WHERE order_id IS NULL AND event = %(event)s", unnamed)


class _Order:
    """One order, as its events are taken one after the other."""

    def __init__(self, name: str, held: Mapping[str, Any]) -> None:
        self.name = name
        self.said_by: dict[str, str] = dict(held.get("said_by") or {})
        past = self.said_by.get(_PAST, "")
        rounds, _, place = (held.get("status_key") or "0.0").partition(".")
        self.state = OrderState(
            int(rounds), int(place), held.get("status"), held.get("status_at"), held.get("is_held") or False,
            held.get("holds") or 0, held.get("hold_reason"), held.get("vendor_id"), past.split("\n") if past else [],
        )  # fmt: skip
        self.columns: Row = {}
        self.number: str | None = held.get("loan_number")
        self.held = Bound(held.get("loan_id"), held.get("lead_id"), "bound by number")

    def take(self, event: str, data: Mapping[str, Any], columns: Row) -> Effect:
        """Move as the event says, and note what it says of the order."""
        own_at = own_time(event, data)
        rounds = self.state.round
        effect = self.state.take(event, one(label, data.get("vendor_id")), own_at, one(text, data.get("reason")))
        if self.state.round > rounds and event not in REVISIONS:
            self._say(dict.fromkeys(_OF_VENDOR), self.state.key_of(25, None))
        of_past = self.state.is_of_past(event, one(label, data.get("vendor_id")))
        if event in RELEASES or of_past:
            columns = {name: value for name, value in columns.items() if name not in _OF_VENDOR}
        place = FORWARD[event][0] if event in FORWARD and not of_past else REPEATED
        self._say(columns, self.state.key_of(place, own_at))
        if event in CONDITIONS:
            self._say({"assignment_conditions": CONDITIONS[event]}, self.state.key_of(CONDITION, None))
        self._say(changed_on_purpose(event, data), self.state.key_of(CHANGED, None))
        self.state.vendor_id = self.columns.get("vendor_id", self.state.vendor_id)
        self.number = self.columns.get("loan_number", self.number)
        return effect

    def row(self, bound: Bound) -> Row:
        """What is to be written of it."""
        state = self.state
        if state.past:
            self.said_by[_PAST] = "\n".join(state.past)
        row = self.columns | {
            "order_id": self.name, "status": state.status, "status_key": state.key, "status_at": state.status_at,
            "is_held": state.is_held, "hold_reason": state.hold_reason, "holds": state.holds, "said_by": self.said_by,
        }  # fmt: skip
        return row | ({"loan_id": bound.loan_id, "lead_id": bound.lead_id} if bound.is_bound else {})

    def _say(self, columns: Row, key: str) -> None:
        for column, value in columns.items():
            if key >= self.said_by.get(column, ""):
                self.columns[column], self.said_by[column] = value, key


class _Batch:
    """The rows beside orders that a batch of events becomes, and how many each event has."""

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self._events: list[Row] = []
        self._revisions: list[Row] = []
        self._keyed: dict[str, list[Row]] = {"appraisal_notes": [], "appraisal_files": [], "appraisal_payouts": []}
        self._counts: list[int] = []

    def take(self, applied: Applied, order: _Order | None) -> Effect:
        """One event."""
        event, data = applied.sent.event or "", mapping(applied.sent.payload.get("data"))
        name = order.name if order else None
        columns, rest = snapshot(data)
        effect = order.take(event, data, columns) if order else Effect.NOTED
        before = self._count()
        reason = data.get("cancel_reason") if event == CANCELLED else data.get("reason")
        self._events.append(
            {
                "order_id": name,
                "event": event,
                "own_at": own_time(event, data),
                "effect": effect.value,
                "received_at": applied.received_at,
                "status_after": order.state.status if order else None,
                "reason": one(text, reason),
                **sealed_aside(rest if order else data, self._keys),
            }
        )
        if order is not None:
            self._of_order(event, data, order.name, applied)
        self._counts.append(self._count() - before + (order is not None))
        return effect

    def write(self, conn: Connection) -> list[int]:
        """Write them; how many rows each event came to."""
        insert(conn, "appraisal_events", self._events)
        insert(conn, "appraisal_revisions", self._revisions)
        upsert(conn, "appraisal_notes", ("note_id",), self._keyed["appraisal_notes"])
        upsert(conn, "appraisal_files", ("order_id", "file_key"), self._keyed["appraisal_files"])
        upsert(conn, "appraisal_payouts", ("order_id", "payout_id"), self._keyed["appraisal_payouts"])
        return self._counts

    def _count(self) -> int:
        return len(self._events) + len(self._revisions) + sum(map(len, self._keyed.values()))

    def _of_order(self, event: str, data: Mapping[str, Any], order_id: str, applied: Applied) -> None:
        files = _list(data, "files") if event != _FILE_ADDED else [data]
        note_id = one(label, data.get("note_id"))
        if event in REVISIONS:
            said = {"user_id": one(text, data.get("user_id")), "content": one(text, data.get("content"))}
            asked = {"order_id": order_id, "asked_by": REVISIONS[event], "received_at": applied.received_at}
            self._revisions.append(asked | said)
        if event in _NOTES and note_id:
            said = read({key: value for key, value in data.items() if key in NOTE}, NOTE)[0]
            self._keyed["appraisal_notes"].append(
                {**said, "note_id": note_id, "order_id": order_id, "source": _NOTES[event]}
            )
            files = [*_list(data, "attachment_resources"), *_list(data, "attachment_sgids")]
        of_note = note_id if event in _NOTES else None
        self._keyed["appraisal_files"] += [row for each in files if (row := file_row(each, order_id, of_note))]
        if event == _PAYOUT and (row := _payout(data, applied.sent.payload.get("transfer"), order_id)):
            self._keyed["appraisal_payouts"].append(row)


def _payout(data: Mapping[str, Any], place: Any, order_id: str) -> Row | None:
    """One transfer. Its amount is cents beside the payout's dollars (1300 beside 13), unless the transfers add up to
    the payout's own number: then both are dollars."""
    payout_id = one(label, data.get("payout_id"))
    transfers = _list(data, "transfers")
    if payout_id is None or not isinstance(place, int):
        return None
    said = mapping(transfers[place])
    total = sum((one(money, mapping(each).get("amount")) or Decimal(0) for each in transfers), Decimal(0))
    whole, amount = one(money, data.get("amount")), one(money, said.get("amount"))
    unit = 1 if whole == total else 100
    return read({key: value for key, value in said.items() if key in TRANSFER}, TRANSFER)[0] | {
        "order_id": order_id, "payout_id": payout_id, "amount": None if amount is None else amount / unit,
        "amount_said": one(text, said.get("amount")), "payout_amount": whole,
        "vendor_id": one(text, data.get("vendor_id")), "check_number": one(text, data.get("check_number")),
        "completed_at": one(instant, data.get("completed_at")),
    }  # fmt: skip


def _landed(effect: Effect, rows: int, order: _Order | None, bound: Bound | None) -> Landed:
    if order is None or bound is None:
        return Landed(rows, note="no order is named")
    file = bound if bound.is_bound or not order.held.is_bound else order.held
    kept = f"{effect.value}: kept, the order stays where it is; " if effect in (Effect.OLDER, Effect.IMPOSSIBLE) else ""
    return Landed(rows, file.loan_id, file.lead_id, f"{kept}{file.how}")


def _list(data: Mapping[str, Any], name: str) -> list[Any]:
    said = data.get(name)
    return said if isinstance(said, list) else []
