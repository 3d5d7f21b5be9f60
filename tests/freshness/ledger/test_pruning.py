"""Weeks of receipts: made ahead, dropped when they are old, and nobody waits for either; and the trails beside them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from simulated import Ledger
from sqlalchemy import Connection
from sqlalchemy.exc import ProgrammingError

from freshness.ledger import backstops, deliveries, pruning, receipts, weeks
from freshness.ledger.backstops import Backstop
from freshness.ledger.deliveries import Refusal
from freshness.ledger.pruning import Pruned
from freshness.ledger.receipts import Filter

DAYS_40 = dt.timedelta(days=40)
DAY_S = 86_400

WHERE = "SELECT tableoid::regclass::text AS part, id FROM mlm_webhook_receipts ORDER BY id"
LOCKS = """
SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relname LIKE 'mlm_webhook_receipts%%' AND c.relkind IN ('r', 'p')
"""


@pytest.fixture(autouse=True)
def _weeks(ledger: Ledger) -> Iterator[None]:
    """Weeks for half a year; what a test's clock made or dropped is not left to the next."""
    with ledger.begin() as conn:
        weeks.make_ahead(conn, 26)
    yield
    with Ledger(ledger.engine).begin() as conn:
        for week in weeks.made(conn):
            conn.exec_driver_sql(f"DROP TABLE {week.name}")
        weeks.make_ahead(conn, 5)


def prune(ledger: Ledger, older_than: dt.timedelta = DAYS_40, **how: Any) -> Pruned:
    return pruning.prune(ledger.begin, older_than, **how)


def names(ledger: Ledger) -> list[str]:
    with ledger.begin() as conn:
        return [week.name for week in weeks.made(conn)]


def is_receiving(ledger: Ledger) -> Any:
    """A transaction that has received and is not committed."""

    @contextmanager
    def begun() -> Iterator[Connection]:
        with ledger.begin() as conn:
            conn.exec_driver_sql("INSERT INTO mlm_webhook_receipts (outcome, reason) VALUES ('held', 'held')")
            yield conn

    return begun()


