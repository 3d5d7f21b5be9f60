"""A simulated ledger for each test, on one database for all that is emptied between them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from simulated import Ledger, empty

from migrations.upgrade import driver_url


@pytest.fixture(scope="session")
def _shared_engine(_admin: psycopg.Connection) -> Iterator[sa.Engine]:
    template = os.environ["MLM_TEST_TEMPLATE"]
    name = f"{template}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_ledger"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    _admin.execute(drop)
    _admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    url = sa.make_url(os.environ["MLM_TEST_DATABASE_URL"]).set(database=name)
    engine = sa.create_engine(
        driver_url(url.render_as_string(hide_password=False)),
        pool_size=5,
        connect_args={"options": "-c timezone=UTC -c lock_timeout=20s"},
    )
    yield engine
    engine.dispose()
    _admin.execute(drop)


@pytest.fixture
def engine(_shared_engine: sa.Engine) -> sa.Engine:
    """An engine on a database that is migrated and empty."""
    empty(_shared_engine)
    return _shared_engine


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    """The ledger of a lender with loan fields, borrowers and assets."""
    return Ledger(engine)
