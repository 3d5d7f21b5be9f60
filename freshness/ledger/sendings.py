"""Deliveries of other senders: every entry decided, its rows landed, bodies and receipts written, set-wise.

Subjects are locked first, in the order of their names, so that deliveries cannot deadlock; entries of one subject are
decided in their order, each against what the one before has left. What came before its subject began is kept, and
applied right after the beginning. The caller owns the transaction, and answers after its commit.
"""

from __future__ import annotations

import datetime as dt
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from ..sending import Landing, Sent, SubjectState, Verdict, decide
from . import body_keys
from .arrays import arrays, unnested
from .body_keys import BodyKeys, WeekKey
from .spent import Once, spend


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body: whose, and the entries in it. `received_at` is for one that had to wait; None is now. `once`: what
    proved it, if that proves nothing else."""

    sender: str
    body: str = field(repr=False)
    entries: Sequence[Sent]
    received_at: dt.datetime | None = None
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """An entry whose rows are to land."""

    sent: Sent
    received_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Beside:
    """Rows that are written in one statement with the receipts: what goes into its `WITH`, under names that are the
    sender's own, and the parameters. Nothing of them may hang on the order in which they are written."""

    queries: str
    parameters: Mapping[str, Any] = field(repr=False)

    def write(self, conn: Connection) -> None:
        """Write them now, where there are no such receipts."""
        conn.exec_driver_sql(f"WITH {self.queries} SELECT", self.parameters)


@dataclass(frozen=True, slots=True)
class Landed:
    """What an entry's rows came to: how many were written, the file they are tied to, what the receipt is to say; and
    what became of it, where the rows alone could tell. `beside`: what is still to be written; one entry of those that
    landed together has it for all."""

    rows: int
    loan_id: int | None = None
    lead_id: int | None = None
    note: str | None = None
    verdict: Verdict | None = None
    beside: Beside | None = None


#: Lands the rows of entries, in their order; one answer each.
Hydrate = Callable[[Connection, Sequence[Applied]], Sequence[Landed]]

#: The entries of a body of this sender's, received then, decoded once more.
Reopen = Callable[[str, str, dt.datetime], Sequence[Sent]]


@dataclass(frozen=True, slots=True)
class Received:
    """What each entry became, in their order, and whose each was."""

    landings: tuple[Landing, ...] = ()
    senders: tuple[str, ...] = ()


def counts(landings: Sequence[Landing]) -> dict[str, int]:
    """How many entries became what, as the answer to their sender says it."""
    found = Counter(landing.counted_as for landing in landings)
    return {"received": len(landings), **{name: found[name] for name in ("applied", "waiting", "skipped", "rejected")}}


@dataclass(slots=True)
class _Subject:
    """One subject, as its entries are decided one after the other."""

    id: int
    state: SubjectState
    entries: int
    stored_waiting: int
    waiting: list[_Receipt] = field(default_factory=list)


@dataclass(slots=True)
class _Receipt:
    """One entry on its way to its receipt; `number` is its subject's count."""

    sent: Sent
    received_at: dt.datetime
    verdict: Verdict
    subject: _Subject | None = None
    number: int | None = None
    body_id: uuid.UUID | None = None
    place: int | None = None
    landed: Landed = field(default_factory=lambda: Landed(0))


_NAMED = (("n_sender", "text"), ("n_kind", "text"), ("n_subject", "text"))

# What follows in the transaction is planned once for all deliveries: it is by keys alone.
_LOCK = f"""
INSERT INTO sender_subjects AS s (sender, kind, subject)
SELECT sender, kind, subject FROM {unnested(_NAMED)} AS named (sender, kind, subject)
ORDER BY sender COLLATE "C", kind COLLATE "C", subject COLLATE "C"
ON CONFLICT (sender, kind, subject) DO UPDATE SET subject = excluded.subject
RETURNING s.id, s.sender, s.kind, s.subject, s.order_key, s.content, s.begun, s.waiting, s.entries,
          mlm_now() AS now, {body_keys.THIS_WEEK},
          set_config('plan_cache_mode', 'force_generic_plan', true)
"""  # noqa: S608 - column names of ours

