"""Sweeps: what is due and was not heard. A lost queue costs seconds because of them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from ..bell import Ring, Work
from ..concerns import Concern
from ..readiness import GIVE_UP_AFTER, SliceState, to_ring_for
from ..rules import Rules
from .rows import FileRow, concern_rows, files_with_slices, slice_states

# Leaves out, for the sake of thousands of them, files all of whose stale concerns are given up or wait for their next
# try; whether a slice may start is for `why_not` to say.
_STALE = """
SELECT f.id FROM file_freshness f
WHERE f.served < f.ordered AND EXISTS (
    SELECT FROM unnest(%(active)s::text[]) AS a (concern)
    LEFT JOIN file_concerns c ON c.file_id = f.id AND c.concern = a.concern
    WHERE coalesce(c.served, 0) < f.ordered AND (
        c.tried_order IS DISTINCT FROM f.ordered
        OR c.attempts < %(given_up)s AND coalesce(c.next_try_at <= (SELECT mlm_now()), true)
    )
)
ORDER BY f.wanted DESC NULLS LAST, f.id
"""

#: Files are looked at so many at once: enough to make statements few, few enough to stop early.
_AT_ONCE = 200

_UNCAPTURED = """
SELECT id, file_id FROM own_writes
WHERE capture_wanted AND captured_at IS NULL AND next_try_at <= mlm_now() ORDER BY next_try_at LIMIT %(limit)s
"""


def stale_and_due(conn: Connection, rules: Rules, limit: int) -> list[Ring]:
    """Rings for all that may be read now, at most `limit`: newest `wanted` first, those without one last.

    A file none of whose slices may start (given up, at work, waiting for its next try) takes nobody's place.
    """
    parameters = {"active": [concern.value for concern in rules.active], "given_up": GIVE_UP_AFTER}
    file_ids = conn.exec_driver_sql(_STALE, parameters).scalars().all()
    rings: list[Ring] = []
    for first in range(0, len(file_ids), _AT_ONCE):
        for file, states in files_with_slices(conn, rules, file_ids[first : first + _AT_ONCE]):
            rings += _startable(rules, file, states)
            if len(rings) >= limit:
                return rings[:limit]
    return rings


def startable(conn: Connection, rules: Rules, file: FileRow) -> list[Ring]:
    """Rings for all of this file that may be read now."""
    return _startable(rules, file, slice_states(conn, rules, file, concern_rows(conn, rules, file)))


def _startable(rules: Rules, file: FileRow, states: Mapping[Concern, SliceState]) -> list[Ring]:
    concerns = to_ring_for(states, file.now, shared_reads=rules.shared_reads)
    return [Ring(Work.HYDRATE_CONCERN, file.id, concern) for concern in concerns]


def uncaptured(conn: Connection, limit: int) -> list[Ring]:
    """A ring for every exited own write that still waits for its capture."""
    rows = conn.exec_driver_sql(_UNCAPTURED, {"limit": limit})
    return [Ring(Work.CAPTURE, row.file_id, own_write_id=row.id) for row in rows]
