"""One database and one receiver for all tests here, emptied between them: a copy for each would cost minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from databases import REDIS, database, empty, engine_on, migrate
from running_receiver import Receiver, receiver

from console.embedded import PostgreSQL, embedded


@pytest.fixture(scope="session")
def _shared_engine(_admin: psycopg.Connection) -> Iterator[sa.Engine]:
    with database(_admin, "receiver") as url, engine_on(url) as engine:
        yield engine


@pytest.fixture(scope="session")
def _shared_receiver(_shared_engine: sa.Engine) -> Iterator[Receiver]:
    with receiver(_shared_engine, redis_url=os.environ[REDIS]) as running:
        yield running


@pytest.fixture
def engine(_shared_engine: sa.Engine) -> Iterator[sa.Engine]:
    """An engine on a migrated database whose tables are empty."""
    yield _shared_engine
    empty(_shared_engine)


@pytest.fixture
def served(_shared_receiver: Receiver, engine: sa.Engine) -> Receiver:
    """A receiver with both tokens set and Redis beside it, that has not rung yet."""
    _shared_receiver.rings.clear()
    return _shared_receiver


@pytest.fixture(scope="session")
def _stoppable() -> Iterator[PostgreSQL]:
    with embedded(durable=False, redis_url="redis://not-needed") as servers:
        assert servers.postgresql is not None
        migrate(servers.database_url)
        yield servers.postgresql


@pytest.fixture
def postgresql(_stoppable: PostgreSQL) -> Iterator[PostgreSQL]:
    """A PostgreSQL that a test may stop and start; migrated, its tables empty."""
    yield _stoppable
    if _stoppable.process is None:
        _stoppable.start()
    with engine_on(_stoppable.url) as engine:
        empty(engine)
