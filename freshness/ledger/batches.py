"""A webhook's batch: every entry decided, receipts and orders written, in three statements whatever its size."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from .. import guard, stamp
from ..bell import Ring
from ..guard import Decision, FileNumbers, Outcome
from ..rules import Rules
from .arrays import array
from .orders import file_ring

#: Names of events, compared without letter case.
CHANGE_EVENTS = frozenset({"modified", "created"})
DELETED_EVENT = "deleted"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it came. `fault` says why it is malformed (no object, no reference); then nothing else counts.

    `received_at` is for one that had to wait before it could be decided; None is now. `replay_of` is the receipt that
    it was decided by before, `forced` whether it orders whatever the guard says (`replays`).
    """

    reference: str | None
    loan_number: str | None
    event_type: str | None
    stamp_text: str | None
    fault: str | None = None
    received_at: dt.datetime | None = None
    replay_of: int | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """What each entry became, in their order, and the rings for after the commit. `orders`: those that the
    entries have joined, each as the file's id and the order's number; `placed` those of them that they have placed."""

    outcomes: tuple[Outcome, ...]
    rings: tuple[Ring, ...]
    orders: tuple[tuple[int, int], ...] = ()
    placed: tuple[tuple[int, int], ...] = ()


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many entries became what, as the webhook's answer says it (the contract, "HTTP")."""
    found = Counter(outcome.counted_as for outcome in outcomes)
    return {"received": len(outcomes), **{name: found[name] for name in ("dispatched", "skipped", "rejected")}}


@dataclass(slots=True)
class _File:
    """One file of the batch, as its entries are decided one after the other."""

    id: int
    loan_id: int | None
    lead_id: int | None
    mark: dt.datetime | None
    numbers: FileNumbers
    orders: list[tuple[int, str]]
    wanted_raised: bool = False


@dataclass(frozen=True, slots=True)
class _Held:
    """What a batch is decided against: our clock, its files under lock by reference, and how stamps compare."""

    now: dt.datetime
    files: dict[str, _File] = field(default_factory=dict)
    resolution_s: float = 1.0
    calibrated: bool = False


# One row at least, so that there is a time even where there is no file. What follows in the transaction is planned once
# for all batches (it is by keys alone): to plan it anew took a fifth of one entry's time (measured).
_LOCK_FILES = """
SELECT clock.*, f.* FROM (
    SELECT mlm_now() AS now, set_config('plan_cache_mode', 'force_generic_plan', true)
) clock LEFT JOIN (
    SELECT id, ref, loan_id, lead_id, mark, wanted, captured, ordered, unstamped
    FROM file_freshness WHERE ref = ANY(%(refs)s) ORDER BY id FOR NO KEY UPDATE
) f ON true
"""

# In the order of references that imports make files in too. The rest take no part: none may be locked before.
_ADD_FILES = """
INSERT INTO file_freshness (ref)
SELECT ref FROM unnest(%(refs)s::text[]) AS r (ref)
WHERE NOT EXISTS (SELECT FROM file_freshness f WHERE f.ref = r.ref)
ORDER BY ref COLLATE "C" ON CONFLICT (ref) DO NOTHING
"""

# In a statement of its own: its snapshot must be younger than the locks, for what is held and for the resolution.
_WHAT_IS_HELD = """
SELECT f.id,
       CASE WHEN count(c.held) = %(active)s THEN min(c.held) END AS least_held,
       count(*) FILTER (WHERE c.served >= f.ordered) AS served,
       CASE WHEN bool_and(c.held IS NOT NULL) FILTER (WHERE c.served >= f.ordered)
            THEN min(c.held) FILTER (WHERE c.served >= f.ordered) END AS least_held_served,
       s.alike_at IS NOT NULL AS calibrated, s.auto_resolution_s
FROM stamp_calibration s CROSS JOIN file_freshness f
LEFT JOIN file_concerns c ON c.file_id = f.id AND c.concern = ANY(%(concerns)s)
WHERE f.id = ANY(%(ids)s) GROUP BY f.id, s.id
"""

