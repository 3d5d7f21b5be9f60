"""Epochs: within one no number of a file goes back. A new one begins when MLM has gone back, or the file went."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection

from ..concerns import Concern

_FILE = """
UPDATE file_freshness SET mark = %(v)s, captured = %(v)s, wanted = %(v)s, racy_stamp = NULL,
       mark_seen_at = mlm_now(), wanted_seen_at = mlm_now(), epoch = epoch + 1
WHERE id = %(file_id)s
"""

_CONCERNS = """
UPDATE file_concerns SET held = NULL, given_up_stamp = NULL
WHERE file_id = %(file_id)s AND concern IS DISTINCT FROM %(except)s
"""


def begin(conn: Connection, file_id: int, v: dt.datetime | None, *, holding: Concern | None = None) -> None:
    """Begin a new epoch: mark, captured and wanted are v, every concern but `holding` holds nothing.

    The caller holds the file's lock, has closed the open own writes before it, and places the order. Slices that
    are at work fail at their commit, by the epoch.
    """
    conn.exec_driver_sql(_FILE, {"file_id": file_id, "v": v})
    conn.exec_driver_sql(_CONCERNS, {"file_id": file_id, "except": holding.value if holding else None})
