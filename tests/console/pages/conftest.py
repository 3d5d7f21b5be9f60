"""What the tests of the web console share: a console, and people who are signed in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from a_console import OPERATOR, READER, USERS, Console, Person, console

sys.path[:0] = [str(Path(__file__).parents[2] / each) for each in ("receiver", "senders")]


@pytest.fixture
def web(engine: sa.Engine, environment: dict[str, str]) -> Iterator[Console]:
    with console(engine, environment | {"CONSOLE_USERS": USERS}) as running:
        yield running


@pytest.fixture
def reader(web: Console) -> Person:
    return web.person(READER)


@pytest.fixture
def operator(web: Console) -> Person:
    return web.person(OPERATOR)