_RECEIPT_COLUMNS = (
    ("received_at", "timestamptz"),
    ("file_id", "bigint"),
    ("loan_id", "bigint"),
    ("lead_id", "bigint"),
    ("reference_number", "text"),
    ("loan_number", "text"),
    ("event_type", "text"),
    ("last_modified_at", "timestamptz"),
    ("last_modified_text", "text"),
    ("mark_before", "timestamptz"),
    ("outcome", "text"),
    ("reason", "text"),
    ("order_number", "bigint"),
    ("replay_of", "bigint"),
)
_NAMES = ", ".join(name for name, _ in _RECEIPT_COLUMNS)
_STORE = f"""
WITH changed AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(ordered)s::bigint[], %(wanted)s::timestamptz[])
        AS x (id, ordered, wanted)
), files AS (
    UPDATE file_freshness f SET
        ordered = x.ordered,
        wanted_seen_at = CASE WHEN x.wanted > coalesce(f.wanted, '-infinity') THEN %(now)s ELSE f.wanted_seen_at END,
        wanted = greatest(f.wanted, x.wanted)
    FROM changed x WHERE f.id = x.id
), orders AS (
    INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause)
    SELECT file_id, number, %(now)s, %(now)s, cause
    FROM unnest(%(order_files)s::bigint[], %(numbers)s::bigint[], %(causes)s::text[]) AS o (file_id, number, cause)
)
INSERT INTO mlm_webhook_receipts ({_NAMES})
SELECT {_NAMES} FROM unnest({", ".join(f"%({name})s::{kind}[]" for name, kind in _RECEIPT_COLUMNS)})
    WITH ORDINALITY AS r ({_NAMES}, place) ORDER BY place
"""  # noqa: S608 - column names of ours


def receive(conn: Connection, rules: Rules, entries: Sequence[Entry]) -> Decided:
    """Decide every entry of a batch and write its receipts and orders.

    Files are locked in ascending id, so batches can't deadlock; entries of one file are decided in their order, each
    against what the one before has left. A malformed entry is a receipt of its own and costs no other anything.
    When an entry was received is told by its receipt (never later than now) and decides nothing here.
    """
    if not entries:
        return Decided((), ())
    at = _lock(conn, rules, entries)
    receipts: list[tuple[Any, ...]] = []
    outcomes: list[Outcome] = []
    orders: dict[tuple[int, int], None] = {}
    for entry in entries:
        read = stamp.parse(entry.stamp_text, rules.zone, at.now)
        exact = read.instant if isinstance(read, stamp.Stamp) else None
        file = at.files.get(entry.reference or "")
        decision = _decide(entry, file, stamp.truncate(exact, at.resolution_s) if exact else None, at.calibrated)
        if file is not None and decision.orders:
            _order(file, entry, decision)
        if file is not None and decision.joins_order:
            orders[file.id, file.numbers.ordered] = None
        outcomes.append(decision.outcome)
        receipts.append(_receipt(entry, exact, file, decision, at.now))
    changed = [file for file in at.files.values() if file.orders]
    _store(conn, changed, receipts, at.now)
    placed = tuple((file.id, number) for file in changed for number, _ in file.orders)
    return Decided(tuple(outcomes), tuple(_ring(file, at.resolution_s) for file in changed), tuple(orders), placed)


def _refs(entries: Sequence[Entry], events: frozenset[str]) -> list[str]:
    """The references that these events name, each once, sorted."""
    return sorted({e.reference for e in entries if e.fault is None and e.reference and _event(e) in events})


def _event(entry: Entry) -> str:
    return (entry.event_type or "").strip().lower()


def _lock(conn: Connection, rules: Rules, entries: Sequence[Entry]) -> _Held:
    """The files that entries name, locked. What they say has changed may be imported: made before any is locked, since
    whoever else makes it may go on to lock the others."""
    changed = _refs(entries, CHANGE_EVENTS)
    if rules.import_unknown and changed:
        conn.exec_driver_sql(_ADD_FILES, {"refs": changed})
    refs = _refs(entries, CHANGE_EVENTS | {DELETED_EVENT})
    rows = conn.exec_driver_sql(_LOCK_FILES, {"refs": refs}).all()
    now, _, first, *_ = rows[0]
    if first is None:
        return _Held(now)
    if missing := set(refs).difference(row[3] for row in rows):
        # Looked for once more: the others' locks may have been waited for, and a file was made and read meanwhile.
        again = conn.exec_driver_sql(_LOCK_FILES, {"refs": sorted(missing)})
        rows = [*rows, *(row for row in again if row[2] is not None)]
    parameters = {
        "ids": [row[2] for row in rows],
        "active": len(rules.active),
        "concerns": [concern.value for concern in rules.active],
    }
    held = {row[0]: row for row in conn.exec_driver_sql(_WHAT_IS_HELD, parameters).all()}
    *_, calibrated, auto_resolution_s = held[first]
    resolution_s = auto_resolution_s if rules.resolution_s is None else rules.resolution_s
    files = {row[3]: _file(row[2:], held[row[2]]) for row in rows}
    return _Held(now, files, resolution_s, calibrated)


