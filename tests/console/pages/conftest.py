"""What the tests of the web console share: a console, and people who are signed in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from a_console import OPERATOR, READER, USERS, Console, Person, console


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