# A subject whose name is a digest has another under each key. Of several that older keys have named, the latest.
_FORMER = (("f_sender", "text"), ("f_kind", "text"), ("f_older", "text"), ("f_newest", "text"))
_NAME_ANEW = f"""
UPDATE sender_subjects s SET subject = x.newest FROM (
    SELECT DISTINCT ON (f.sender, f.kind, f.newest) o.id, f.newest
    FROM {unnested(_FORMER)} AS f (sender, kind, older, newest)
    JOIN sender_subjects o ON (o.sender, o.kind, o.subject) = (f.sender, f.kind, f.older)
    WHERE NOT EXISTS (
        SELECT FROM sender_subjects n WHERE (n.sender, n.kind, n.subject) = (f.sender, f.kind, f.newest)
    ) ORDER BY f.sender, f.kind, f.newest, o.id DESC
) x WHERE s.id = x.id
"""  # noqa: S608 - column names of ours

_NOW = f"SELECT mlm_now() AS now, {body_keys.THIS_WEEK}"

_WAITING = f"""
SELECT r.subject_id, r.subject_number, r.received_at, r.body_place, r.sender, {body_keys.COLUMNS}
FROM mlm_webhook_receipts r JOIN sender_bodies b ON b.id = r.body_id {body_keys.JOIN}
WHERE r.subject_id = ANY(%(ids)s) AND r.outcome = 'waiting' ORDER BY r.subject_id, r.subject_number
"""  # noqa: S608 - column names of ours

