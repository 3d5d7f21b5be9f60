"""Whether `FIELD_KEYS` holds the keys that have sealed what was sealed last.

Who only writes never opens a value: with a key that is well-formed and wrong it would find every digest different, and
seal everything anew with the wrong one. So each process that seals looks here before it begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from ..errors import KeyNotHeld
from ..field_keys import FieldKeys
from .rotation import SealedTable, key_id_of, sealed_tables

#: The newest sealed value is looked for among so many of a table's newest rows: few have none.
NEWEST_ROWS = 1000

# Of these tables, the sealed columns that are there and that our role may read: a receiver sees no borrower's.
_READABLE = """
SELECT c.relname, a.attname FROM unnest(%(tables)s::text[]) AS wanted (name)
JOIN pg_class c ON c.oid = to_regclass(wanted.name) JOIN pg_attribute a ON a.attrelid = c.oid
WHERE a.attname LIKE '%%\\_encrypted' AND NOT a.attisdropped AND has_column_privilege(c.oid, a.attnum, 'SELECT')
"""


def newest_keys(conn: Connection) -> dict[str, str]:
    """The id of the key that sealed the newest value of each table that has one, as far as our role may read them."""
    tables = [table for table in sealed_tables() if table.where == "true"]
    found = conn.exec_driver_sql(_READABLE, {"tables": [table.name for table in tables]})
    readable = {tuple(row) for row in found}
    asked = [
        _newest(table) for table in tables if {(table.name, f"{each}_encrypted") for each in table.columns} <= readable
    ]
    if not asked:
        return {}
    return {row.name: row.key for row in conn.exec_driver_sql(" UNION ALL ".join(asked))}


def not_held(newest: Mapping[str, str], keys: FieldKeys) -> dict[str, list[str]]:
    """Of these, the keys that we do not hold, by their ids: in which tables."""
    missing: dict[str, list[str]] = {}
    for table, key in sorted(newest.items()):
        if key not in keys.ids:
            missing.setdefault(key, []).append(table)
    return missing


def must_hold(conn: Connection, keys: FieldKeys, lost: Collection[str]) -> None:
    """Refuse to go on if the newest values were sealed with a key that we do not hold, unless it is known to be lost.

    Raises:
        KeyNotHeld: which key, and where.
    """
    for key, tables in not_held(newest_keys(conn), keys).items():
        if key not in lost:
            raise KeyNotHeld(key, tables)


def _newest(table: SealedTable) -> str:
    values = ", ".join(f"({key_id_of(f'{column}_encrypted')})" for column in table.columns)
    columns = ", ".join(f"{column}_encrypted" for column in table.columns)
    return f"""(
        SELECT '{table.name}' AS name, v.key FROM (
            SELECT {table.key}, {columns} FROM {table.name} ORDER BY {table.key} DESC LIMIT {NEWEST_ROWS}
        ) newest CROSS JOIN LATERAL (VALUES {values}) AS v (key)
        WHERE v.key IS NOT NULL ORDER BY newest.{table.key} DESC LIMIT 1
    )"""  # noqa: S608 - names of ours, no value
