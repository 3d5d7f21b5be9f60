"""Rows of a sender into their table, set-wise, in the caller's transaction; and what no column is for, kept aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Beside

from .said import fit

Row = dict[str, Any]

#: A statement that writes rows, and these rows.
Write = tuple[str, Sequence[Row]]

_encoder = msgspec.json.Encoder(decimal_format="string")


def upsert(
    conn: Connection,
    table: str,
    keys: tuple[str, ...],
    rows: Iterable[Row],
    newest_by: str | None = None,
    only_of: str | None = None,
) -> None:
    """Insert rows or update what they say of those that are there, as `upserts` says, one write after the other."""
    write(conn, upserts(table, keys, rows, newest_by, only_of))


def upserts(
    table: str,
    keys: tuple[str, ...],
    rows: Iterable[Row],
    newest_by: str | None = None,
    only_of: str | None = None,
) -> list[Write]:
    """To insert rows or update what they say of those that are there: one write for all that have the same columns.

    Of several with the same keys each overwrites what it says itself; they are locked in the order of their keys.
    `newest_by`: a column that says how new a row is. What is older than what is there, or does not say how new it is
    beside what does, changes nothing; such rows say all of their columns. `only_of`: a column
    that a row which is there must have the same in, or it stays as it is.
    """
    by_key: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        held = by_key.setdefault(tuple(row[key] for key in keys), {})
        if newest_by is None or not _is_older(row[newest_by], held.get(newest_by)):
            held.update(row)
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in by_key.values():
        alike.setdefault(tuple(sorted(row)), []).append(row)
    return [(_upsert(table, keys, columns, newest_by, only_of), group) for columns, group in alike.items()]


def _is_older(new: Any, held: Any) -> bool:
    return held is not None and (new is None or new < held)


def inserts(table: str, rows: Sequence[Row]) -> list[Write]:
    """To add rows, in their order. All have the same columns."""
    return [(_insert(table, tuple(rows[0])), rows)] if rows else []


def write(conn: Connection, writes: Sequence[Write]) -> None:
    """Write this, one statement after the other."""
    for sql, rows in writes:
        conn.exec_driver_sql(sql.format(rows="rows"), {"rows": as_json(rows)})


def beside(name: str, writes: Sequence[Write]) -> Beside:
    """All of this, to be written in one statement with the receipts: a way there and back costs more than what it does
    (measured). `name`: of the sender."""
    queries = [f"{name}{place} AS ({sql.format(rows=f'{name}{place}')})" for place, (sql, _) in enumerate(writes)]
    return Beside(", ".join(queries), {f"{name}{place}": as_json(rows) for place, (_, rows) in enumerate(writes)})


def clear(conn: Connection, table: str, keep: tuple[str, ...], where: Mapping[str, Any], **defaults: str) -> None:
    """Empty a row's columns but for those that name it. Rows that others point to keep their ids so.

    `defaults`: what a column that cannot be null becomes, as SQL.
    """
    columns = conn.exec_driver_sql(_COLUMNS, {"table": table, "keep": [*keep, "id", "updated_at"]}).scalars()
    values = ", ".join(f"{name} = {defaults.get(name, 'NULL')}" for name in columns)
    named = " AND ".join(f"{name} = %({name})s" for name in where)
    conn.exec_driver_sql(f"UPDATE {table} SET {values} WHERE {named}", dict(where))  # noqa: S608 - names of ours


def aside(rest: Mapping[str, Any]) -> Row:
    """The column of what is kept aside in the open."""
    return {"other": fit(rest) or None}


def sealed_aside(rest: Mapping[str, Any], keys: FieldKeys) -> Row:
    """The column of what is kept aside sealed."""
    return {"other_encrypted": sealed_json(rest, keys) if rest else None}


def sealed_json(value: Any, keys: FieldKeys) -> bytes:
    """A JSON value, sealed as one text."""
    return keys.seal(_encoder.encode(fit(value)).decode())


def as_json(rows: Sequence[Row]) -> str:
    """Rows as PostgreSQL reads them into a table's own types."""
    return _encoder.encode([{name: _plain(value) for name, value in row.items()} for row in rows]).decode()


def _plain(value: Any) -> Any:
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value


_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = %(table)s AND column_name <> ALL(%(keep)s)
"""


@lru_cache(maxsize=1024)
def _upsert(
    table: str, keys: tuple[str, ...], columns: tuple[str, ...], newest_by: str | None, only_of: str | None
) -> str:
    said = [column for column in columns if column not in keys]
    names, order = ", ".join(columns), ", ".join(keys)
    sets = ", ".join([*(f"{column} = excluded.{column}" for column in said), "updated_at = mlm_now()"])
    may = [f"(t.{newest_by} IS NULL OR excluded.{newest_by} >= t.{newest_by})"] if newest_by else []
    may += [f"t.{only_of} = excluded.{only_of}"] if only_of else []
    where = f"WHERE {' AND '.join(may)}" if may else ""
    return f"""
        INSERT INTO {table} AS t ({names})
        SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, %({{rows}})s::jsonb) ORDER BY {order}
        ON CONFLICT ({order}) DO UPDATE SET {sets} {where}
    """  # noqa: S608 - names of ours, no value


@lru_cache(maxsize=64)
def _insert(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    return f"""
        INSERT INTO {table} ({names})
        SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, %({{rows}})s::jsonb)
    """  # noqa: S608 - names of ours, no value
