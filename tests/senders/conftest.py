"""One database and one receiver with every sender configured, emptied between tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from databases import database, empty, engine_on

sys.path.insert(0, str(Path(__file__).parent.parent / "receiver"))

from deliveries import OPEN
from running_receiver import Receiver, receiver


@pytest.fixture(scope="session")
def _shared_engine(_admin: psycopg.Connection) -> Iterator[sa.Engine]:
    with database(_admin, "senders") as url, engine_on(url) as engine:
        yield engine


@pytest.fixture(scope="session")
def _shared_receiver(_shared_engine: sa.Engine) -> Iterator[Receiver]:
    with receiver(_shared_engine, OPEN) as running:
        yield running


@pytest.fixture
def engine(_shared_engine: sa.Engine) -> Iterator[sa.Engine]:
    """An engine on a migrated database whose tables are empty."""
    yield _shared_engine
    empty(_shared_engine)


@pytest.fixture
def served(_shared_receiver: Receiver, engine: sa.Engine) -> Receiver:
    """A receiver with every sender configured."""
    return _shared_receiver
