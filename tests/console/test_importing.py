"""Imports as a function: how many files are under way at once, and what is taken up again."""

from __future__ import annotations

import signal
import threading
from itertools import islice

import sqlalchemy as sa
from from_outside import Run

from console import importing
from console.processes import ended_by_signals
from freshness.bell import Ring

REFS = [f"R{number:06d}" for number in range(250)]


def serve(engine: sa.Engine, number: int) -> None:
    """Let the first files that are not served yet have been read."""
    with engine.begin() as conn:
        conn.exec_driver_sql(
            """UPDATE file_freshness SET served = ordered WHERE id IN (
                   SELECT id FROM file_freshness WHERE served < ordered ORDER BY id LIMIT %(number)s)""",
            {"number": number},
        )


def test_no_more_files_are_under_way_than_a_webhook_may_wait_behind(engine: sa.Engine) -> None:
    rings: list[Ring] = []
    steps = importing.follow(engine, rings.extend, importing.begin(engine, REFS).run)
    assert [each.ordered for each in islice(steps, 4)] == [0, 100, 100, 100]
    serve(engine, 30)
    assert [(each.ordered, each.served) for each in islice(steps, 3)] == [(100, 30), (130, 30), (130, 30)]
    assert len({ring.file_id for ring in rings}) == 130


def test_files_are_rung_for_only_when_their_order_stands(engine: sa.Engine) -> None:
    def bell(rings: object) -> None:
        with engine.begin() as conn:
            assert conn.exec_driver_sql("SELECT count(*) FROM refresh_orders").scalar_one() == 3

    importing.order_all(engine, bell, importing.begin(engine, REFS[:3]).run)


def test_one_that_was_left_is_taken_up_by_the_same_references_in_any_order(engine: sa.Engine) -> None:
    begun = importing.begin(engine, ["R000001", "R000002"])
    next(importing.follow(engine, lambda rings: None, begun.run))
    assert not begun.resumed
    assert importing.begin(engine, ["R000002", "R000001", "R000001"]) == importing.Begun(begun.run, resumed=True)
    assert importing.begin(engine, ["R000002"]).resumed is False


def test_one_that_came_to_its_end_is_not_taken_up_but_begun_anew(engine: sa.Engine) -> None:
    begun = importing.begin(engine, REFS[:2])
    steps = importing.follow(engine, lambda rings: None, begun.run)
    list(islice(steps, 2))
    serve(engine, 2)
    again = importing.begin(engine, REFS[:2])
    assert again.run != begun.run
    assert not again.resumed


def test_an_import_of_all_exits_0_though_mlm_had_deleted_a_file_before(engine: sa.Engine, run: Run) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("INSERT INTO loans (mlm_reference_number) VALUES ('R000001'), ('R000002')")
        conn.exec_driver_sql("UPDATE file_freshness SET deleted_at = now() - interval '1 day' WHERE ref = 'R000001'")
    stop = threading.Event()

    def worker() -> None:
        while not stop.is_set():
            serve(engine, 2)

    working = threading.Thread(target=worker)
    working.start()
    done = run("import", "--all")
    stop.set()
    working.join()
    assert done.stdout == "1 of 2 files are here, 1 deleted in MLM before.\n"
    assert done.returncode == 0


def test_a_signal_in_the_midst_of_a_statement_ends_the_block_and_nothing_else_is_raised(engine: sa.Engine) -> None:
    main = threading.get_ident()
    waiting = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND datname = current_database()"
    waiting += " AND state = 'active'"

    def interrupt() -> None:
        with engine.connect() as conn:
            while not conn.exec_driver_sql(waiting).all():
                conn.rollback()
        signal.pthread_kill(main, signal.SIGTERM)

    with ended_by_signals() as ended, engine.begin() as conn:
        threading.Thread(target=interrupt, daemon=True).start()
        conn.exec_driver_sql("SELECT pg_sleep(60)")
    assert ended.by == signal.SIGTERM
    with engine.begin() as conn:
        assert not conn.exec_driver_sql(waiting).all()
