"""Databases of a test's own on the one PostgreSQL of a run, and what else each process of xdist has for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import redis
import sqlalchemy as sa
from psycopg import sql

from migrations.upgrade import driver_url, upgrade

DATABASE, REDIS = "MLM_TEST_DATABASE_URL", "MLM_TEST_REDIS_URL"
TEMPLATE = "MLM_TEST_TEMPLATE"  # set by conftest: the migrated database that each test's is copied from
FIELD_KEYS = "dGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgb25seSwgMzI="

#: As the one stored value stands once a webhook's stamp has equalled a read's. Until then every entry orders, and
#: nothing else about the guard would show. A database from `template0` is without it.
CALIBRATED = "UPDATE stamp_calibration SET alike_at = mlm_now()"


@contextmanager
def database(admin: psycopg.Connection, purpose: str, template: str | None = None) -> Iterator[str]:
    """The URL of a database of this process for this purpose; dropped afterwards, whoever is still connected.

    Migrated and empty, or a copy of `template`, to which nobody may be connected then.
    """
    name = f"{os.environ[TEMPLATE]}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{purpose}"
    create(admin, name, template or os.environ[TEMPLATE])
    try:
        yield url_of(name)
    finally:
        drop(admin, name)


@contextmanager
def engine_on(url: str, options: str = "") -> Iterator[sa.Engine]:
    """An SQLAlchemy engine on a database for as long as the block runs; its sessions are in UTC."""
    engine = sa.create_engine(driver_url(url), pool_size=5, connect_args={"options": f"-c timezone=UTC {options}"})
    try:
        yield engine
    finally:
        engine.dispose()


def migrate(url: str) -> None:
    """Bring an empty database to where each test's begins: migrated, its stamps calibrated."""
    upgrade(url)
    with psycopg.connect(url) as connection:
        connection.execute(CALIBRATED)


def emptied_redis() -> str:
    """The URL of this process's logical database, emptied."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
    url = f"{os.environ[REDIS].rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def url_of(name: str) -> str:
    return sa.make_url(os.environ[DATABASE]).set(database=name).render_as_string(hide_password=False)


def create(admin: psycopg.Connection, name: str, template: str = "template0") -> None:
    drop(admin, name)
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))


def drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


#: Who in this database waits for a lock.
WAITS = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

#: Tables whose rows a migration has put there.
KEPT = ("alembic_version", "event_counter", "stamp_calibration", "backstop_turns")


def empty(engine: sa.Engine) -> None:
    """Bring a database that tests share back to where each begins."""
    with engine.begin() as conn:
        tables = conn.exec_driver_sql(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> ALL(%(kept)s)",
            {"kept": list(KEPT)},
        ).scalars()
        conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        conn.exec_driver_sql("; ".join(f"DELETE FROM {table}" for table in tables))