_COLUMNS = (
    ("received_at", "timestamptz"),
    ("sender", "text"),
    ("subject", "text"),
    ("subject_id", "bigint"),
    ("subject_number", "bigint"),
    ("body_id", "uuid"),
    ("body_place", "int"),
    ("loan_id", "bigint"),
    ("lead_id", "bigint"),
    ("loan_number", "text"),
    ("event_type", "text"),
    ("last_modified_text", "text"),
    ("outcome", "text"),
    ("reason", "text"),
    ("rows_changed", "int"),
    ("data_updated_at", "timestamptz"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_SUBJECTS = (
    ("s_id", "bigint"),
    ("s_key", "text"),
    ("s_content", "bytea"),
    ("s_begun", "boolean"),
    ("s_waiting", "int"),
    ("s_entries", "bigint"),
)
_BODIES = (
    ("b_id", "uuid"),
    ("b_sender", "text"),
    ("b_at", "timestamptz"),
    ("b_sealed", "bytea"),
    ("b_week", "date"),
)

_STORE = f"""
bodies AS (
    INSERT INTO sender_bodies (id, sender, received_at, body_encrypted, key_week) SELECT * FROM {unnested(_BODIES)}
), subjects AS (
    UPDATE sender_subjects s SET order_key = x.order_key, content = x.content, begun = x.begun, waiting = x.waiting,
           entries = x.entries
    FROM {unnested(_SUBJECTS)} AS x (id, order_key, content, begun, waiting, entries)
    WHERE s.id = x.id
)
INSERT INTO mlm_webhook_receipts ({_NAMES})
SELECT {_NAMES} FROM {unnested(_COLUMNS)} WITH ORDINALITY AS r ({_NAMES}, place) ORDER BY place
"""  # noqa: S608 - column names of ours

_WAITED = """
UPDATE mlm_webhook_receipts r SET outcome = x.outcome, reason = x.reason, rows_changed = x.rows_changed,
       data_updated_at = x.data_updated_at, loan_id = x.loan_id, lead_id = x.lead_id
FROM jsonb_to_recordset(%(receipts)s::jsonb) AS x (subject_id bigint, subject_number bigint, outcome text, reason text,
     rows_changed int, data_updated_at timestamptz, loan_id bigint, lead_id bigint)
WHERE r.subject_id = x.subject_id AND r.subject_number = x.subject_number
"""

#: What the reason of an entry ends with that had to wait for its subject's beginning.
WAITED = "waited"

_MALFORMED = Verdict(Landing.MALFORMED, "")

_json = msgspec.json.Encoder()


def receive(
    conn: Connection, deliveries: Sequence[Delivery], hydrate: Hydrate, reopen: Reopen, keys: BodyKeys
) -> Received:
    """Decide every entry of these deliveries, land what applies, and write it all down, the bodies sealed.

    Raises:
        Replayed: what proves one of them has proved another before; nothing of them is to be kept.
    """
    if not deliveries:
        return Received()
    spend(conn, [each.once for each in deliveries if each.once is not None])
    subjects, found = _lock(conn, [entry for delivery in deliveries for entry in delivery.entries])
    now, this_week = found.now, keys.this_week(conn, found)
    sitting = _Sitting(_stored_waiting(conn, deliveries, subjects, reopen, keys))
    bodies = [(time_ordered_id(), each, min(each.received_at or now, now)) for each in deliveries]
    for body_id, delivery, at in bodies:
        for place, sent in enumerate(delivery.entries):
            receipt = _Receipt(sent, at, _MALFORMED, subjects.get(_name(sent)), body_id=body_id, place=place)
            sitting.decide(receipt)
    beside = _land(conn, sitting.applied, hydrate)
    _store(conn, list(subjects.values()), bodies, sitting.new, now, this_week, beside)
    if sitting.waited:
        rows = [_values(each, now) for each in sitting.waited]
        conn.exec_driver_sql(_WAITED, {"receipts": _json.encode(rows).decode()})
    landings = tuple(each.verdict.landing for each in sitting.new)
    return Received(landings, tuple(each.sent.sender for each in sitting.new))


class _Sitting:
    """The entries of one transaction, decided one after the other.

    `new` in the order in which they came, `applied` in the order in which they land, and of these `waited`: what has a
    receipt from before.
    """

    def __init__(self, stored: dict[int, list[_Receipt]]) -> None:
        self._stored = stored
        self.new: list[_Receipt] = []
        self.applied: list[_Receipt] = []
        self.waited: list[_Receipt] = []

    def decide(self, receipt: _Receipt) -> None:
        """Decide one entry against its subject as it stands now; with a beginning, what waited for it too."""
        subject = receipt.subject
        self.new.append(receipt)
        if subject is None:
            receipt.verdict = decide(receipt.sent, SubjectState())
            return
        subject.entries += 1
        receipt.number = subject.entries
        self._apply(receipt, subject)
        if receipt.verdict.landing is Landing.WAITING:
            subject.waiting.append(receipt)
        elif receipt.sent.begins:
            stored = self._stored.pop(subject.id, [])
            self.waited += stored
            for each in [*stored, *subject.waiting]:
                self._apply(each, subject)
                each.verdict = Verdict(each.verdict.landing, f"{each.verdict.reason}, {WAITED}")
            subject.waiting, subject.stored_waiting = [], 0

    def _apply(self, receipt: _Receipt, subject: _Subject) -> None:
        receipt.verdict = decide(receipt.sent, subject.state)
        if receipt.verdict.applies:
            subject.state = subject.state.after(receipt.sent)
            self.applied.append(receipt)


def time_ordered_id() -> uuid.UUID:
    """A new id that sorts by when it was made (UUID version 7), so that an index grows at its end."""
    random = int.from_bytes(os.urandom(10))
    ms = time.time_ns() // 1_000_000
    return uuid.UUID(int=(ms << 80 | random) & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62)


_Name = tuple[str, str, str]


def _name(sent: Sent) -> _Name:
    return sent.sender, sent.kind, sent.subject


def _lock(conn: Connection, entries: Sequence[Sent]) -> tuple[dict[_Name, _Subject], Row[Any]]:
    """The subjects of these entries, made where they are new, and locked; and what time it is, with the week's key."""
    names = {_name(sent) for sent in entries if sent.fault is None and not sent.unsupported}
    if not names:
        return {}, conn.exec_driver_sql(_NOW).one()
    former = {(each.sender, each.kind, older, each.subject) for each in entries for older in each.formerly}
    if former:
        conn.exec_driver_sql(_NAME_ANEW, arrays(_FORMER, sorted(former)))
    rows = conn.exec_driver_sql(_LOCK, arrays(_NAMED, list(names))).all()
    subjects = {
        (row.sender, row.kind, row.subject): _Subject(
            row.id, SubjectState(row.order_key, row.content, row.begun), row.entries, row.waiting
        )
        for row in rows
    }
    return subjects, rows[-1]


def _stored_waiting(
    conn: Connection,
    deliveries: Sequence[Delivery],
    subjects: dict[_Name, _Subject],
    reopen: Reopen,
    keys: BodyKeys,
) -> dict[int, list[_Receipt]]:
    """What waits for a beginning that is among these deliveries, by subject, as it came."""
    begun = {_name(sent) for delivery in deliveries for sent in delivery.entries if sent.begins} & subjects.keys()
    waiting = {subjects[name].id: subjects[name] for name in begun if subjects[name].stored_waiting}
    found: dict[int, list[_Receipt]] = {}
    if waiting:
        for row in conn.exec_driver_sql(_WAITING, {"ids": list(waiting)}):
            body = keys.open(row.body_encrypted, row.key_week, row.key_encrypted)
            sent = reopen(row.sender, body, row.received_at)[row.body_place]
            verdict = Verdict(Landing.WAITING, "")
            found.setdefault(row.subject_id, []).append(
                _Receipt(sent, row.received_at, verdict, waiting[row.subject_id], row.subject_number)
            )
    return found


def _land(conn: Connection, applied: Sequence[_Receipt], hydrate: Hydrate) -> list[Beside]:
    """Land these, and note what they came to; what of it is still to be written."""
    landed = hydrate(conn, [Applied(each.sent, each.received_at) for each in applied]) if applied else ()
    for receipt, came_to in zip(applied, landed, strict=True):
        receipt.landed = came_to
        if came_to.verdict is not None:
            receipt.verdict = came_to.verdict
    return [each.beside for each in landed if each.beside is not None]


def _store(
    conn: Connection,
    subjects: Sequence[_Subject],
    bodies: Sequence[tuple[uuid.UUID, Delivery, dt.datetime]],
    receipts: Sequence[_Receipt],
    now: dt.datetime,
    key: WeekKey,
    beside: Sequence[Beside],
) -> None:
    sealed = [(body_id, each.sender, at, key.seal(each.body), key.week) for body_id, each, at in bodies]
    parameters: dict[str, Any] = {
        **arrays(_BODIES, sealed),
        **arrays(_SUBJECTS, [_numbers(subject) for subject in subjects]),
        **arrays(_COLUMNS, [tuple(_values(receipt, now).values()) for receipt in receipts]),
    }
    for each in beside:
        parameters |= each.parameters
    conn.exec_driver_sql(f"WITH {', '.join([*(each.queries for each in beside), _STORE])}", parameters)


def _numbers(subject: _Subject) -> tuple[Any, ...]:
    state, waiting = subject.state, subject.stored_waiting + len(subject.waiting)
    return subject.id, state.key, state.content, state.begun, waiting, subject.entries


def _values(receipt: _Receipt, now: dt.datetime) -> dict[str, Any]:
    """A receipt's values, in the order of `_COLUMNS`."""
    sent, landed, verdict = receipt.sent, receipt.landed, receipt.verdict
    return {
        "received_at": receipt.received_at,
        "sender": sent.sender,
        "subject": f"{sent.kind} {sent.subject}" if receipt.subject else None,
        "subject_id": receipt.subject.id if receipt.subject else None,
        "subject_number": receipt.number,
        "body_id": receipt.body_id,
        "body_place": receipt.place,
        "loan_id": landed.loan_id,
        "lead_id": landed.lead_id,
        "loan_number": sent.loan_number,
        "event_type": sent.event,
        "last_modified_text": sent.key_text,
        "outcome": verdict.landing.value,
        "reason": f"{verdict.reason}, {landed.note}" if landed.note else verdict.reason,
        "rows_changed": landed.rows,
        "data_updated_at": now if landed.rows else None,
    }
