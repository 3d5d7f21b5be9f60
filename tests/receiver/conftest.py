"""A running receiver for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from running_receiver import Receiver, receiver


@pytest.fixture
def served(engine: sa.Engine) -> Iterator[Receiver]:
    """A receiver with both tokens set, on this test's database, without Redis."""
    with receiver(engine) as running:
        yield running
