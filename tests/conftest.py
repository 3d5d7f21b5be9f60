"""What every test stands on: a real PostgreSQL and a real Valkey, one of each for a run, and a clean environment.

The servers are started once, by the only process or by xdist's controller, unless `MLM_TEST_DATABASE_URL` or
`MLM_TEST_REDIS_URL` names one that runs already (of Redis, the logical databases from 1 up are emptied). A server
that cannot be had is an error, never a skip.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from databases import (
    DATABASE,
    FIELD_KEYS,
    REDIS,
    TEMPLATE,
    create,
    database,
    drop,
    emptied_redis,
    engine_on,
    migrate,
    url_of,
)
from hypothesis import settings as hypothesis_settings

from console.embedded import embedded
from freshness.settings import SETTINGS

hypothesis_settings.register_profile("dev", deadline=None)
hypothesis_settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis_settings.load_profile("dev")


def pytest_configure(config: pytest.Config) -> None:
    _forget_the_callers_settings()
    # pytest-alembic 0.13.1 fails on pytest 9.2 when it collects "its" file, by default this one; name it none.
    config.option.pytest_alembic_tests_path = "none"
    if hasattr(config, "workerinput"):  # a worker of xdist: the controller has put everything into os.environ
        return
    stack = ExitStack()
    config.add_cleanup(stack.close)
    servers = stack.enter_context(
        embedded(_in_memory(), durable=False, database_url=os.environ.get(DATABASE), redis_url=os.environ.get(REDIS))
    )
    os.environ[DATABASE], os.environ[REDIS] = servers.database_url, servers.redis_url
    os.environ[TEMPLATE] = f"mlm_test_{os.getpid()}"
    admin = stack.enter_context(psycopg.connect(servers.database_url, autocommit=True))
    create(admin, os.environ[TEMPLATE])
    stack.callback(drop, admin, os.environ[TEMPLATE])
    migrate(url_of(os.environ[TEMPLATE]))


@pytest.fixture(scope="session")
def _admin() -> Iterator[psycopg.Connection]:
    with psycopg.connect(os.environ[DATABASE], autocommit=True) as connection:
        yield connection


@pytest.fixture
def database_url(_admin: psycopg.Connection) -> Iterator[str]:
    """A database of this test's own, migrated and empty; dropped afterwards, whoever is still connected."""
    with database(_admin, "test") as url:
        yield url


@pytest.fixture
def empty_database_url(_admin: psycopg.Connection) -> Iterator[str]:
    """A database without any table, for tests of the migrations themselves."""
    with database(_admin, "empty", template="template0") as url:
        yield url


@pytest.fixture
def own_engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a database of this test's own: to do harm to, or to have nobody else count there."""
    with engine_on(database_url) as engine:
        yield engine


@pytest.fixture
def engine(own_engine: sa.Engine) -> sa.Engine:
    """An SQLAlchemy engine on this test's database; its sessions are in UTC."""
    return own_engine


@pytest.fixture
def redis_url() -> str:
    """A logical database of this worker's own, emptied for this test."""
    return emptied_redis()


@pytest.fixture
def environment(database_url: str, redis_url: str) -> dict[str, str]:
    """The settings of a house on this test's servers: for `settings.load`, or beside os.environ for a child."""
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "FIELD_KEYS": FIELD_KEYS,
    }


def _in_memory() -> Path | None:
    """A place for files that is memory, if this machine has a roomy one: there a database costs a tenth to make."""
    place = Path("/dev/shm")
    if not os.access(place, os.W_OK) or shutil.disk_usage(place).free < 4 << 30:
        return None
    return None if os.statvfs(place).f_flag & os.ST_NOEXEC else place  # servers may have to run from copies there


def _forget_the_callers_settings() -> None:
    for setting in SETTINGS:
        os.environ.pop(setting.name, None)
        os.environ.pop(f"{setting.name}_FILE", None)
