"""The migrations: from an empty database to the models' own, and back to nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from pytest_alembic import tests as checks
from pytest_alembic.config import Config
from pytest_alembic.runner import runner
from sqlalchemy import Engine, create_engine

from migrations.upgrade import alembic_config, downgrade, driver_url, upgrade

ROOT = Path(__file__).parent.parent
TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
FUNCTIONS = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(driver_url(empty_database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def alembic_runner(empty: Engine, empty_database_url: str):
    with runner(config=Config(alembic_config=alembic_config(empty_database_url)), engine=empty) as run:
        yield run


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as conn:
        return conn.exec_driver_sql(query).scalar_one()


def test_the_steps_form_one_line(alembic_runner):
    checks.test_single_head_revision(alembic_runner)


def test_every_step_runs_from_an_empty_database(alembic_runner):
    checks.test_upgrade(alembic_runner)


def test_every_step_runs_up_and_down(alembic_runner):
    checks.test_up_down_consistency(alembic_runner)


def test_the_models_and_the_migrated_database_agree(alembic_runner):
    checks.test_model_definitions_match_ddl(alembic_runner)


def test_going_down_leaves_no_table_and_no_function_of_ours(empty: Engine, empty_database_url: str):
    upgrade(empty_database_url)
    assert _count(empty, TABLES) > 10
    downgrade(empty_database_url)
    assert _count(empty, TABLES) == 1, "alembic's own table alone may stay"
    assert _count(empty, FUNCTIONS) == 0


def test_two_processes_that_migrate_at_once_do_it_once(empty: Engine, empty_database_url: str):
    """The second waits for the first at the lock, and finds nothing to do."""
    program = "import sys; from migrations.upgrade import upgrade; upgrade(sys.argv[1])"
    both = [subprocess.Popen([sys.executable, "-c", program, empty_database_url], cwd=ROOT) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert _count(empty, "SELECT count(*) FROM alembic_version") == 1


def test_a_migrated_database_is_left_without_our_timeouts_and_lock(empty: Engine, empty_database_url: str):
    config = alembic_config(empty_database_url)
    with empty.connect() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
        assert conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == "0"
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"
        assert conn.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").scalar_one() == 0


def test_the_clock_is_postgresqls_unless_the_session_sets_another(engine: Engine):
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT abs(extract(epoch FROM mlm_now() - clock_timestamp())) < 60").scalar_one()
        conn.exec_driver_sql("SET mlm.now = '2026-11-20T13:04:05.123Z'")
        assert conn.exec_driver_sql("SELECT mlm_now()::text").scalar_one() == "2026-11-20 13:04:05.123+00"
        conn.exec_driver_sql("SET mlm.now = ''")
        assert conn.exec_driver_sql("SELECT mlm_now() <> '2026-11-20T13:04:05.123Z'").scalar_one()


@pytest.mark.parametrize(
    ("url", "driver"),
    [("postgresql://u@h/d", "postgresql+psycopg"), ("postgres://u@h/d", "postgresql+psycopg")],
)
def test_both_spellings_of_the_url_take_psycopg_3(url: str, driver: str):
    assert driver_url(url).drivername == driver
    assert driver_url(url).host == "h"
