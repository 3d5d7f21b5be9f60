"""Slice runs: one row for each run of a slice, written when it ended. What the console tells a file's story from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from .leases import Lease

#: Its parameters are a `run`'s. A commit writes it down in the statement that moves its numbers.
RECORD = """
INSERT INTO slice_runs (file_id, concern, order_number, worker, started_at, asked_at, finished_at, outcome, stamp,
                        rows_changed, unread, error)
VALUES (%(file_id)s, %(concern)s, %(order)s, %(worker)s, %(started)s, %(asked)s, mlm_now(), %(outcome)s, %(stamp)s,
        %(rows)s, %(unread)s, %(error)s)
"""


def record(conn: Connection, lease: Lease, outcome: str, **told: Any) -> None:
    """Write down how a run ended; `told` is what `run` takes."""
    conn.exec_driver_sql(RECORD, run(lease, outcome, **told))


def run(
    lease: Lease,
    outcome: str,
    *,
    asked_at: dt.datetime | None = None,
    stamp: dt.datetime | None = None,
    rows_changed: Mapping[str, int] | None = None,
    unread: Sequence[Mapping[str, Any]] = (),
    error: str | None = None,
) -> dict[str, Any]:
    """How a run ended. `error` and `unread` name fields and reasons, never values."""
    return {
        "file_id": lease.file.id, "concern": lease.concern.value, "order": lease.terms.order, "worker": lease.worker,
        "started": lease.started_at, "asked": asked_at, "outcome": outcome, "stamp": stamp, "error": error,
        "rows": Jsonb(dict(rows_changed)) if rows_changed else None, "unread": Jsonb(list(unread)) if unread else None,
    }  # fmt: skip
