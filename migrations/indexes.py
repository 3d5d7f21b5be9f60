"""Indexes on tables that are in use: built and dropped while everybody goes on reading and writing.

`CREATE INDEX` keeps all writers out until it is done; `CREATE INDEX CONCURRENTLY` does not, but must stand in no
transaction. So such indexes have a step of their own, in which each statement can be run again: a step that was broken
off is begun anew, and leaves no half-built index behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from alembic import context, op

from .patience import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a table. `of`: all that follows the table's name."""

    name: str
    table: str
    of: str
    partitioned: bool = False


_IS_VALID = """
SELECT i.indisvalid FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relname = :name AND pg_table_is_visible(c.oid)
"""

# For the linter: this reads no row, and there is no other way for a table with partitions.
_A_SHELL = "-- squawk-ignore require-concurrent-index-creation\n"

# Partitions that have no index of this one's yet, be it that none was built or that it is not attached.
_WITHOUT = """
SELECT c.relname FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
WHERE p.inhparent = to_regclass(:table) AND NOT EXISTS (
    SELECT FROM pg_inherits a JOIN pg_index i ON i.indexrelid = a.inhrelid
    WHERE a.inhparent = to_regclass(:name) AND i.indrelid = c.oid
) ORDER BY 1
"""


def build(index: Index) -> None:
    """Build an index that is not there yet, or not whole."""
    with op.get_context().autocommit_block():
        if index.partitioned:
            _build_by_partition(index)
        else:
            _build(index.name, index.table, index.of)


def drop(index: Index) -> None:
    """Drop an index. One over partitions waits, as any step does, for a moment in which nobody uses the table."""
    if index.partitioned:
        op.execute(f"DROP INDEX IF EXISTS {index.name}")
        return
    with op.get_context().autocommit_block():
        _unhurried(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")


def _build_by_partition(index: Index) -> None:
    """The whole's index as a shell, then one partition's after the other, each attached as it is done.

    A partition that is made meanwhile gets its index at once, being empty.
    """
    op.execute(f"{_A_SHELL}CREATE INDEX IF NOT EXISTS {index.name} ON ONLY {index.table} {index.of}")
    for partition in _partitions_without(index):
        name = f"{partition}_{index.name.removeprefix(f'ix_{index.table}_')}_ix"
        _build(name, partition, index.of)
        op.execute(f"ALTER INDEX {index.name} ATTACH PARTITION {name}")


def _partitions_without(index: Index) -> list[str]:
    if context.is_offline_mode():  # it cannot be known which weeks there are
        return [f"{index.table}_default"]
    found = op.get_bind().exec_driver_sql(
        _WITHOUT.replace(":table", "%(table)s").replace(":name", "%(name)s"),
        {"table": index.table, "name": index.name},
    )
    return list(found.scalars())


def _build(name: str, table: str, of: str) -> None:
    if not context.is_offline_mode():
        query = _IS_VALID.replace(":name", "%(name)s")
        if op.get_bind().exec_driver_sql(query, {"name": name}).scalar() is False:
            _unhurried(f"DROP INDEX CONCURRENTLY {name}")  # left by a build that was broken off
    _unhurried(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {of}")


def _unhurried(statement: str) -> None:
    """As long as it takes: nobody waits for it, though it waits for everybody."""
    op.execute("SET lock_timeout = 0")
    op.execute("SET statement_timeout = 0")
    op.execute(statement)
    op.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
    op.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
