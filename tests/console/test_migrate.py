"""`freshness migrate`: forward and back to a step; what is lost by it is said first; nothing of a row in an error."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest
from forked import run as run_forked
from from_outside import BARE, argv, objects, one_line
from sqlalchemy.exc import DataError

from migrations.upgrade import driver_url, losses, steps, unpooled, upgrade, written

DOCS = Path(__file__).parents[2] / "docs"

Migrate = Callable[..., CompletedProcess[str]]


@pytest.fixture
def migrate(empty_database_url: str) -> Migrate:
    return lambda *args: run_forked("migrate", *args, env=BARE | {"DATABASE_URL": empty_database_url})


def at(url: str) -> str:
    with psycopg.connect(url) as conn:
        return conn.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_it_goes_forward_and_back_to_the_step_that_is_named(migrate: Migrate, empty_database_url: str):
    for step in ("0010", "0012", "0011", "0011"):
        assert objects(migrate("--to", step, "--json")) == [{"revision": step}]
        assert at(empty_database_url) == step
    assert f"at step 0010; the newest is {steps()[-1]}" in migrate("--to", "0010").stdout


def test_a_step_back_that_loses_rows_says_which_and_is_not_done_unless_somebody_means_it(
    migrate: Migrate, empty_database_url: str
):
    upgrade(empty_database_url, "0011")
    asked = migrate("--to", "0008")
    assert (asked.returncode, asked.stdout, at(empty_database_url)) == (2, "", "0011")
    assert re.findall(r"below (\d+): ", asked.stderr) == ["0010", "0009"]
    assert "other senders' bodies" in asked.stderr
    done = migrate("--to", "0008", "--yes")
    assert (done.returncode, at(empty_database_url)) == (0, "0008")
    assert re.findall(r"below (\d+): ", done.stderr) == ["0010", "0009"]


def test_a_step_that_there_is_not_is_wrong_use_and_names_those_there_are(migrate: Migrate):
    done = migrate("--to", "9999")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no step '9999'; there are base, 0001 to {steps()[-1]}" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--to", "0011")])
def test_from_a_step_of_a_newer_version_only_that_version_goes_back(
    migrate: Migrate, empty_database_url: str, arguments: tuple[str, ...]
):
    upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '7777'")
    done = migrate(*arguments)
    assert (done.returncode, done.stdout, at(empty_database_url)) == (1, "", "7777")
    assert one_line(done.stderr).startswith("freshness: the database is at step 7777, of a newer version")


@pytest.mark.parametrize(("before", "step"), list(zip(steps(), steps()[1:], strict=False)))
def test_a_step_whose_undoing_drops_rows_says_what_is_lost_and_no_other_does(before: str, step: str):
    drops = re.search(r"DROP (TABLE|COLUMN)", written(f"{step}:{before}"))
    assert bool(drops) == bool(losses(step, before))


def test_the_pages_on_upgrades_name_the_way_back_and_the_steps_below_which_rows_are_lost():
    for page in ("deploy.md", "security.md"):
        section = re.search(r"## Upgrades\n(.*?)(\n## |\Z)", (DOCS / page).read_text("utf-8"), re.DOTALL)[1]
        assert "freshness migrate --to" in section
    assert set(re.findall(r"\| (\d{4}) \|", section)) == {step for step, _ in losses(steps()[-1], "base")}


PLANTED = "planted-in-a-row"
REFUSES = f"""
CREATE TABLE portals_own (name text UNIQUE);
INSERT INTO portals_own VALUES ('{PLANTED}');
CREATE FUNCTION portals_own() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO portals_own VALUES ('{PLANTED}'); RETURN NEW; END $$;
CREATE TRIGGER portals_own BEFORE UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION portals_own();
"""


def test_a_step_that_fails_at_a_row_says_where_and_nothing_of_the_row(empty_database_url: str):
    """PostgreSQL's error quotes it: `Key (name)=(…) already exists`."""
    upgrade(empty_database_url, "0011")
    with psycopg.connect(empty_database_url) as conn:
        conn.execute(REFUSES)
    settings = BARE | {"DATABASE_URL": empty_database_url}
    done = subprocess.run(argv("migrate"), env=settings, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "UniqueViolation at " in done.stderr
    assert PLANTED not in done.stdout + done.stderr


def test_an_error_of_a_steps_statement_does_not_quote_its_parameters(empty_database_url: str):
    with unpooled(driver_url(empty_database_url)).connect() as conn, pytest.raises(DataError) as caught:
        conn.exec_driver_sql("SELECT %(name)s::text, 1 / (%(zero)s::int)", {"name": PLANTED, "zero": 0})
    assert PLANTED not in str(caught.value)
