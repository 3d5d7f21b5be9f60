"""Rotation of `FIELD_KEYS`: everything that an older key sealed is sealed anew with the newest, while others work.

What is done shows in the values themselves, each of which names its key: a rotation that was killed has lost nothing,
and run again it goes on with what is left. Rows are taken a few at a time, each lot in a short transaction; one that
somebody else has locked is left to the next pass. So nobody waits for it longer than for one lot, and nobody ever meets
a value that one of the keys does not open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, LargeBinary

from .. import tables
from ..errors import FieldKeyError
from ..field_keys import FieldKeys
from .arrays import arrays, unnested

#: Rows looked at in one transaction.
AT_ONCE = 500

#: Of bodies, only those from before there were keys of weeks are sealed with `FIELD_KEYS` themselves.
_OURS = {"sender_bodies": "key_week IS NULL"}

Begin = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table with sealed columns: their names without `_encrypted`, which of them have a digest beside them, and which
    rows `FIELD_KEYS` have sealed."""

    name: str
    key: str
    key_type: str
    columns: tuple[str, ...]
    indexed: frozenset[str]
    where: str = "true"


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that names a key of ours and does not open with it: changed since, or sealed with another of that id."""

    table: str
    column: str
    row: str
    key: str


@dataclass(frozen=True, slots=True)
class Lot:
    """What became of some rows of a table: how many values were sealed anew, and how many were passed over because
    their rows were in use, or because we do not hold their key (by its id); and which do not open with theirs."""

    table: str
    sealed: int
    in_use: int
    lost: Mapping[str, int]
    broken: tuple[Broken, ...] = ()


def sealed_tables() -> tuple[SealedTable, ...]:
    """Every table that has a sealed column: none can be forgotten, since a column's name says that it is one."""
    found = []
    for table in tables.Base.metadata.sorted_tables:
        names = {column.name for column in table.columns if isinstance(column.type, LargeBinary)}
        sealed = tuple(sorted(name.removesuffix("_encrypted") for name in names if name.endswith("_encrypted")))
        if sealed:
            (key,) = table.primary_key.columns
            indexed = frozenset(name for name in sealed if f"{name}_index" in names)
            found.append(
                SealedTable(table.name, key.name, str(key.type).lower(), sealed, indexed, _OURS.get(table.name, "true"))
            )
    return tuple(found)


def keys_in_use(conn: Connection, table: SealedTable) -> Counter[str]:
    """How many values of the table each key has sealed, by the key's id. Looks through the whole table."""
    each = ", ".join(f"({key_id_of(f'{column}_encrypted')})" for column in table.columns)
    conn.exec_driver_sql("SET LOCAL statement_timeout = '15min'")
    used = conn.exec_driver_sql(
        f"SELECT v.key, count(*) AS n FROM {table.name} CROSS JOIN LATERAL (VALUES {each}) AS v (key) "  # noqa: S608
        f"WHERE v.key IS NOT NULL AND {table.where} GROUP BY v.key"
    )
    return Counter({row.key: row.n for row in used})


def rotate(begin: Begin, keys: FieldKeys, table: SealedTable) -> Iterator[Lot]:
    """Go through a table once and seal anew what is not under the newest key, lot by lot. Left off, nothing is lost."""
    after = None
    while True:
        parameters = {"after": after, "newest": keys.newest, "limit": AT_ONCE}
        with begin() as conn:
            conn.exec_driver_sql("SET LOCAL mlm.hydrating = 'on'")  # it is no change of the portal's
            found = conn.exec_driver_sql(_looked(table), parameters).all()
            lot = _seal_anew(conn, keys, table, [row.key for row in found if row.older])
        yield lot
        if len(found) < AT_ONCE:
            return
        after = found[-1].key


def _seal_anew(conn: Connection, keys: FieldKeys, table: SealedTable, older: Sequence[Any]) -> Lot:
    """Lock what rows are free, in the order of their keys, and write them: nobody can come between."""
    parameters = {"older": [str(key) for key in older]}
    rows = conn.exec_driver_sql(_locked(table), parameters).mappings().all()
    lost: Counter[str] = Counter()
    broken: list[Broken] = []
    anew: list[tuple[Any, ...]] = []
    sealed = 0
    for row in rows:
        values: list[bytes | None] = []
        for column in table.columns:
            value, digest, passed_over = _anew(keys, row[f"{column}_encrypted"])
            sealed += value is not None
            if passed_over in keys.ids:
                broken.append(Broken(table.name, column, str(row["key"]), passed_over))
            elif passed_over:
                lost[passed_over] += 1
            values += [value, digest] if column in table.indexed else [value]
        if any(value is not None for value in values):
            anew.append((row["key"], *values))
    if anew:
        conn.exec_driver_sql(_written(table), arrays(_parameters(table), anew))
    return Lot(table.name, sealed, len(older) - len(rows), lost, tuple(broken))


def _anew(keys: FieldKeys, value: bytes | None) -> tuple[bytes | None, bytes | None, str]:
    """The value and its digest under the newest key; None for what can stay, and for what cannot be opened, whose key's
    id then comes third."""
    if value is None or keys.id_of(value) == keys.newest:
        return None, None, ""
    try:
        plain = keys.open(value)
    except FieldKeyError:
        return None, None, keys.id_of(value)
    return keys.seal(plain), keys.index(plain), ""


def key_id_of(column: str) -> str:
    """SQL for the id of the key that sealed this column's value."""
    return f"encode(substr({column}, 2, 4), 'hex')"


def _looked(table: SealedTable) -> str:
    older = " OR ".join(
        f"coalesce({key_id_of(f'{column}_encrypted')} <> %(newest)s, false)" for column in table.columns
    )
    return f"""
        SELECT {table.key} AS key, {table.where} AND ({older}) AS older FROM {table.name}
        WHERE %(after)s::{table.key_type} IS NULL OR {table.key} > %(after)s::{table.key_type}
        ORDER BY {table.key} LIMIT %(limit)s
    """  # noqa: S608 - names of ours, no value


def _locked(table: SealedTable) -> str:
    columns = ", ".join(f"{column}_encrypted" for column in table.columns)
    return f"""
        SELECT {table.key} AS key, {columns} FROM {table.name} WHERE {table.key} = ANY(%(older)s::{table.key_type}[])
        ORDER BY {table.key} FOR NO KEY UPDATE SKIP LOCKED
    """  # noqa: S608 - names of ours, no value


def _written(table: SealedTable) -> str:
    names = [name for name, _ in _parameters(table)]
    sets = ", ".join(f"{name} = coalesce(anew.{name}, t.{name})" for name in names[1:])
    return f"""
        UPDATE {table.name} t SET {sets} FROM {unnested(_parameters(table))} AS anew (key, {", ".join(names[1:])})
        WHERE t.{table.key} = anew.key
    """  # noqa: S608 - names of ours, no value


def _parameters(table: SealedTable) -> list[tuple[str, str]]:
    columns = [("key", table.key_type)]
    for column in table.columns:
        columns.append((f"{column}_encrypted", "bytea"))
        if column in table.indexed:
            columns.append((f"{column}_index", "bytea"))
    return columns
