"""CollateralXP: appraisal orders as rows, with their events, notes, files, revisions and payouts.

Where an order stands is `appraisal_states`' to say. Each column of it has the word of the event furthest on that said
something of it: what comes late fills, and does not overwrite; what an event does not say clears nothing. An event that
proves which it is (by a time, a note or a payout of its own) and says the same again is a duplicate, whatever came
between; a hold or a revision is, as long as the order stands there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.arrays import array, arrays, unnested
from freshness.ledger.sendings import Applied, Beside, Landed
from freshness.sending import UNORDERED, Landing, Verdict

from .appraisal_fields import changed_on_purpose, one, own_time, snapshot
from .appraisal_rows import NOTES, PAYOUT, Children
from .appraisal_states import (
    BY_OWN_TIME,
    CANCELLED,
    CONDITION,
    CONDITIONS,
    FORWARD,
    HOLDS,
    ON_PURPOSE,
    RELEASES,
    RESUMED,
    REVISIONS,
    UNASSIGNED,
    Effect,
    OrderState,
)
from .binding import Bound, Told, bind
from .rows import Row, beside, clear, inserts, sealed_aside, upserts
from .said import label, mapping, text

_ORDERS = "appraisal_orders"
_CHILDREN = ("appraisal_events", "appraisal_revisions", "appraisal_notes", "appraisal_files", "appraisal_payouts")
_PAST, _ASSIGNED = "(past vendors)", "(assigned vendors)"

#: Events that the order's state decides on.
_OF_STATE = frozenset(FORWARD) | RELEASES | HOLDS | frozenset(REVISIONS) | {RESUMED}

#: Events without a mark of their own, that are known again while what they brought about lasts.
_LASTING = HOLDS | frozenset(REVISIONS)

_REPEATED = Verdict(Landing.DUPLICATE, "this very event was applied before")

#: What a vendor leaves behind when the order is taken back.
_OF_VENDOR = (
    "vendor_id", "vendor_name", "vendor_email", "vendor_phone", "vendor_license_number", "vendor_license_type",
    "vendor_license_state", "vendor_license_expires_at", "assignment_accepted_at",
)  # fmt: skip

_SAID = (("of", "text"), ("said", "bytea"))

# One value in all: what SQLAlchemy and psycopg do for each column of a result takes as long as the query (measured).
_HELD = f"""
SELECT coalesce(json_agg(held), '[]')::text FROM (
    SELECT order_id, status, status_key, status_at, is_held, hold_reason, holds, vendor_id, loan_number, loan_id,
           lead_id, assignment_accepted_at, said_by, ARRAY(
               SELECT encode(e.same, 'hex') FROM {unnested(_SAID)} AS asked (order_id, same)
               JOIN appraisal_events e ON e.order_id = asked.order_id AND e.same = asked.same
               WHERE asked.order_id = o.order_id
           ) AS said_before
    FROM appraisal_orders o WHERE order_id = ANY(%(ids)s::text[])
) held
"""  # noqa: S608 - column names of ours


class _Held(msgspec.Struct, frozen=True):
    """What is held of an order; `said_before`: which of the digests asked for its events have, as hexadecimal."""

    order_id: str
    status: str | None = None
    status_key: str | None = None
    status_at: dt.datetime | None = None
    is_held: bool = False
    hold_reason: str | None = None
    holds: int = 0
    vendor_id: str | None = None
    loan_number: str | None = None
    loan_id: int | None = None
    lead_id: int | None = None
    assignment_accepted_at: dt.datetime | None = None
    said_by: dict[str, str] = {}
    said_before: tuple[str, ...] = ()


_held_orders = msgspec.json.Decoder(tuple[_Held, ...])


class CollateralxpHydrator:
    """Lands CollateralXP's events."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """Every event is kept, and moves its order if it can; the order is tied to a loan by its number."""
        ids = sorted({each.sent.subject for each in applied if each.sent.kind == "order"})
        known, batch = _Known(applied), _Batch(keys)
        found = conn.exec_driver_sql(_HELD, {"ids": array("text", ids), **arrays(_SAID, known.asked)})
        held = _held_orders.decode(found.scalar_one())
        known.found(held)
        there = {each.order_id: each for each in held}
        orders = {name: _Order(there.get(name) or _Held(name)) for name in ids}
        taken = [
            None if known.has(each, order) else batch.take(each, order, known.digest(each))
            for each, order in ((each, orders.get(each.sent.subject)) for each in applied)
        ]
        bound = dict(zip(ids, bind(conn, [Told(orders[name].number) for name in ids]), strict=True))
        batch.write_children(conn)
        first, *landed = [
            _landed(each, what, orders.get(each.sent.subject), bound.get(each.sent.subject))
            for each, what in zip(applied, taken, strict=True)
        ]
        rows = [order.row(bound[order.name]) for order in orders.values()]
        return [replace(first, beside=batch.beside(rows)), *landed]

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


