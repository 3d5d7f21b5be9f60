"""A simulated ledger for each test, on one database for all that is emptied between them."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from databases import database, engine_on
from simulated import Ledger, empty


@pytest.fixture(scope="session")
def _shared_engine(_admin: psycopg.Connection) -> Iterator[sa.Engine]:
    with database(_admin, "ledger") as url, engine_on(url, "-c lock_timeout=20s") as engine:
        yield engine


@pytest.fixture
def engine(_shared_engine: sa.Engine) -> sa.Engine:
    """An engine on a database that is migrated and empty."""
    empty(_shared_engine)
    return _shared_engine


@pytest.fixture
def ledger(engine: sa.Engine) -> Ledger:
    """The ledger of a lender with loan fields, borrowers and assets."""
    return Ledger(engine)
