"""Bringing a database up to date, or back down.

A new step: change the tables in `freshness/tables`, then

    python -m migrations.upgrade new "what it is for"

writes a file to `migrations/versions` with what differs from the database at `DATABASE_URL`. Read it before you
keep it: Alembic sees no triggers, functions or checks.
"""

from __future__ import annotations

import os
import sys
from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine, make_url, pool


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every step up to `revision`. Safe beside another run: the second waits, then finds nothing to do."""
    command.upgrade(alembic_config(database_url), revision)


def downgrade(database_url: str, revision: str = "base") -> None:
    """Undo every step after `revision`; `base` leaves no table of ours, and none of their rows."""
    command.downgrade(alembic_config(database_url), revision)


def steps() -> list[str]:
    """Every step's revision, `base` first, the newest last."""
    found = ScriptDirectory.from_config(alembic_config("postgresql://")).walk_revisions()
    return ["base", *(step.revision for step in reversed(list(found)))]


def step_of(database_url: str) -> str:
    """The revision that the database is at; `base` if no step was ever run there."""
    engine = unpooled(driver_url(database_url))
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "base"


def losses(newer: str, older: str) -> list[tuple[str, str]]:
    """What rows are lost by going back from one revision to another: each step that takes some along, and which. A
    step says so in its `loses`; without one, to undo it loses nothing."""
    scripts = ScriptDirectory.from_config(alembic_config("postgresql://"))
    return [
        (step.revision, step.module.loses)
        for step in scripts.iterate_revisions(newer, older)
        if hasattr(step.module, "loses")
    ]


def written(span: str = "base:head") -> str:
    """The steps from one revision to another as SQL, without a database; `head:base` is the way back."""
    config = alembic_config("postgresql://")
    config.output_buffer = StringIO()
    begin, _, end = span.partition(":")
    back = end == "base" or begin == "head" or (begin != "base" and end != "head" and end < begin)
    (command.downgrade if back else command.upgrade)(config, span, sql=True)
    return config.output_buffer.getvalue()


def alembic_config(database_url: str) -> Config:
    """What Alembic needs to know to work on this database with our steps."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["url"] = driver_url(database_url)
    return config


def unpooled(url: URL) -> Engine:
    """An engine for a sitting of one connection. Its errors do not quote statements' parameters."""
    return create_engine(url, poolclass=pool.NullPool, hide_parameters=True)


def driver_url(database_url: str) -> URL:
    """The setting `DATABASE_URL` as SQLAlchemy takes it: psycopg 3, also for the older `postgres://`."""
    return make_url(database_url).set(drivername="postgresql+psycopg")


def _new_step(message: str) -> None:
    config = alembic_config(os.environ["DATABASE_URL"])
    taken = len(list((Path(__file__).parent / "versions").glob("[0-9]*.py")))
    command.revision(config, message, autogenerate=True, rev_id=f"{taken + 1:04d}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "new":
        sys.exit('usage: python -m migrations.upgrade new "what it is for"')
    _new_step(sys.argv[2])
