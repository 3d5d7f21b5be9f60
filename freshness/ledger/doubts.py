"""Doubts: what was announced and is not known any more may not show in MLM's answers yet (docs/protocol.md, "Doubts").

A replica may be behind for as long as `MLM_READ_LAG`. While a file knows what it `wanted`, a read from behind serves
nothing; where that was forgotten (a new epoch), or was never known (a file that was told of before it was ours), the
file is doubted: not fresh before it holds all that was announced, or a confirmation was asked for late enough.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from .. import stamp
from ..guard import latest
from ..rules import Rules
from .calibration import calibration_of
from .rows import FileRow, resolution_in_force


@dataclass(frozen=True, slots=True)
class Doubt:
    """Until when, and the stamp from which on what is held is not doubted: None if no stamp tells."""

    until: dt.datetime
    below: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Told:
    """The newest webhook of some time, and the newest stamp they bore, truncated: None if not all that count bore one
    that is to be believed."""

    at: dt.datetime
    stamp: dt.datetime | None


_BEFORE_IT_WAS_OURS = """
SELECT received_at, last_modified_at FROM mlm_webhook_receipts
WHERE reference_number = %(ref)s AND file_id IS NULL AND outcome = 'unknown_file' AND received_at > %(since)s
"""

_AT_ALL = f"""
SELECT received_at, last_modified_at FROM mlm_webhook_receipts
WHERE file_id = %(file_id)s AND sender = 'mlm' AND replay_of IS NULL AND received_at > %(since)s
UNION ALL {_BEFORE_IT_WAS_OURS}
"""  # noqa: S608 - a statement of ours

_NEWEST = """
SELECT max(received_at) AS at, CASE WHEN bool_and(last_modified_at IS NOT NULL) THEN max(last_modified_at) END AS stamp
FROM ({receipts}) told
"""

_OPEN = "UPDATE file_freshness SET doubted_until = %(until)s, doubted_below = %(below)s WHERE id = %(file_id)s"

# Rows that are locked are passed over, never waited for: so the order they are locked in does no harm.
_LOST_FROM_SIGHT = """
UPDATE file_freshness SET unconfirmed_since = coalesce(unconfirmed_since, mlm_now()), confirm_at = doubted_until
WHERE id IN (
    SELECT id FROM file_freshness WHERE doubted_until IS NOT NULL AND confirm_at IS NULL AND NOT unstamped
    LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
)
"""


def after_epoch(conn: Connection, rules: Rules, file: FileRow, asked_at: dt.datetime) -> Doubt | None:
    """What a new epoch leaves in doubt of a file as it stood; None if nothing was told of it, or seen, so late that an
    answer asked for from `asked_at` on may be from behind it."""
    lag = dt.timedelta(seconds=rules.read_lag_s)
    told = _told(conn, rules, _AT_ALL, file, asked_at - lag)
    running = file.doubted_until if file.doubted_until is not None and file.doubted_until > asked_at else None
    seen = [file.mark_seen_at, file.wanted_seen_at, told.at if told else None]
    ends = [running, *(at + lag for at in seen if at is not None)]
    until = max((end for end in ends if end is not None and end > asked_at), default=None)
    if until is None:
        return None
    no_stamp_tells = (running and file.doubted_below is None) or (told and told.stamp is None)
    known = [file.mark, file.wanted, told.stamp if told else None, file.doubted_below if running else None]
    return Doubt(until, None if no_stamp_tells else latest(*known))


def open_if_told_before(
    conn: Connection, rules: Rules, file: FileRow, v: dt.datetime | None, asked_at: dt.datetime
) -> None:
    """Doubt a file that has just come, if a webhook of it was no file's a while ago and the first read, at v, may have
    been from behind that. It was not if it shows that very stamp; nor, once webhooks' stamps are calibrated, a newer
    one. A doubt that runs already, of a new epoch before the first read, has counted those. Under the file's lock."""
    if file.doubted_until is not None:
        return
    lag = dt.timedelta(seconds=rules.read_lag_s)
    told = _told(conn, rules, _BEFORE_IT_WAS_OURS, file, asked_at - lag, exact=v)
    if told is None or (told.stamp is not None and v is not None and told.stamp <= v):
        return
    conn.exec_driver_sql(_OPEN, {"file_id": file.id, "until": told.at + lag, "below": told.stamp})


def find_again(conn: Connection, limit: int = 1_000) -> int:
    """Have doubted files looked at that nobody is to look at: a version from before doubts closed what it did not
    understand. How many they were."""
    return conn.exec_driver_sql(_LOST_FROM_SIGHT, {"limit": limit}).rowcount


def _told(
    conn: Connection,
    rules: Rules,
    receipts: str,
    file: FileRow,
    since: dt.datetime,
    *,
    exact: dt.datetime | None = None,
) -> Told | None:
    parameters = {"file_id": file.id, "ref": file.ref, "since": since}
    newest = conn.exec_driver_sql(_NEWEST.format(receipts=receipts), parameters).one()
    if newest.at is None:
        return None
    bore = None if newest.stamp is None else stamp.truncate(newest.stamp, resolution_in_force(conn, rules))
    is_believed = bore is not None and (bore == exact or calibration_of(conn).holds)
    return Told(newest.at, bore if is_believed else None)
