"""Shelves: the files in one state, a page at a time, in a time that does not depend on how many files there are.

Each shelf has an index that holds nothing else. What is stale is shown longest first as long as there are `MOST`
or fewer; of more, the longest of the first so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from ..readiness import GIVE_UP_AFTER

#: Stale files that one page looks through at most.
MOST = 5_000


class Shelf(StrEnum):
    """Which files; `ALL` are all of them, by reference."""

    STALE = "stale"
    GIVEN_UP = "given up"
    UNCONFIRMED = "unconfirmed"
    UNSTAMPED = "unstamped"
    DELETED = "deleted"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Files:
    """The ids of one page, what to go on after (None: this is the last page), and whether there are more stale files
    than were looked through."""

    ids: Sequence[int]
    next: str | None
    too_many: bool = False


# The longest stale first: what its place is told by is the time of the order, and the id.
_STALE = """
WITH behind AS MATERIALIZED (
    SELECT id, served FROM file_freshness WHERE served < ordered ORDER BY id LIMIT %(most)s + 1
), aged AS (
    SELECT s.id, coalesce((extract(epoch FROM o.placed_at) * 1000000)::bigint, 0) AS at
    FROM behind s LEFT JOIN refresh_orders o ON o.file_id = s.id AND o.number = s.served + 1
)
SELECT id, at || '.' || id AS place, (SELECT count(*) FROM behind) AS looked FROM aged
WHERE %(after)s::text IS NULL
   OR (at, id) > (split_part(%(after)s::text, '.', 1)::bigint, split_part(%(after)s::text, '.', 2)::bigint)
ORDER BY at, id LIMIT %(limit)s
"""

_GIVEN_UP = f"""
SELECT DISTINCT c.file_id AS id, c.file_id::text AS place, 0 AS looked
FROM file_concerns c JOIN file_freshness f ON f.id = c.file_id
WHERE c.attempts >= {GIVE_UP_AFTER} AND c.tried_order = f.ordered AND c.served < f.ordered AND f.served < f.ordered
  AND c.file_id > coalesce(%(after)s::bigint, 0)
ORDER BY c.file_id LIMIT %(limit)s
"""  # noqa: S608 - a number of ours

# By when each is to be looked at, which is what the index holds.
_UNCONFIRMED = """
SELECT id, (extract(epoch FROM confirm_at) * 1000000)::bigint || '.' || id AS place, 0 AS looked
FROM file_freshness
WHERE confirm_at IS NOT NULL AND served >= ordered AND deleted_at IS NULL AND (confirm_at, id) > (
    coalesce('epoch'::timestamptz + split_part(%(after)s::text, '.', 1)::bigint * interval '1 microsecond',
             '-infinity'),
    coalesce(split_part(%(after)s::text, '.', 2)::bigint, 0))
ORDER BY confirm_at, id LIMIT %(limit)s
"""

_FLAGGED = """
SELECT id, id::text AS place, 0 AS looked FROM file_freshness
WHERE {condition} AND id > coalesce(%(after)s::bigint, 0) ORDER BY id LIMIT %(limit)s
"""

_ALL = """
SELECT id, ref AS place, 0 AS looked FROM file_freshness WHERE ref > coalesce(%(after)s::text, '')
ORDER BY ref LIMIT %(limit)s
"""

_QUERIES = {
    Shelf.STALE: _STALE,
    Shelf.GIVEN_UP: _GIVEN_UP,
    Shelf.UNCONFIRMED: _UNCONFIRMED,
    Shelf.UNSTAMPED: _FLAGGED.format(condition="unstamped"),
    Shelf.DELETED: _FLAGGED.format(condition="deleted_at IS NOT NULL"),
    Shelf.ALL: _ALL,
}

_NUMBERS = """
SELECT f.ref, coalesce(l.mlm_loan_number, d.mlm_loan_number) AS number FROM file_freshness f
LEFT JOIN loans l ON l.id = f.loan_id LEFT JOIN leads d ON d.id = f.lead_id WHERE f.id = ANY(%(ids)s)
"""

_REFS = "SELECT id, ref FROM file_freshness WHERE id = ANY(%(ids)s)"

_NEAR = "SELECT ref FROM file_freshness WHERE ref >= %(text)s ORDER BY ref LIMIT %(limit)s"


def page(conn: Connection, shelf: Shelf, after: str | None = None, limit: int = 50, most: int = MOST) -> Files:
    """One page of a shelf behind `after`, or its first.

    Raises:
        ValueError: `after` is no place of this shelf.
    """
    _check(shelf, after)
    parameters: dict[str, object] = {"after": after, "limit": limit + 1}
    if shelf is Shelf.STALE:
        parameters["most"] = most
    rows = conn.exec_driver_sql(_QUERIES[shelf], parameters).all()
    too_many = bool(rows) and rows[0].looked > most
    return Files([row.id for row in rows[:limit]], rows[limit - 1].place if len(rows) > limit else None, too_many)


def loan_numbers(conn: Connection, file_ids: Sequence[int]) -> dict[str, str | None]:
    """The loan numbers of these files in our copy, by reference."""
    return {row.ref: row.number for row in conn.exec_driver_sql(_NUMBERS, {"ids": list(file_ids)})}


def references(conn: Connection, file_ids: Sequence[int]) -> dict[int, str]:
    """The references of these files, by id."""
    return {row.id: row.ref for row in conn.exec_driver_sql(_REFS, {"ids": list(file_ids)})}


def near(conn: Connection, text: str, limit: int = 10) -> list[str]:
    """The references that come next to a text, for who has typed a part of one."""
    return list(conn.exec_driver_sql(_NEAR, {"text": text, "limit": limit}).scalars())


def _check(shelf: Shelf, after: str | None) -> None:
    if after is None or shelf is Shelf.ALL:
        return
    parts = after.split(".")
    wanted = 2 if shelf in (Shelf.STALE, Shelf.UNCONFIRMED) else 1
    if len(parts) != wanted or not all(part.isdecimal() and len(part) < 19 for part in parts):
        raise ValueError("no place on this shelf")