class _Known:
    """Which events may be known again, and which of those were applied before: by the digest of all they say."""

    def __init__(self, applied: Sequence[Applied]) -> None:
        maybe = [each for each in applied if _may_be_known(each)]
        self._of = {id(each): each.sent.content for each in maybe}
        self._seen: set[tuple[str, bytes]] = set()
        #: What to look for among the events: orders, and digests.
        self.asked = [(each.sent.subject, digest) for each in maybe for digest in each.sent.content]

    def found(self, held: Iterable[_Held]) -> None:
        """These orders are there, with what was said of them before."""
        self._seen = {(each.order_id, bytes.fromhex(digest)) for each in held for digest in each.said_before}

    def digest(self, each: Applied) -> bytes | None:
        """What is to be kept of it."""
        return self._of[id(each)][0] if id(each) in self._of else None

    def has(self, each: Applied, order: _Order | None) -> bool:
        """Whether this very event was applied to its order before; from now on it was."""
        digests = {(each.sent.subject, digest) for digest in self._of.get(id(each), ())}
        known = bool(digests & self._seen)
        self._seen |= digests
        lasting = (each.sent.event or "") in _LASTING
        return known and order is not None and (not lasting or order.state.stands_at(each.sent.event or ""))


def _may_be_known(applied: Applied) -> bool:
    event, data = applied.sent.event or "", mapping(applied.sent.payload.get("data"))
    named = (event in NOTES and one(label, data.get("note_id"))) or (event == PAYOUT and data.get("payout_id"))
    return applied.sent.kind == "order" and bool(named or own_time(event, data) or event in _LASTING)


