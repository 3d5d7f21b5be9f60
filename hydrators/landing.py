"""Landing: rows into the portal's tables, set-wise, in the caller's transaction.

Only rows that differ are written: a hydrate that brings nothing new leaves no dead row, no trigger and no count. A
sealed column takes no part in the comparison (its nonce is new each time); the digest beside it does. The audit log
stays the portal's own: a landing keeps it silent, in the statement that writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection

from .errors import MissingBorrower
from .loan_fields import FileKind
from .rows import OWNED_BY, Landing, Row

#: Every table of a file's children, upstream before downstream.
CHILDREN = (
    "borrowers", "assets", "liabilities", "employments", "real_properties", "incomes", "conditions", "fees",
)  # fmt: skip

_TABLES: dict[FileKind, str] = {"loan": "loans", "lead": "leads"}


@dataclass(frozen=True, slots=True)
class Parent:
    """The loan or lead that rows belong to, by the id of its row."""

    kind: FileKind
    id: int

    @property
    def column(self) -> str:
        """The children's column that points to it."""
        return f"{self.kind}_id"


def hydrating(conn: Connection) -> None:
    """Keep the audit log silent until this transaction ends: what follows is MLM's doing, not the portal's. A landing
    does so by itself; for `purge_children`, and for `move_children` before anything has landed."""
    conn.exec_driver_sql("SET LOCAL mlm.hydrating = 'on'")


def land(conn: Connection, parent: Parent, landing: Landing) -> int:
    """Make the parent's rows of one table what the landing says: insert, update what differs, delete the rest.

    Returns how many rows were inserted, updated and deleted.

    Raises:
        MissingBorrower: an owner has not landed; roll back.
    """
    rows = _with_row_ids(conn, parent, landing)
    groups = _by_columns(rows)
    said = {f"rows_{number}": _as_json(alike) for number, alike in enumerate(groups.values())}
    there = {"parent": parent.id, "ids": [row["lqb_id"] for row in rows], "unsaid": list(landing.unsaid)}
    replace = _replace(landing.table, parent.column, tuple(groups))
    return int(conn.exec_driver_sql(replace, {**there, **said}).scalar_one())


def land_loan_fields(conn: Connection, kind: FileKind, ref: str, landing: Landing) -> tuple[Parent, int]:
    """Make the loan or lead of that reference number, or update its columns that differ. Its copy's own columns
    (`is_hydrated`, `hydrated_at`, `mlm_last_modified_at`, `deleted_at`) are not touched.

    Returns it, and how many rows were written (0 or 1).
    """
    (row,) = landing.rows
    table, columns = _TABLES[kind], tuple(sorted(row))
    parameters = {"ref": ref, "rows": _as_json([row])}
    written = conn.exec_driver_sql(_upsert_file(table, columns), parameters).scalar()
    if written is not None:
        return Parent(kind, written), 1
    found = conn.exec_driver_sql(f"SELECT id FROM {table} WHERE mlm_reference_number = %(ref)s", parameters)  # noqa: S608
    return Parent(kind, found.scalar_one()), 0


def purge_children(conn: Connection, parent: Parent) -> int:
    """Delete everything that belongs to the loan or lead, but not its own row. Returns how many rows there were."""
    return sum(
        conn.exec_driver_sql(f"DELETE FROM {table} WHERE {parent.column} = %(id)s", {"id": parent.id}).rowcount  # noqa: S608
        for table in reversed(CHILDREN)
    )


def move_children(conn: Connection, lead_id: int, loan_id: int) -> int:
    """Hand a lead's children to the loan it became; they keep their ids. Returns how many moved.

    Where the loan has a row of the same `lqb_id` already, the loan's stays and the lead's goes; the order that
    follows (docs/protocol.md, "Being there and not") lands what they should hold.
    """
    ids = {"lead": lead_id, "loan": loan_id}
    moved = 0
    for table in CHILDREN:
        conn.exec_driver_sql(_DROP_DOUBLES.format(table=table), ids)
        moved += conn.exec_driver_sql(_MOVE.format(table=table), ids).rowcount
    return moved


_DROP_DOUBLES = """
DELETE FROM {table} AS child WHERE child.lead_id = %(lead)s
   AND EXISTS (SELECT FROM {table} AS held WHERE held.loan_id = %(loan)s AND held.lqb_id = child.lqb_id)
"""

_MOVE = "UPDATE {table} SET loan_id = %(loan)s, lead_id = NULL WHERE lead_id = %(lead)s"


# As `hydrating`, within a statement: what has `_IS_SILENT` among its conditions meets it before it writes a row.
_SILENT = "silent AS MATERIALIZED (SELECT set_config('mlm.hydrating', 'on', true) AS audit)"
_IS_SILENT = "(SELECT audit FROM silent) = 'on'"


