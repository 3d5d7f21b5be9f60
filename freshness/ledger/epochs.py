"""Epochs: within one no number of a file goes back. A new one begins when MLM has gone back, or the file went.

What was announced to us is forgotten with the old numbers, and a replica of MLM's may still be behind it: the file is
doubted for as long, and not fresh before it holds what was forgotten or a confirmation was asked for later
(docs/protocol.md, "Doubts").
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection

from .. import stamp
from ..concerns import Concern
from ..rules import Rules
from .calibration import calibration_of
from .rows import FileRow

_FILE = """
UPDATE file_freshness SET mark = %(v)s, captured = %(v)s, wanted = %(v)s, racy_stamp = NULL,
       doubted_until = (
           SELECT max(until) FROM unnest(ARRAY[doubted_until, mark_seen_at + %(lag)s, wanted_seen_at + %(lag)s]) until
           WHERE until > mlm_now()
       ),
       doubted_below = CASE WHEN doubted_until > mlm_now() AND doubted_below IS NULL THEN NULL
                            ELSE greatest(doubted_below, mark, wanted) END,
       mark_seen_at = mlm_now(), wanted_seen_at = mlm_now(), epoch = epoch + 1
WHERE id = %(file_id)s
"""

_CONCERNS = """
UPDATE file_concerns SET held = NULL, given_up_stamp = NULL
WHERE file_id = %(file_id)s AND concern IS DISTINCT FROM %(except)s
"""

_TOLD_BEFORE = """
SELECT max(received_at) AS at, CASE WHEN bool_and(last_modified_at IS NOT NULL) THEN max(last_modified_at) END AS stamp
FROM mlm_webhook_receipts
WHERE reference_number = %(ref)s AND file_id IS NULL AND received_at > mlm_now() - %(lag)s
"""

_DOUBT = """
UPDATE file_freshness SET doubted_until = greatest(doubted_until, %(until)s), doubted_below = NULL
WHERE id = %(file_id)s
"""


def begin(
    conn: Connection, rules: Rules, file_id: int, v: dt.datetime | None, *, holding: Concern | None = None
) -> None:
    """Begin a new epoch: mark, captured and wanted are v, every concern but `holding` holds nothing, and the file is
    doubted while a replica may be behind what mark or wanted was last raised by.

    The caller holds the file's lock, has closed the open own writes before it, and places the order. Slices that
    are at work fail at their commit, by the epoch.
    """
    conn.exec_driver_sql(_FILE, {"file_id": file_id, "v": v, "lag": _lag(rules)})
    conn.exec_driver_sql(_CONCERNS, {"file_id": file_id, "except": holding.value if holding else None})


def doubt_if_told_before(
    conn: Connection, rules: Rules, file: FileRow, v: dt.datetime | None, resolution_s: float
) -> None:
    """Doubt a file that has just come, if a webhook of it was no file's a while ago, and the first read, at v, may have
    been behind that. It is not if it bears the webhook's very stamp; nor, once webhooks' stamps are calibrated, a newer
    one. Under the file's lock."""
    told = conn.exec_driver_sql(_TOLD_BEFORE, {"ref": file.ref, "lag": _lag(rules)}).one()
    if told.at is None:
        return
    if told.stamp is not None and v is not None:
        announced = stamp.truncate(told.stamp, resolution_s)
        if v == announced or (v > announced and calibration_of(conn).holds):
            return
    conn.exec_driver_sql(_DOUBT, {"file_id": file.id, "until": told.at + _lag(rules)})


def _lag(rules: Rules) -> dt.timedelta:
    return dt.timedelta(seconds=rules.read_lag_s)