def test_a_prune_keeps_what_is_unserved_however_old_it_is(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(0)
    ledger.later(7 * DAY_S)
    ledger.webhook(60)
    ledger.later(7 * DAY_S)
    ledger.webhook(0)
    ledger.later(60 * DAY_S)
    pruned = prune(ledger)
    assert [r["outcome"] for r in ledger.receipts()] == ["dispatched"]
    assert len(pruned.weeks_dropped) >= 3
    assert pruned.receipts_moved == 1
    assert ledger.rows("SELECT 1 AS one FROM refresh_orders WHERE number = 2") == [{"one": 1}]
    assert pruned.slice_runs == len(ledger.rules.active)
    ledger.read_all(60)
    (receipt,) = ledger.receipts()
    assert receipt["served_at"] is not None, "it is served where it was moved to"
    assert prune(ledger).receipts == 1
    assert ledger.receipts() == []


def test_a_receipt_that_is_moved_out_of_its_week_is_the_same_in_every_column(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(60)
    (before,) = ledger.receipts()
    ledger.later(80 * DAY_S)
    prune(ledger)
    assert ledger.receipts() == [before]
    assert ledger.rows(WHERE) == [{"part": weeks.DEFAULT, "id": before["id"]}]


def test_a_week_with_very_many_unserved_receipts_stays_whole_and_is_named(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.settled(0)
    ledger.webhook(0)
    ledger.webhook(60)
    ledger.webhook(120)
    (week,) = {row["part"] for row in ledger.rows(WHERE)}
    ledger.later(80 * DAY_S)
    monkeypatch.setattr(weeks, "MOST_MOVED", 1)
    pruned = prune(ledger)
    assert pruned.weeks_unserved == (week,)
    assert week not in pruned.weeks_dropped
    assert len(ledger.receipts()) == 3


def test_a_week_in_use_is_left_to_the_next_prune(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "TRY_AGAIN_S", 0.0)
    ledger.settled(0)
    ledger.later(80 * DAY_S)
    with ledger.begin() as conn:
        old = [week.name for week in weeks.made(conn) if week.ends <= ledger.now - DAYS_40]
    with is_receiving(ledger):
        assert prune(ledger).weeks_in_use == tuple(old)
    assert set(old) <= set(names(ledger))
    assert prune(ledger).weeks_dropped == tuple(old)
    assert not set(old) & set(names(ledger))


def test_a_week_that_a_killed_prune_has_detached_is_dropped_by_the_next(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(60)
    ledger.now += dt.timedelta(days=7)
    with ledger.begin() as conn:
        (first, *_) = weeks.made(conn)
        assert weeks.detach(conn, first) == 1
    assert [row["part"] for row in ledger.rows(WHERE)] == [weeks.DEFAULT], "nobody misses the receipt meanwhile"
    detached = f"SELECT relname FROM pg_class WHERE relname LIKE '{weeks.GONE}%%' AND relkind = 'r'"
    assert len(ledger.rows(detached)) == 1
    prune(ledger)
    assert ledger.rows(detached) == []


def test_a_week_that_has_not_ended_is_not_detached(ledger: Ledger) -> None:
    ledger.settled(0)
    with ledger.begin() as conn:
        (first, *_) = weeks.made(conn)
    with pytest.raises(ProgrammingError, match="has not ended"), ledger.begin() as conn:
        weeks.detach(conn, first)


def test_of_a_week_that_is_old_in_part_the_old_receipts_go_unless_whole_weeks_are_asked_for(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.now = weeks.beginning_of(ledger.now) + dt.timedelta(days=8)
    for _ in range(3):
        ledger.webhook(0)
    ledger.later(3 * DAY_S)
    ledger.webhook(0)
    ledger.later(39 * DAY_S)
    ledger.do("INSERT INTO mlm_webhook_receipts (received_at, outcome, reason) "
              "VALUES (mlm_now() - interval '300 days', 'held', 'held')")  # fmt: skip
    assert prune(ledger, whole_weeks=True).receipts == 1, "what lies outside of any week goes by the row always"
    assert len(ledger.receipts()) == 4
    assert prune(ledger).receipts == 3
    assert len(ledger.receipts()) == 1


def test_what_is_many_goes_in_many_transactions_and_all_of_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    for ref in ("R1", "R2", "R3", "R4", "R5"):
        ledger.settled(0, ref=ref)
        ledger.webhook(60, ref)
        ledger.read_all(60, ref)
    for _ in range(5):
        ledger.do("INSERT INTO mlm_webhook_receipts (received_at, outcome, reason) "
                  "VALUES (mlm_now() - interval '300 days', 'held', 'held')")  # fmt: skip
        with ledger.begin() as conn:
            deliveries.record_refusal(conn, Refusal("/hook", "10.0.0.1", 422, "no known form"))
        ledger.do("INSERT INTO own_writes (file_id, capture, exited_at) SELECT min(id), false, mlm_now() "
                  "FROM file_freshness")  # fmt: skip
    ledger.later(60 * DAY_S)
    runs = len(ledger.rows("SELECT 1 AS one FROM slice_runs"))
    pruned = prune(ledger)
    assert (pruned.receipts, pruned.refused_deliveries, pruned.own_writes) == (5, 5, 5)
    assert (pruned.slice_runs, pruned.orders) == (runs, 5)
    assert len(ledger.rows("SELECT 1 AS one FROM refresh_orders")) == 5, "the newest order served stays"


def test_a_prune_drops_old_counts_of_the_backstops_and_keeps_what_they_missed(ledger: Ledger) -> None:
    ledger.settled(0)
    with ledger.begin() as conn:
        backstops.count(conn, Backstop.ROUNDS, "w1", runs=1, looked=1)
    ledger.do("INSERT INTO missed_changes (file_id, concern, stamp, rows, order_number, receipts) "
              "SELECT id, 'fees', mlm_now(), 1, 1, '{}' FROM file_freshness")  # fmt: skip
    ledger.later(41 * DAY_S)
    with ledger.begin() as conn:
        backstops.count(conn, Backstop.ROUNDS, "w1", runs=1)
    assert prune(ledger).backstop_runs == 1
    with ledger.begin() as conn:
        assert [(each.backstop, each.runs, each.looked) for each in backstops.report(conn)] == [
            ("poll", 0, 0),
            ("rounds", 1, 0),
            ("audit", 0, 0),
        ]
        assert len(backstops.last_missed(conn)) == 1


def test_what_a_refused_body_told_of_itself_goes_sooner_than_the_refusal(ledger: Ledger) -> None:
    refusal = Refusal("/hook", "10.0.0.1", 422, "no known form", 12, "text/json", "0", [{"key": "a", "bytes": 1}])
    for _ in range(2):
        with ledger.begin() as conn:
            deliveries.record_refusal(conn, refusal)
        ledger.later(15 * DAY_S)
    ledger.later(-14 * DAY_S)
    assert prune(ledger).bodies == 1
    with ledger.begin() as conn:
        assert [each["keys"] for each in deliveries.last_refusals(conn)] == [[{"key": "a", "bytes": 1}], None]


def test_a_prune_leaves_what_is_young(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.webhook(0)
    pruned = prune(ledger, dt.timedelta(days=90))
    assert (pruned.receipts, pruned.slice_runs, pruned.orders, pruned.own_writes) == (0, 0, 0, 0)
    assert len(ledger.receipts()) == 1


def test_weeks_are_made_ahead_even_if_the_schedule_stood_still_and_receipts_have_come(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.later(400 * DAY_S)
    ledger.webhook(60)
    with ledger.begin() as conn:
        assert weeks.make_ahead(conn) == 4
        assert weeks.reach(conn) == weeks.Reach(4, strays=True)
    assert [r["outcome"] for r in ledger.receipts()] == ["dispatched"]


def test_a_week_is_made_while_a_batch_is_being_received(ledger: Ledger) -> None:
    ledger.later(400 * DAY_S)
    with is_receiving(ledger) as other:
        other.exec_driver_sql("DELETE FROM mlm_webhook_receipts")
        ledger.later(7 * DAY_S)
        with ledger.begin() as conn:
            made = weeks.make_ahead(conn, 1)
    assert made == 0, "the default partition is in use: the next time"
    ledger.later(7 * DAY_S)
    with ledger.begin() as conn:
        assert weeks.make_ahead(conn, 1) == 1
        held = {(row.relname, row.mode) for row in conn.exec_driver_sql(LOCKS)}
    assert ("mlm_webhook_receipts", "AccessExclusiveLock") not in held


def test_receipts_of_forty_thousand_are_found_by_file_outcome_time_and_id_through_an_index(ledger: Ledger) -> None:
    ledger.settled(0)
    ledger.do("""
        INSERT INTO mlm_webhook_receipts (received_at, file_id, reference_number, outcome, reason)
        SELECT mlm_now() + n * interval '1 second', CASE WHEN n %% 2 = 0 THEN 1000000 + n %% 2000 END,
               'R' || 1000 + n %% 2000,
               CASE WHEN n %% 1000 = 0 THEN 'own_echo' WHEN n %% 2 = 0 THEN 'held' ELSE 'unknown_file' END, ''
        FROM generate_series(1, 40000) n
    """)
    with ledger.begin() as conn:
        conn.exec_driver_sql("ANALYZE mlm_webhook_receipts")
        conn.exec_driver_sql("SELECT brin_summarize_new_values(oid) FROM pg_class WHERE relam = "
                             "(SELECT oid FROM pg_am WHERE amname = 'brin') AND relkind = 'i'")  # fmt: skip
    since, until = ledger.now, ledger.now + dt.timedelta(seconds=60)
    for wanted in (Filter(reference="R1001"), Filter(outcome="own_echo"), Filter(since=since, until=until)):
        assert not scans(ledger, lambda conn, wanted=wanted: receipts.listed(conn, wanted)), wanted
    (newest, *_) = ledger.rows("SELECT id FROM mlm_webhook_receipts ORDER BY id DESC LIMIT 1")
    assert not scans(ledger, lambda conn: receipts.by_id(conn, [newest["id"]]))


SCANNED = """
SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname LIKE 'mlm_webhook_receipts%%'
"""


def scans(ledger: Ledger, look: Any) -> bool:
    """Whether looking reads a good part of forty thousand receipts, however few are found."""
    with ledger.begin() as conn:
        before = conn.exec_driver_sql(SCANNED).scalar_one() or 0
        look(conn)
        return bool(conn.exec_driver_sql(SCANNED).scalar_one() - before > 3_000)


def test_who_did_what_stays_longer_than_the_rest(ledger: Ledger) -> None:
    with ledger.begin() as conn:
        for days in (pruning.ACTIONS_KEPT.days + 1, pruning.ACTIONS_KEPT.days - 1, 41):
            conn.exec_driver_sql(
                "INSERT INTO console_actions (at, who, what, wanted, reached) "
                "VALUES (mlm_now() - make_interval(days => %(days)s), 'ann', 'refresh', 1, 1)",
                {"days": days},
            )
    assert prune(ledger).console_actions == 1
    assert prune(ledger, 11 * DAYS_40).console_actions == 0
    with ledger.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM console_actions").scalar() == 2
