"""One database and one receiver for all tests here, emptied between them: a copy for each would cost minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from running_receiver import Receiver, receiver

from console.embedded import PostgreSQL, embedded
from migrations.upgrade import driver_url, upgrade

#: Rows that a migration has put there.
KEPT = ("alembic_version", "event_counter", "stamp_calibration", "backstop_turns")


def _engine(url: str | sa.URL) -> sa.Engine:
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    return sa.create_engine(driver_url(text), pool_size=5, connect_args={"options": "-c timezone=UTC"})


@pytest.fixture(scope="session")
def _shared_engine(_admin: psycopg.Connection) -> Iterator[sa.Engine]:
    template = os.environ["MLM_TEST_TEMPLATE"]
    name = f"{template}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_receiver"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    _admin.execute(drop)
    _admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    engine = _engine(sa.make_url(os.environ["MLM_TEST_DATABASE_URL"]).set(database=name))
    yield engine
    engine.dispose()
    _admin.execute(drop)


@pytest.fixture(scope="session")
def _shared_receiver(_shared_engine: sa.Engine) -> Iterator[Receiver]:
    with receiver(_shared_engine, redis_url=os.environ["MLM_TEST_REDIS_URL"]) as running:
        yield running


@pytest.fixture
def engine(_shared_engine: sa.Engine) -> Iterator[sa.Engine]:
    """An engine on a migrated database whose tables are empty."""
    yield _shared_engine
    _empty(_shared_engine)


def _empty(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        tables = conn.exec_driver_sql(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> ALL(%(kept)s)",
            {"kept": list(KEPT)},
        ).scalars()
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        conn.exec_driver_sql("; ".join(f"DELETE FROM {table}" for table in tables))


@pytest.fixture
def own_engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a database of this test's own, to do harm to."""
    engine = _engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def served(_shared_receiver: Receiver, engine: sa.Engine) -> Receiver:
    """A receiver with both tokens set and Redis beside it, that has not rung yet."""
    _shared_receiver.rings.clear()
    return _shared_receiver


@pytest.fixture(scope="session")
def _stoppable() -> Iterator[PostgreSQL]:
    with embedded(durable=False, redis_url="redis://not-needed") as servers:
        assert servers.postgresql is not None
        upgrade(servers.database_url)
        engine = _engine(servers.database_url)
        with engine.begin() as conn:
            conn.exec_driver_sql("UPDATE stamp_calibration SET alike_at = mlm_now()")
        engine.dispose()
        yield servers.postgresql


@pytest.fixture
def postgresql(_stoppable: PostgreSQL) -> Iterator[PostgreSQL]:
    """A PostgreSQL that a test may stop and start; migrated, its tables empty."""
    yield _stoppable
    if _stoppable.process is None:
        _stoppable.start()
    engine = _engine(_stoppable.url)
    _empty(engine)
    engine.dispose()
