"""Imports: many files ordered by one command, in a run that can be broken off and taken up again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from ..bell import Ring
from .files import ensure
from .orders import place


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: files asked for, ordered, and served by every concern; of these, not in MLM; given up.

    `deleted`: served too, but MLM had deleted them before an import of all began, and still does not have them: that is
    as it should be. `not_found`: MLM has said once that it does not have them, and is asked again after a minute.
    """

    total: int
    ordered: int
    served: int
    missing: int
    deleted: int
    given_up: int
    not_found: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing more comes of it: every file is served, or rests because it was given up."""
        return self.served + self.given_up >= self.total


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A file that an import could not bring: `missing` from MLM, or given up, and why."""

    ref: str
    missing: bool
    why: str


_OPEN_RUN = """
SELECT id FROM import_runs WHERE asked = %(asked)s AND finished_at IS NULL ORDER BY id DESC LIMIT 1
"""

_START = "INSERT INTO import_runs (asked) VALUES (%(asked)s) RETURNING id"

_ADD = """
INSERT INTO import_files (run_id, ref) SELECT %(run)s, unnest(%(refs)s::text[]) ON CONFLICT DO NOTHING
"""

_ADD_ALL = """
INSERT INTO import_files (run_id, ref)
SELECT %(run)s, mlm_reference_number FROM loans UNION SELECT %(run)s, mlm_reference_number FROM leads
WHERE became_loan_id IS NULL ON CONFLICT DO NOTHING
"""

_UNORDERED = """
SELECT ref FROM import_files WHERE run_id = %(run)s AND order_number IS NULL ORDER BY ref LIMIT %(limit)s
"""

_ORDERED = """
UPDATE import_files SET file_id = %(file_id)s, order_number = %(number)s WHERE run_id = %(run)s AND ref = %(ref)s
"""

_ALL = "--all"

_IS_GONE = "f.served >= i.order_number AND f.deleted_at IS NOT NULL"

# Of files that were named each is wanted, however long it has been gone.
_WAS_GONE = f"r.asked = '{_ALL}' AND f.deleted_at < r.started_at"

_FILES = """import_files i JOIN import_runs r ON r.id = i.run_id LEFT JOIN file_freshness f ON f.id = i.file_id
WHERE i.run_id = %(run)s"""

_PROGRESS = f"""
SELECT count(*) AS total, count(i.order_number) AS ordered,
       count(*) FILTER (WHERE f.served >= i.order_number) AS served,
       count(*) FILTER (WHERE {_IS_GONE} AND NOT ({_WAS_GONE})) AS missing,
       count(*) FILTER (WHERE {_IS_GONE} AND {_WAS_GONE}) AS deleted,
       count(*) FILTER (WHERE f.served < i.order_number AND EXISTS (
           SELECT FROM file_concerns c WHERE c.file_id = f.id AND c.attempts >= 8 AND c.tried_order = f.ordered
       )) AS given_up,
       count(*) FILTER (WHERE f.served < i.order_number AND f.not_found_at IS NOT NULL) AS not_found
FROM {_FILES}
"""  # noqa: S608 - a statement of ours

_SHORTFALLS = f"""
SELECT * FROM (
    SELECT i.ref, {_IS_GONE} AND NOT ({_WAS_GONE}) AS missing, (
        SELECT string_agg(c.concern || ': ' || coalesce(c.last_error, 'given up'), '; ' ORDER BY c.concern)
        FROM file_concerns c
        WHERE c.file_id = f.id AND f.served < i.order_number AND c.attempts >= 8 AND c.tried_order = f.ordered
    ) AS given_up
    FROM {_FILES}
) short WHERE missing OR given_up IS NOT NULL ORDER BY ref
"""  # noqa: S608 - a statement of ours


def start_or_resume(conn: Connection, refs: Sequence[str] | None) -> tuple[int, bool]:
    """The run of this import (None: every loan and lead), and whether it is an unfinished one taken up again."""
    asked = _ALL if refs is None else "\n".join(sorted(set(refs)))
    run = conn.exec_driver_sql(_OPEN_RUN, {"asked": asked}).scalar()
    resumed = run is not None
    if run is None:
        run = conn.exec_driver_sql(_START, {"asked": asked}).scalar_one()
        if refs is None:
            conn.exec_driver_sql(_ADD_ALL, {"run": run})
        else:
            conn.exec_driver_sql(_ADD, {"run": run, "refs": list(refs)})
    return int(run), resumed


def order_next(conn: Connection, run: int, limit: int = 100) -> list[Ring]:
    """Order the run's next files; an empty list when all have their order. In a transaction of its own."""
    rings: list[Ring] = []
    # Made in the order in which batches make theirs, whatever PostgreSQL's collation.
    refs = sorted(conn.exec_driver_sql(_UNORDERED, {"run": run, "limit": limit}).scalars())
    for file_id, ref in sorted((ensure(conn, ref), ref) for ref in refs):  # locked in ascending id, as everywhere
        placed = place(conn, file_id, "import")
        parameters = {"run": run, "ref": ref, "file_id": placed.file_id, "number": placed.number}
        conn.exec_driver_sql(_ORDERED, parameters)
        rings.extend(placed.rings)
    return rings


def progress(conn: Connection, run: int) -> Progress:
    """How far the run is."""
    return Progress(*conn.exec_driver_sql(_PROGRESS, {"run": run}).one())


def shortfalls(conn: Connection, run: int) -> list[Shortfall]:
    """The run's files that MLM does not have, and those that were given up, in the order of their references."""
    rows = conn.exec_driver_sql(_SHORTFALLS, {"run": run})
    return [Shortfall(row.ref, row.missing, row.given_up or "MLM does not have it") for row in rows]


def finish(conn: Connection, run: int) -> None:
    """The run is done: the same command begins a new one from now on."""
    conn.exec_driver_sql("UPDATE import_runs SET finished_at = mlm_now() WHERE id = %(run)s", {"run": run})
