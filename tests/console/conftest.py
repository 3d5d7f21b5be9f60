"""What the tests of commands share: a command that runs on this test's servers, and a loan that is stale."""

from __future__ import annotations

import subprocess

import pytest
import sqlalchemy as sa
from forked import run as run_forked
from from_outside import BARE, NEWER, RULES, SEEDED, Run, argv, entry, receive

from freshness.ledger import own_writes
from freshness.ledger.files import FileRef


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run a command on this test's servers; settings given by name win. It is forked from one that runs already."""

    def run(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_forked(*args, env=BARE | environment | settings)

    return run


@pytest.fixture
def start(environment: dict[str, str]) -> Run:
    """As `run`, from the very start: `python -m console`. Each command has a test that starts it."""

    def start(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv(*args), env=BARE | environment | settings, capture_output=True, text=True, timeout=60
        )

    return start


@pytest.fixture
def loan(engine: sa.Engine) -> str:
    """A loan that the portal has made, and that MLM has changed since: stale."""
    with engine.begin() as conn:
        own_writes.seed_mark(conn, RULES, FileRef("loan", "R000001"), SEEDED)
    receive(engine, entry("R000001", NEWER))
    return "R000001"
