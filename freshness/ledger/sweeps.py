"""Sweeps: what is due and was not heard. A lost queue costs seconds because of them."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from ..bell import Ring, Work
from ..concerns import Concern
from ..readiness import why_not
from ..rules import Rules
from .rows import FileRow, concern_rows, file_row, slice_states

_STALE_PAGE = """
SELECT id FROM file_freshness WHERE served < ordered AND id > %(after)s ORDER BY id LIMIT %(limit)s
"""

_UNCAPTURED = """
SELECT id, file_id FROM own_writes
WHERE capture_wanted AND captured_at IS NULL AND next_try_at <= mlm_now() ORDER BY next_try_at LIMIT %(limit)s
"""


def stale_and_due(conn: Connection, rules: Rules, limit: int) -> list[Ring]:
    """A ring for every slice that may start now, at most `limit`, from all stale files."""
    rings: list[Ring] = []
    for file_id in _stale_files(conn):
        file = file_row(conn, file_id)
        if file is not None:
            rings.extend(startable(conn, rules, file))
        if len(rings) >= limit:
            break
    return rings[:limit]


def startable(conn: Connection, rules: Rules, file: FileRow) -> list[Ring]:
    """A ring for each slice of this file that may start now."""
    states = slice_states(conn, rules, file, concern_rows(conn, rules, file))
    return [
        Ring(Work.HYDRATE_CONCERN, file.id, Concern(concern))
        for concern, state in states.items()
        if why_not(state, file.now) is None
    ]


def uncaptured(conn: Connection, limit: int) -> list[Ring]:
    """A ring for every exited own write that still waits for its capture."""
    rows = conn.exec_driver_sql(_UNCAPTURED, {"limit": limit})
    return [Ring(Work.CAPTURE, row.file_id, own_write_id=row.id) for row in rows]


def _stale_files(conn: Connection, page: int = 500) -> Iterator[int]:
    after = 0
    while ids := conn.exec_driver_sql(_STALE_PAGE, {"after": after, "limit": page}).scalars().all():
        yield from ids
        after = ids[-1]
