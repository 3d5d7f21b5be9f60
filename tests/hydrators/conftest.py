"""A house with a database for hydrators to land in, and a file for MLM to show."""

from __future__ import annotations

import pytest
from a_file import AFile, House
from sqlalchemy import Engine


@pytest.fixture
def house(engine: Engine) -> House:
    return House(engine)


@pytest.fixture
def file() -> AFile:
    return AFile()
