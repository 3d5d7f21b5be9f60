"""Receipts after they were written: when their order was served, what it changed, and when they are dropped."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection

_COUNT_ROWS = """
UPDATE mlm_webhook_receipts SET rows_changed = rows_changed + %(rows)s,
       data_updated_at = coalesce(data_updated_at, %(now)s)
WHERE file_id = %(file_id)s AND order_number > %(after)s AND order_number <= %(order)s AND served_at IS NULL
"""

_SERVED = """
UPDATE mlm_webhook_receipts SET served_at = %(now)s
WHERE file_id = %(file_id)s AND order_number <= %(served)s AND served_at IS NULL
"""


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
