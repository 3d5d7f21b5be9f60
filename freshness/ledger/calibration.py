"""Calibration: whether a webhook's stamps and a read's are the same clock, as far as anybody has seen.

Until a webhook's stamp has once equalled the stamp that a read then showed, every entry orders: a zone that the two
paths disagree on would silence one by the other. One stored value for all processes (docs/protocol.md, "Calibration").
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection

from .rows import ConcernRow, FileRow

#: A read counts as the webhook's this long after it came: less than any two zones differ by.
SOON_S = 1800.0

#: So many orders in a row without an equal, and the value is cleared.
MOST_UNLIKE = 100

#: `MLM_STAMP_RESOLUTION=auto`, once a fraction has been seen on both paths.
FINE_S = 0.004


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of MLM's stamps. `alike_at`: since when webhooks and reads are known to agree; None: they are not.

    `unlike` counts the orders in a row that have shown no equal; `cleared_at` is when that took `alike_at` away last.
    """

    alike_at: dt.datetime | None
    unlike: int
    cleared_at: dt.datetime | None
    resolution_s: float

    @property
    def holds(self) -> bool:
        """Whether stamps of webhooks may silence anything."""
        return self.alike_at is not None


_CALIBRATION = "SELECT alike_at, unlike, cleared_at, auto_resolution_s FROM stamp_calibration"

# Every entry counts, those too that were skipped: it is those that a wrong zone silences.
_HEARD = """
SELECT c.alike_at IS NOT NULL AS calibrated, c.unlike, c.auto_resolution_s, h.*
FROM stamp_calibration c CROSS JOIN (
    SELECT coalesce(bool_or(equal AND received_at > %(soon)s), false) AS alike,
           coalesce(bool_or(last_modified_at = %(exact)s AND received_at > %(soon)s), false) AS alike_exactly,
           coalesce(bool_or(equal), false) AS alike_at_all,
           coalesce(bool_or(order_number > %(served)s AND order_number <= %(order)s), false) AS ordered,
           coalesce(bool_or(outcome IN ('held', 'own_echo') AND received_at > %(landed)s), false) AS skipped
    FROM (
        SELECT received_at, last_modified_at, order_number, outcome, last_modified_at >= %(v)s
            AND last_modified_at < %(v)s + make_interval(secs => %(resolution)s) AS equal
        FROM mlm_webhook_receipts
        WHERE file_id = %(file_id)s AND received_at > %(day)s AND last_modified_at IS NOT NULL AND replay_of IS NULL
    ) r
) h
"""

# Never waited for: whoever has it locked is about to say much the same. The next order says it again.
_ALIKE = """
UPDATE stamp_calibration SET alike_at = coalesce(alike_at, mlm_now()), unlike = 0,
       auto_resolution_s = CASE WHEN %(fraction)s THEN least(auto_resolution_s, %(fine)s) ELSE auto_resolution_s END
WHERE id IN (SELECT id FROM stamp_calibration FOR UPDATE SKIP LOCKED)
"""

_UNLIKE = """
UPDATE stamp_calibration SET unlike = unlike + 1,
       cleared_at = CASE WHEN alike_at IS NOT NULL AND unlike + 1 >= %(most)s THEN mlm_now() ELSE cleared_at END,
       alike_at = CASE WHEN unlike + 1 >= %(most)s THEN NULL ELSE alike_at END
WHERE id IN (SELECT id FROM stamp_calibration FOR UPDATE SKIP LOCKED)
"""


def calibration_of(conn: Connection) -> Calibration:
    """What is known of MLM's stamps, for whoever shows it."""
    return Calibration(*conn.exec_driver_sql(_CALIBRATION).one())


def compare(
    conn: Connection,
    file: FileRow,
    before: ConcernRow,
    *,
    exact: dt.datetime,
    v: dt.datetime,
    resolution_s: float,
    order: int,
    serves: bool,
) -> None:
    """Hold a read of loan fields against the webhooks of its file, and write down what it says of the two clocks.

    `exact` and `v` are its stamp, as read and truncated; `order` is what it was made for, and `before` the concern as
    it stood. Equal to a webhook that came within half an hour: they are alike. No equal in a day, though a webhook
    asked for this read, or was skipped while the stamp moved: they may not be. Under the file's lock; it never waits.
    """
    day_ago = file.now - dt.timedelta(days=1)
    parameters = {
        "file_id": file.id, "exact": exact, "v": v, "resolution": resolution_s, "served": before.served,
        "order": order, "landed": before.landed_at or day_ago, "day": day_ago,
        "soon": file.now - dt.timedelta(seconds=SOON_S),
    }  # fmt: skip
    heard = conn.exec_driver_sql(_HEARD, parameters).one()
    if heard.alike:
        fraction = heard.alike_exactly and exact.microsecond != 0
        if not heard.calibrated or heard.unlike or (fraction and heard.auto_resolution_s > FINE_S):
            conn.exec_driver_sql(_ALIKE, {"fraction": fraction, "fine": FINE_S})
    elif serves and not heard.alike_at_all and (heard.ordered or (heard.skipped and v != before.held)):
        conn.exec_driver_sql(_UNLIKE, {"most": MOST_UNLIKE})
