"""How Alembic runs our steps: one at a time over all processes, each in its own transaction, none waiting long.

A step that waits for a lock makes every query behind it wait too. So it gives up after 4 s and can be run again,
and a statement that runs longer than a minute belongs in a step of its own, in batches.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine, create_engine, pool, text

import freshness.tables
from freshness.tables.base import Base

#: Any number will do, as long as no other program takes the same one in this database.
MIGRATION_LOCK = 6_530_417_718

for module in pkgutil.iter_modules(freshness.tables.__path__):
    importlib.import_module(f"freshness.tables.{module.name}")


def run(connection: Connection) -> None:
    """Take the lock, run the steps, give the lock back whatever happened."""
    partitions = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))

    def of_ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name not in partitions

    with _alone(connection):
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            include_name=of_ours,
            compare_server_default=False,
        )
        with context.begin_transaction():
            context.run_migrations()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    connection.execute(text("SET lock_timeout = '5min'"))
    connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text("SET lock_timeout = '4s'"))
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("RESET lock_timeout"))
        connection.execute(text("RESET statement_timeout"))
        connection.commit()


def main() -> None:
    """Run on the engine or connection that a test hands over, else on the configured URL."""
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        run(given)
        return
    if isinstance(given, Engine):
        engine = given
    else:
        engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection)


main()
