"""How Alembic runs our steps: one at a time over all processes, each in its own transaction, none waiting long
(`patience`)."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine, text

import freshness.tables
from freshness.tables.base import Base
from migrations.patience import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_S, alone, patiently
from migrations.upgrade import unpooled

for module in pkgutil.iter_modules(freshness.tables.__path__):
    importlib.import_module(f"freshness.tables.{module.name}")


def run(connection: Connection) -> None:
    """Take the lock, run the steps, give the lock back whatever happened."""
    partitions = set(connection.scalars(text("SELECT relname FROM pg_class WHERE relispartition")))

    def of_ours(name: str | None, kind: str, _parents: Any) -> bool:
        return kind != "table" or name not in partitions

    def steps() -> None:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            include_name=of_ours,
            compare_server_default=False,
        )
        with context.begin_transaction():
            context.run_migrations()

    with alone(connection):
        patiently(connection, steps)


def write() -> None:
    """Write the steps as SQL, for a linter or for whoever wants to read what they do."""
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, transaction_per_migration=True)
    context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'")
    context.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    """Run on the engine or connection that a test hands over, else on the configured URL."""
    if context.is_offline_mode():
        write()
        return
    given = context.config.attributes.get("connection")
    if isinstance(given, Connection):
        run(given)
        return
    engine = given if isinstance(given, Engine) else unpooled(context.config.attributes["url"])
    with engine.connect() as connection:
        run(connection)


main()