class _Order:
    """One order, as its events are taken one after the other."""

    def __init__(self, held: _Held) -> None:
        self.name = held.order_id
        self.said_by = dict(held.said_by)
        rounds, _, place = (held.status_key or "0.0").partition(".")
        self.state = OrderState(
            int(rounds), int(place), held.status, held.status_at, held.is_held, held.holds, held.hold_reason,
            held.vendor_id, held.assignment_accepted_at, self._listed(_PAST), self._listed(_ASSIGNED),
        )  # fmt: skip
        self.columns: Row = {}
        self.number = held.loan_number
        self.held = Bound(held.loan_id, held.lead_id, "bound by number")

    def take(self, event: str, data: Mapping[str, Any], own_at: dt.datetime | None) -> Effect:
        """Move as the event says, and note what it says of the order."""
        state, columns, vendor_id = self.state, snapshot(data), one(label, data.get("vendor_id"))
        effect = state.take(event, vendor_id, own_at, one(text, data.get("reason")))
        if state.left:
            self._say(dict.fromkeys(_OF_VENDOR), state.key_of(UNASSIGNED))
        if event in RELEASES or state.is_of_another(vendor_id):
            columns = {name: value for name, value in columns.items() if name not in _OF_VENDOR}
        self._say(columns, state.key_of_said(event, vendor_id, own_at, effect))
        if event in CONDITIONS:
            gone = state.is_of_another(vendor_id)
            condition = {"assignment_conditions": CONDITIONS[event]}
            self._say(condition, OrderState().key_of(CONDITION) if gone else state.key_of(CONDITION))
        self._say(changed_on_purpose(event, data), ON_PURPOSE)
        state.settle(
            self.columns.get("vendor_id", state.vendor_id),
            self.columns.get("assignment_accepted_at", state.accepted_at),
        )
        self.number = self.columns.get("loan_number", self.number)
        return effect

    def row(self, bound: Bound) -> Row:
        """What is to be written of it."""
        state = self.state
        for name, vendors in ((_PAST, state.past), (_ASSIGNED, state.assigned)):
            if vendors or name in self.said_by:
                self.said_by[name] = "\n".join(vendors)
        row = self.columns | {
            "order_id": self.name, "status": state.status, "status_key": state.key, "status_at": state.status_at,
            "is_held": state.is_held, "hold_reason": state.hold_reason, "holds": state.holds, "said_by": self.said_by,
        }  # fmt: skip
        return row | ({"loan_id": bound.loan_id, "lead_id": bound.lead_id} if bound.is_bound else {})

    def _listed(self, name: str) -> list[str]:
        said = self.said_by.get(name)
        return said.split("\n") if said else []

    def _say(self, columns: Row, key: str) -> None:
        for column, value in columns.items():
            if key >= self.said_by.get(column, ""):
                self.columns[column], self.said_by[column] = value, key


@dataclass(frozen=True)
class _Taken:
    """What an event came to."""

    effect: Effect
    by: str
    rows: int
    note: str | None


class _Batch:
    """The events that are taken, and the rows beside orders that they become."""

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self._events: list[Row] = []
        self._children = Children()

    def take(self, applied: Applied, order: _Order | None, same: bytes | None) -> _Taken:
        """One event; of one that names no order only that it came."""
        event, data = applied.sent.event or "", mapping(applied.sent.payload.get("data"))
        own_at = own_time(event, data)
        effect = order.take(event, data, own_at) if order else Effect.NOTED
        reason = data.get("cancel_reason") if event == CANCELLED else data.get("reason")
        self._events.append(
            {
                "order_id": order.name if order else None,
                "event": event,
                "own_at": own_at,
                "effect": effect.value,
                "received_at": applied.received_at,
                "status_after": order.state.status if order else None,
                "reason": one(text, reason),
                "same": same,
                **sealed_aside(data, self._keys),
            }
        )
        if order is None:
            return _Taken(effect, UNORDERED, 1, None)
        rows, note = self._children.take(event, data, order.name, applied)
        timed = BY_OWN_TIME if own_at else UNORDERED
        return _Taken(effect, order.state.by if event in _OF_STATE else timed, rows + 2, note)

    def write_children(self, conn: Connection) -> None:
        """Write what hangs on the orders."""
        self._children.write(conn)

    def beside(self, orders: Sequence[Row]) -> Beside | None:
        """The orders and the events, which are written with the receipts."""
        writes = [*upserts(_ORDERS, ("order_id",), orders), *inserts("appraisal_events", self._events)]
        return beside("appraisals", writes) if writes else None


def _landed(applied: Applied, taken: _Taken | None, order: _Order | None, bound: Bound | None) -> Landed:
    if order is None or bound is None:
        return Landed(1, note="no order is named")
    file = bound if bound.is_bound or not order.held.is_bound else order.held
    if taken is None:
        return Landed(0, file.loan_id, file.lead_id, file.how, _REPEATED)
    stays = taken.effect in (Effect.OLDER, Effect.IMPOSSIBLE)
    kept = f"{taken.effect.value}: kept, the order stays where it is" if stays else None
    told = "; ".join(each for each in (kept, taken.note, file.how) if each)
    return Landed(taken.rows, file.loan_id, file.lead_id, told, Verdict(Landing.APPLIED, taken.by))
