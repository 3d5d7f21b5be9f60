"""Switches: `MLM_NAMES` switches a concern off, or on again. A file's `served` speaks of the concerns that count now.

A commit raises it to what all active concerns have served. Where one that was behind is switched off, no commit may
ever come; where one is switched on, it has not served what the file has. Both are found by looking.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ..rules import Rules
from ..state import State
from . import events, receipts, unconfirmed
from .orders import place
from .rows import concern_rows, file_under_lock

CAUSE = "a concern was switched on"

# Of the stale files alone, which a partial index finds.
_BEHIND = """
SELECT f.id FROM file_freshness f
WHERE f.served < f.ordered AND f.served < (
    SELECT min(coalesce(c.served, 0)) FROM unnest(%(active)s::text[]) AS a (concern)
    LEFT JOIN file_concerns c ON c.file_id = f.id AND c.concern = a.concern
)
ORDER BY f.id LIMIT %(limit)s
"""

_AHEAD = """
SELECT f.id FROM file_freshness f
WHERE f.served >= f.ordered AND f.ordered > 0 AND f.deleted_at IS NULL AND EXISTS (
    SELECT FROM unnest(%(active)s::text[]) AS a (concern)
    LEFT JOIN file_concerns c ON c.file_id = f.id AND c.concern = a.concern
    WHERE coalesce(c.served, 0) < f.ordered
)
ORDER BY f.id LIMIT %(limit)s
"""

_SERVED = "UPDATE file_freshness SET served = %(served)s WHERE id = %(file_id)s"


def follow_off(conn: Connection, rules: Rules, limit: int = 200) -> int:
    """Raise `served` of files that waited for concerns that no longer count, with their receipts; how many were found.
    In a transaction of its own, again until fewer than `limit` are found."""
    found = _look(conn, rules, _BEHIND, limit)
    for file_id in found:
        file = file_under_lock(conn, file_id)
        assert file is not None  # noqa: S101 - files are never deleted
        served = min(row.served for row in concern_rows(conn, rules, file).values())
        if served > file.served:
            conn.exec_driver_sql(_SERVED, {"file_id": file_id, "served": served})
            receipts.mark_served(conn, file_id, served, file.now)
            if unconfirmed.note(conn, rules, file_id) is State.FRESH:
                events.write(conn, file.ref, [events.FRESH])
    return len(found)


def follow_on(conn: Connection, rules: Rules, limit: int = 200) -> int:
    """Order the files that have served what a concern that counts now has not; how many were found. The sweep rings.
    In a transaction of its own, again until fewer than `limit` are found."""
    found = _look(conn, rules, _AHEAD, limit)
    for file_id in found:
        file = file_under_lock(conn, file_id)
        assert file is not None  # noqa: S101 - files are never deleted
        if file.served >= file.ordered:
            place(conn, file_id, CAUSE)
    return len(found)


def _look(conn: Connection, rules: Rules, query: str, limit: int) -> list[int]:
    parameters = {"active": [concern.value for concern in rules.active], "limit": limit}
    return list(conn.exec_driver_sql(query, parameters).scalars())