@lru_cache(maxsize=256)
def _replace(table: str, parent: str, groups: tuple[tuple[str, ...], ...]) -> str:
    """One statement for all rows of a table: what is not said is gone, and each group, whose rows have the same
    columns, is put. Returns how many rows were written."""
    puts = [f"put_{number} AS ({_upsert(table, parent, columns, number)})" for number, columns in enumerate(groups)]
    parts = [f"gone AS ({_delete(table, parent)})", *puts]
    written = " + ".join(f"(SELECT count(*) FROM {part.split()[0]})" for part in parts)  # noqa: S608  names of ours
    return f"WITH {', '.join([_SILENT, *parts])} SELECT {written}"


def _upsert(table: str, parent: str, columns: tuple[str, ...], number: int) -> str:
    """Rows that are equal already are not even locked."""
    compared = [column for column in columns if not column.endswith("_encrypted")]
    return f"""
        INSERT INTO {table} ({parent}, {", ".join(columns)})
        SELECT %(parent)s, {", ".join(f"said.{column}" for column in columns)}
          FROM jsonb_populate_recordset(NULL::{table}, %(rows_{number})s::jsonb) AS said
         WHERE {_IS_SILENT} AND NOT EXISTS (
               SELECT FROM {table} AS held WHERE held.{parent} = %(parent)s AND held.lqb_id = said.lqb_id
                  AND ({_list("held", compared)}) IS NOT DISTINCT FROM ({_list("said", compared)}))
         ORDER BY said.lqb_id
            ON CONFLICT ({parent}, lqb_id)
            DO UPDATE SET ({", ".join(columns)}) = ROW ({_list("excluded", columns)}) RETURNING 1
    """  # noqa: S608  names of ours, no value


@lru_cache(maxsize=256)
def _upsert_file(table: str, columns: tuple[str, ...]) -> str:
    return f"""
        WITH {_SILENT}
        INSERT INTO {table} (mlm_reference_number, {", ".join(columns)})
        SELECT %(ref)s, {_list("said", columns)}
          FROM jsonb_populate_recordset(NULL::{table}, %(rows)s::jsonb) AS said
         WHERE {_IS_SILENT} AND NOT EXISTS (
               SELECT FROM {table} AS held WHERE held.mlm_reference_number = %(ref)s
                  AND ({_list("held", columns)}) IS NOT DISTINCT FROM ({_list("said", columns)}))
            ON CONFLICT (mlm_reference_number)
            DO UPDATE SET ({", ".join(columns)}) = ROW ({_list("excluded", columns)}) RETURNING id
    """  # noqa: S608  names of ours, no value


def _delete(table: str, parent: str) -> str:
    kept = "AND NOT (role = 'co_borrower' AND position = ANY (%(unsaid)s::int[]))" if table == "borrowers" else ""
    return f"""
        DELETE FROM {table}
         WHERE {_IS_SILENT} AND {parent} = %(parent)s AND lqb_id <> ALL (%(ids)s::text[]) {kept} RETURNING 1
    """  # noqa: S608  names of ours, no value


def _list(row: str, columns: Iterable[str]) -> str:
    return ", ".join(f"{row}.{column}" for column in columns)


def _by_columns(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """The rows by which columns they have: in one answer mostly one group."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(sorted(row)), []).append(row)
    return groups


def _with_row_ids(conn: Connection, parent: Parent, landing: Landing) -> list[Row]:
    """The rows, with ids of ours in place of MLM's ids of borrowers, and beside its ids of jobs."""
    rows = [dict(row) for row in landing.rows]
    owners = {row[OWNED_BY] for row in rows if row.get(OWNED_BY)}
    borrowers = _ids(conn, parent, "borrowers", owners)
    if len(borrowers) < len(owners):
        raise MissingBorrower(landing.table, len(owners) - len(borrowers))
    jobs = _ids(conn, parent, "employments", {row["employment_lqb_id"] for row in rows if row.get("employment_lqb_id")})
    for row in rows:
        if OWNED_BY in row:
            row["borrower_id"] = borrowers.get(row.pop(OWNED_BY))
        if "employment_lqb_id" in row:
            row["employment_id"] = jobs.get(row["employment_lqb_id"])
    return rows


def _ids(conn: Connection, parent: Parent, table: str, lqb_ids: set[str]) -> Mapping[str | None, int]:
    if not lqb_ids:
        return {}
    found = conn.exec_driver_sql(
        f"SELECT lqb_id, id FROM {table} WHERE {parent.column} = %(parent)s AND lqb_id = ANY (%(ids)s)",  # noqa: S608
        {"parent": parent.id, "ids": sorted(lqb_ids)},
    )
    return {row.lqb_id: row.id for row in found}


def _as_json(rows: list[Row]) -> str:
    return json.dumps(rows, default=_as_text, ensure_ascii=False)


def _as_text(value: Any) -> str:
    """What PostgreSQL reads as the column's own type."""
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot stand in a row")
