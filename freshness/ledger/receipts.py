"""Receipts after they were written: when their order was served, what it changed, and which are looked up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from .weeks import UNSERVED

_COUNT_ROWS = """
UPDATE mlm_webhook_receipts SET rows_changed = rows_changed + %(rows)s,
       data_updated_at = coalesce(data_updated_at, %(now)s)
WHERE file_id = %(file_id)s AND order_number > %(after)s AND order_number <= %(order)s AND served_at IS NULL
"""

_SERVED = """
UPDATE mlm_webhook_receipts SET served_at = %(now)s
WHERE file_id = %(file_id)s AND order_number <= %(served)s AND served_at IS NULL
"""


_COLUMNS = (
    "id, received_at, file_id, reference_number, loan_number, loan_id, lead_id, event_type, outcome, reason, "
    "last_modified_at, last_modified_text, mark_before, order_number, served_at, data_updated_at, rows_changed, "
    "replay_of, sender, subject, subject_id"
)

#: What each filter asks of a receipt. By file it is found among the file's, and among those of files we do not have.
_ASKS = {
    "reference": "(file_id = (SELECT id FROM file_freshness WHERE ref = %(reference)s) "
    "OR (file_id IS NULL AND reference_number = %(reference)s))",
    "number": "loan_number = %(number)s",
    "outcome": "outcome = %(outcome)s",
    "event": "lower(event_type) = lower(%(event)s)",
    "since": "received_at >= %(since)s",
    "until": "received_at < %(until)s",
    "sender": "sender = %(sender)s",
    "subject": "subject = %(subject)s",
    "unserved": UNSERVED,
}

_LIST = f"""
SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE {{asked}} ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608 - column names of ours

_BY_ID = f"SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE id = ANY(%(ids)s) ORDER BY received_at, id"  # noqa: S608

_NEWEST = "SELECT max(received_at) FROM mlm_webhook_receipts WHERE sender = 'mlm'"

_AT = f"SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE received_at = %(at)s AND id = %(id)s"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Filter:
    """Which receipts to list; None asks for all, and as a limit for however many there are."""

    reference: str | None = None
    number: str | None = None
    outcome: str | None = None
    event: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    sender: str | None = None
    subject: str | None = None
    unserved: bool = False
    limit: int | None = 50


def count_rows(conn: Connection, file_id: int, rows: int, *, after: int, order: int, now: dt.datetime) -> None:
    """Count a commit's rows on every receipt that its concern had not served before (`after`), up to its order.

    `data_updated_at` becomes the time of the first such commit with rows. Under the file's lock.
    """
    if rows:
        parameters = {"file_id": file_id, "rows": rows, "after": after, "order": order, "now": now}
        conn.exec_driver_sql(_COUNT_ROWS, parameters)


def mark_served(conn: Connection, file_id: int, served: int, now: dt.datetime) -> None:
    """Set `served_at` on the receipts whose orders every concern has served now. Under the file's lock."""
    conn.exec_driver_sql(_SERVED, {"file_id": file_id, "served": served, "now": now})


def listed(conn: Connection, wanted: Filter) -> list[dict[str, Any]]:
    """The receipts that pass the filter, newest first.

    By reference, outcome, time, or unserved, they are found by an index; by number or event alone by looking through
    all that were received then.
    """
    parameters = asdict(wanted)
    asked = " AND ".join(asks for name, asks in _ASKS.items() if parameters[name] not in (None, False)) or "true"
    return [dict(row) for row in conn.exec_driver_sql(_LIST.format(asked=asked), parameters).mappings()]


def by_id(conn: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """The receipts with these ids, oldest first."""
    return [dict(row) for row in conn.exec_driver_sql(_BY_ID, {"ids": list(ids)}).mappings()]


def at(conn: Connection, received_at: dt.datetime, receipt_id: int) -> dict[str, Any] | None:
    """The receipt with this id, by the key of its row."""
    row = conn.exec_driver_sql(_AT, {"at": received_at, "id": receipt_id}).mappings().one_or_none()
    return dict(row) if row else None


def newest_at(conn: Connection) -> dt.datetime | None:
    """When MLM's newest entry was received; None if none ever was."""
    newest: dt.datetime | None = conn.exec_driver_sql(_NEWEST).scalar()
    return newest
