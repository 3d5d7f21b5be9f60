"""The migrations: from an empty database to the models' own, and back to nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from pytest_alembic import tests as checks
from pytest_alembic.config import Config
from pytest_alembic.runner import runner
from sqlalchemy import Engine, Row, create_engine

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


OUR_LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
"""Of this session alone: other tests migrate databases of their own on the same server meanwhile."""


def test_a_migrated_database_is_left_without_our_timeouts_and_lock(empty: Engine, empty_database_url: str):
    config = alembic_config(empty_database_url)
    with empty.connect() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
        assert conn.exec_driver_sql("SHOW statement_timeout").scalar_one() == "0"
        assert conn.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"
        assert conn.exec_driver_sql(OUR_LOCKS).scalar_one() == 0


COLUMNS = """
SELECT table_name || '.' || column_name AS name, data_type, is_nullable, column_default IS NOT NULL AS has_default,
       table_name
FROM information_schema.columns WHERE table_schema = 'public' AND is_identity = 'NO'
"""
RULES = """
SELECT conrelid::regclass::text AS table_name, pg_get_constraintdef(oid) AS rule FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 0 AND contype <> 'n'
"""


def test_a_version_that_still_runs_finds_all_it_knows_and_may_write_all_it_wrote(
    empty: Engine, empty_database_url: str
):
    """During an upgrade the old version runs on beside the new one, on the new one's tables (from step 0002 on)."""
    steps = [step.revision for step in ScriptDirectory.from_config(alembic_config(empty_database_url)).walk_revisions()]
    steps = [step for step in reversed(steps) if step >= "0002"]
    upgrade(empty_database_url, steps[0])
    for step in steps[1:]:
        before, ruled = _columns(empty), _rules(empty)
        upgrade(empty_database_url, step)
        after, tables = _columns(empty), {column.table_name for column in before.values()}
        assert {name: after.get(name) for name in before} == before, f"step {step} changes what was there"
        new = [column for name, column in after.items() if name not in before and column.table_name in tables]
        assert [c.name for c in new if c.is_nullable == "NO" and not c.has_default] == [], f"step {step} asks for more"
        stricter = {rule for rule in _rules(empty) - ruled if rule.table_name in tables}
        assert not stricter, f"step {step} forbids more"


def _columns(engine: Engine) -> dict[str, Row]:
    with engine.connect() as conn:
        return {row.name: row for row in conn.exec_driver_sql(COLUMNS)}


def _rules(engine: Engine) -> set[Row]:
    with engine.connect() as conn:
        return set(conn.exec_driver_sql(RULES))


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
