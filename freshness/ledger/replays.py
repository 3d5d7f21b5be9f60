"""Replays: what a webhook said is decided once more, by the numbers of now; each is a receipt of its own.

For entries that met an unknown file which has come since, or that were decided by numbers which were wrong. The entry
is as it was: reference, loan number, event, the stamp's text. A malformed one was not kept, and cannot be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from ..bell import Ring
from ..guard import Outcome
from ..rules import Rules
from . import receipts
from .batches import Entry, receive
from .receipts import Filter

#: The sender of what can be decided once more by itself.
MLM = "mlm"

_NEW = """
SELECT id, replay_of, outcome, reason, order_number FROM mlm_webhook_receipts
WHERE replay_of = ANY(%(ids)s) AND received_at >= %(since)s ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Replayed:
    """One entry that was decided once more: the receipt from before, and the new one (no `id` if it was taken back)."""

    replay_of: int
    id: int | None
    reference_number: str | None
    event_type: str | None
    outcome_before: str
    reason_before: str
    outcome: str
    reason: str
    order_number: int | None


def can_be_replayed(receipt: Mapping[str, Any]) -> bool:
    """Whether what it tells of was kept: MLM's entry; of another sender the subject, which has a history."""
    kept: bool = receipt["outcome"] != Outcome.MALFORMED if receipt["sender"] == MLM else bool(receipt["subject_id"])
    return kept


def chosen(conn: Connection, wanted: Filter) -> list[dict[str, Any]]:
    """The receipts that pass the filter, oldest first, but no replays: what those replay is there, or not asked for.
    MLM's, unless another sender is asked for: of those a subject is rebuilt (`rebuilds`), not an entry."""
    found = receipts.listed(conn, replace(wanted, sender=wanted.sender or MLM))
    return [receipt for receipt in reversed(found) if receipt["replay_of"] is None]


def replay(
    conn: Connection, rules: Rules, old: Sequence[Mapping[str, Any]], *, force: bool = False
) -> tuple[list[Replayed], tuple[Ring, ...]]:
    """Decide the entries of these receipts once more, in their order; what became of each, and the rings.

    `force`: what the guard would skip is ordered. An entry for a file that we do not have, or with an event that
    changes nothing, stays what it is.
    """
    since = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    decided = receive(conn, rules, [_entry(receipt, force) for receipt in old])
    parameters = {"ids": [receipt["id"] for receipt in old], "since": since}
    new = {row.replay_of: row for row in conn.exec_driver_sql(_NEW, parameters)}
    return [_replayed(receipt, new[receipt["id"]]) for receipt in old], decided.rings


def _entry(receipt: Mapping[str, Any], force: bool) -> Entry:
    return Entry(
        receipt["reference_number"],
        receipt["loan_number"],
        receipt["event_type"],
        receipt["last_modified_text"],
        replay_of=receipt["id"],
        forced=force,
    )


def _replayed(old: Mapping[str, Any], new: Any) -> Replayed:
    return Replayed(
        replay_of=old["id"],
        id=new.id,
        reference_number=old["reference_number"],
        event_type=old["event_type"],
        outcome_before=old["outcome"],
        reason_before=old["reason"],
        outcome=new.outcome,
        reason=new.reason,
        order_number=new.order_number,
    )
