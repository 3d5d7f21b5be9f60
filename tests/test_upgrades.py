"""Each step of the migrations is safe beside a version that works: linted, tried again where a table is in use, and
never waited behind for long."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine

from freshness.ledger import batches
from freshness.ledger.batches import Entry
from freshness.rules import Rules
from migrations import patience
from migrations.upgrade import alembic_config, downgrade, driver_url, upgrade, written

ROOT = Path(__file__).parent.parent
SQUAWK = Path(sys.executable).with_name("squawk")

#: Rules that do not hold here, and why.
NOT_OURS = {
    "prefer-bigint-over-int": "places, counts and years; whatever counts rows or time is a bigint",
    "prefer-bigint-over-smallint": "MLM's numbers of an enum",
    "prefer-robust-stmts": "a step is one transaction: it has happened, or it has not (of indexes: see below)",
    "prefer-text-field": "Alembic's own table",
}
#: A step back takes away what the step brought: that is what it is for.
GOING_BACK = ("ban-drop-table", "ban-drop-column", "ban-drop-function", "require-concurrent-index-deletion")


def steps() -> list[tuple[str, str]]:
    """Each step: from which revision to which."""
    found = ScriptDirectory.from_config(alembic_config("postgresql://")).walk_revisions()
    return [(str(step.down_revision or "base"), step.revision) for step in reversed(list(found))]


def linted(sql: str, tmp_path: Path, but: tuple[str, ...]) -> str:
    (tmp_path / "step.sql").write_text(sql)
    argv = [SQUAWK, "--pg-version=15", "--reporter=gcc", f"--exclude={','.join(but)}", tmp_path / "step.sql"]
    return subprocess.run(argv, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("before", "step"), steps())
def test_a_step_forward_locks_nothing_for_long(tmp_path: Path, before: str, step: str):
    assert linted(written(f"{before}:{step}"), tmp_path, tuple(NOT_OURS)) == ""


@pytest.mark.parametrize(("before", "step"), steps())
def test_a_step_back_locks_nothing_for_long(tmp_path: Path, before: str, step: str):
    assert linted(written(f"{step}:{before}"), tmp_path, (*NOT_OURS, *GOING_BACK)) == ""


def test_the_linter_would_say_so(tmp_path: Path):
    said = linted(
        "ALTER TABLE loans ADD COLUMN x int NOT NULL;\nCREATE INDEX i ON loans (x);", tmp_path, ("prefer-text-field",)
    )
    assert "require-concurrent-index-creation" in said
    assert "adding-required-field" in said


def test_a_step_that_stands_in_no_transaction_can_be_run_again(tmp_path: Path):
    concurrent = [(before, step) for before, step in steps() if "CONCURRENTLY" in written(f"{before}:{step}")]
    assert concurrent
    but = tuple(rule for rule in NOT_OURS if rule != "prefer-robust-stmts")
    for before, step in concurrent:
        assert linted(written(f"{before}:{step}"), tmp_path, but) == ""


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = create_engine(driver_url(empty_database_url), pool_size=8)
    yield engine
    engine.dispose()


def test_a_table_in_use_is_tried_again_until_it_is_free(
    empty: Engine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    """And it is let go each time: somebody who comes later does not wait behind the step."""
    upgrade(empty_database_url, "0003")
    tried = threading.Event()
    real = patience.time.sleep
    monkeypatch.setattr(patience.time, "sleep", lambda s: (tried.set(), real(s)))
    with empty.begin() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM workers")
        migration = threading.Thread(target=upgrade, args=(empty_database_url, "0004"))
        migration.start()
        assert tried.wait(30)
    migration.join(60)
    with empty.begin() as conn:
        assert conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "0004"


def test_a_table_that_is_never_free_is_given_up_and_nothing_has_changed(
    empty: Engine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
):
    upgrade(empty_database_url, "0003")
    monkeypatch.setattr(patience, "TRIES", 2)
    with empty.begin() as conn:
        conn.exec_driver_sql("SELECT count(*) FROM workers")
        with pytest.raises(Exception, match="lock timeout"):
            upgrade(empty_database_url, "0004")
    with empty.begin() as conn:
        assert conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one() == "0003"


def test_a_build_of_an_index_that_was_broken_off_is_begun_anew(empty: Engine, empty_database_url: str):
    """A half-built one stands there, and of receipts one partition has its own already."""
    upgrade(empty_database_url, "0011")
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO loans (mlm_reference_number, mlm_loan_number) VALUES ('a', 'same'), ('b', 'same')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("CREATE UNIQUE INDEX CONCURRENTLY ix_loans_mlm_loan_number ON loans (mlm_loan_number)")
        conn.execute("CREATE INDEX ix_mlm_webhook_receipts_id ON ONLY mlm_webhook_receipts USING brin (id)")
        conn.execute("CREATE INDEX mlm_webhook_receipts_default_id_ix ON mlm_webhook_receipts_default USING brin (id)")
    upgrade(empty_database_url)
    with empty.begin() as conn:
        invalid = "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
        assert conn.exec_driver_sql(invalid).all() == []
        assert not conn.exec_driver_sql(
            "SELECT indisunique FROM pg_index WHERE indexrelid = 'ix_loans_mlm_loan_number'::regclass"
        ).scalar_one()


def test_a_second_run_waits_without_holding_up_the_first_ones_indexes(empty_database_url: str):
    upgrade(empty_database_url, "0011")
    program = "import sys; from migrations.upgrade import upgrade; upgrade(sys.argv[1])"
    runs = [subprocess.Popen([sys.executable, "-c", program, empty_database_url], cwd=ROOT) for _ in range(2)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchone() == ("0014",)


def test_forward_and_back_while_deliveries_come_and_nothing_is_lost(empty: Engine, empty_database_url: str):
    """Each delivery that was answered has its receipt and its order, after all steps back to 0005 and forward again."""
    upgrade(empty_database_url)
    rules, stop, taken, failed = Rules(resolution_s=0.004), threading.Event(), [[], [], []], []

    def deliver(number: int) -> None:
        while not stop.is_set():
            ref = f"R{number}-{len(taken[number])}"
            try:
                with empty.begin() as conn:
                    conn.exec_driver_sql("INSERT INTO file_freshness (ref) VALUES (%(ref)s)", {"ref": ref})
                    batches.receive(conn, rules, [Entry(ref, None, "Modified", "2026-11-01T10:00:00Z")])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                failed.append(repr(error))
            else:
                taken[number].append(ref)

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for turn in (lambda: downgrade(empty_database_url, "0005"), lambda: upgrade(empty_database_url)):
            before = sum(map(len, taken))
            turn()
            while sum(map(len, taken)) < before + 30:
                time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert failed == []
    answered = sorted(ref for each in taken for ref in each)
    with empty.begin() as conn:
        receipts = conn.exec_driver_sql("SELECT reference_number FROM mlm_webhook_receipts").scalars()
        assert sorted(receipts) == answered
        orders = conn.exec_driver_sql(
            "SELECT f.ref FROM refresh_orders o JOIN file_freshness f ON f.id = o.file_id"
        ).scalars()
        assert sorted(orders) == answered