def _file(row: Sequence[Any], held: Sequence[Any]) -> _File:
    """A file from its row under lock and what its concerns hold; by place, since names cost 4 µs a file (measured)."""
    id_, _ref, loan_id, lead_id, mark, wanted, captured, ordered, unstamped = row
    _id, least_held, served, least_held_served, *_ = held
    numbers = FileNumbers(
        ordered=ordered,
        wanted=wanted,
        captured=captured,
        least_held=least_held,
        least_held_served=least_held_served if ordered else least_held,
        all_stale=ordered > 0 and served == 0,
        unstamped=unstamped,
    )
    return _File(id_, loan_id, lead_id, mark, numbers, [])


def _decide(entry: Entry, file: _File | None, t: dt.datetime | None, calibrated: bool) -> Decision:
    if entry.fault is not None:
        return Decision(Outcome.MALFORMED, entry.fault)
    event = _event(entry)
    if event not in CHANGE_EVENTS and event != DELETED_EVENT:
        return Decision(Outcome.UNSUPPORTED_EVENT, guard.WHY_SKIPPED[Outcome.UNSUPPORTED_EVENT])
    if file is None:
        return Decision(Outcome.UNKNOWN_FILE, guard.WHY_SKIPPED[Outcome.UNKNOWN_FILE])
    if event == DELETED_EVENT:
        return guard.decide_deleted(t, calibrated=calibrated)
    decision = guard.decide(t, file.numbers, calibrated=calibrated)
    return guard.force(decision) if entry.forced else decision


def _order(file: _File, entry: Entry, decision: Decision) -> None:
    by = "webhook" if entry.replay_of is None else f"replay of receipt {entry.replay_of}"
    file.numbers = file.numbers.after_order(decision.wanted)
    file.orders.append((file.numbers.ordered, f"{by}, {decision.reason}"))
    file.wanted_raised |= decision.wanted is not None


def _receipt(
    entry: Entry, exact: dt.datetime | None, file: _File | None, decision: Decision, now: dt.datetime
) -> tuple[Any, ...]:
    """A receipt's values, in the order of `_RECEIPT_COLUMNS`."""
    return (
        min(entry.received_at or now, now),
        file.id if file else None,
        file.loan_id if file else None,
        file.lead_id if file and file.loan_id is None else None,
        entry.reference,
        entry.loan_number,
        entry.event_type,
        exact,
        entry.stamp_text,
        file.mark if file else None,
        decision.outcome.value,
        decision.reason,
        file.numbers.ordered if file and decision.joins_order else None,
        entry.replay_of,
    )


def _store(conn: Connection, changed: Sequence[_File], receipts: Sequence[tuple[Any, ...]], now: dt.datetime) -> None:
    orders = [(file.id, number, cause) for file in changed for number, cause in file.orders]
    columns = zip(_RECEIPT_COLUMNS, zip(*receipts, strict=True), strict=True)
    parameters = {
        "now": now,
        "ids": array("bigint", [file.id for file in changed]),
        "ordered": array("bigint", [file.numbers.ordered for file in changed]),
        "wanted": array("timestamptz", [file.numbers.wanted for file in changed]),
        "order_files": array("bigint", [order[0] for order in orders]),
        "numbers": array("bigint", [order[1] for order in orders]),
        "causes": array("text", [order[2] for order in orders]),
        **{name: array(kind, values) for (name, kind), values in columns},
    }
    conn.exec_driver_sql(_STORE, parameters)


def _ring(file: _File, resolution_s: float) -> Ring:
    """A raised `wanted` is read no sooner than one resolution after it was first seen (the protocol, "A slice", 2)."""
    return file_ring(file.id, resolution_s if file.wanted_raised else 0.0)
