"""Epochs: within one no number of a file goes back. A new one begins when MLM has gone back, or the file went."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection

from ..concerns import Concern
from ..rules import Rules
from . import doubts
from .rows import FileRow

_FILE = """
UPDATE file_freshness SET mark = %(v)s, captured = %(v)s, wanted = %(v)s, racy_stamp = NULL, epoch = epoch + 1,
       mark_seen_at = %(seen_at)s, wanted_seen_at = %(seen_at)s, doubted_until = %(until)s, doubted_below = %(below)s,
       confirm_at = NULL
WHERE id = %(file_id)s
"""

_CONCERNS = """
UPDATE file_concerns SET held = NULL, given_up_stamp = NULL
WHERE file_id = %(file_id)s AND concern IS DISTINCT FROM %(except)s
"""


def begin(
    conn: Connection,
    rules: Rules,
    file: FileRow,
    v: dt.datetime | None,
    *,
    asked_at: dt.datetime,
    holding: Concern | None = None,
) -> None:
    """Begin a new epoch: mark, captured and wanted are v, every concern but `holding` holds nothing, and what was told
    too late for an answer asked for from `asked_at` on is doubted.

    The caller holds the file's lock, as `file` shows it, and has closed the open own writes before it; it places the
    order, and calls `unconfirmed.note`, which says anew when to confirm. Slices that are at work fail at their commit,
    by the epoch.
    """
    doubt = doubts.after_epoch(conn, rules, file, asked_at)
    parameters = {
        "file_id": file.id, "v": v, "seen_at": None if v is None else file.now,
        "until": doubt and doubt.until, "below": doubt and doubt.below,
    }  # fmt: skip
    conn.exec_driver_sql(_FILE, parameters)
    conn.exec_driver_sql(_CONCERNS, {"file_id": file.id, "except": holding.value if holding else None})
