"""`/metrics`: who may ask, and that it says how the whole house stands."""

from __future__ import annotations

import contextlib

import httpx
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from running_receiver import MLM_TOKEN, NEWER, OPEN, SEEDED, Receiver, engine_to_nowhere, receiver

from freshness import metrics
from freshness.ledger import backstops, measures, tallies
from freshness.ledger.backstops import Backstop
from freshness.metrics import Tally
from freshness.rules import rules_of
from freshness.settings import load


@pytest.fixture
def engine(own_engine: sa.Engine) -> sa.Engine:
    """A database that the receiver the other tests share hands over nothing to, whatever it counted before."""
    return own_engine


def scraped(served: Receiver, token: str | None = None) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by name and labels' values, as Prometheus' own parser reads it."""
    answer = served.get("/metrics", token=token)
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def entry(ref: str, stamp: str) -> dict[str, object]:
    return {"eventType": "Modified", "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}


def test_without_a_token_only_this_machine_may_ask(engine: sa.Engine) -> None:
    with receiver(engine) as served:
        assert served.get("/metrics", token=None).status_code == 200
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            passed_on = httpx.get(f"{served.url}/metrics", headers={header: "127.0.0.1"})
            assert passed_on.status_code == 403


def test_with_a_token_only_who_bears_it(engine: sa.Engine) -> None:
    with receiver(engine, {"METRICS_TOKEN": "one,two"}) as served:
        assert [served.get("/metrics", token=each).status_code for each in (None, "three", "one", "two")] == [
            401, 401, 200, 200,
        ]  # fmt: skip


def test_every_family_is_there_before_anything_was_counted(engine: sa.Engine) -> None:
    with receiver(engine) as served:
        families = {each.name for each in text_string_to_metric_families(served.get("/metrics", token=None).text)}
    assert families == {each.name for each in (*metrics.GAUGES, *metrics.COUNTED)}


def test_entries_count_by_outcome_and_deliveries_by_status(engine: sa.Engine) -> None:
    with receiver(engine) as served:
        served.seed("M1")
        served.post(json=[entry("M1", NEWER), entry("M1", NEWER), entry("M1", SEEDED), entry("NOBODY", NEWER), 7])
        served.post(json=[], token="wrong")
        served.post(content=b"{")
        seen = scraped(served)
    by_outcome = {labels[0]: value for (name, labels), value in seen.items() if name == "freshness_receipts_total"}
    with engine.connect() as conn:
        rows = dict(conn.exec_driver_sql("SELECT outcome, count(*) FROM mlm_webhook_receipts GROUP BY 1").all())
    assert rows
    assert {outcome: value for outcome, value in by_outcome.items() if value} == rows
    assert by_outcome["own_echo"] == 0
    deliveries = {labels[0]: value for (name, labels), value in seen.items() if name == "freshness_deliveries_total"}
    assert deliveries == {"200": 1, "401": 1, "400": 1}


def test_whichever_receiver_is_asked_says_the_same(engine: sa.Engine) -> None:
    with receiver(engine) as one:
        one.seed("M2")
        one.post(json=[entry("M2", NEWER)])
    with receiver(engine) as other:
        assert scraped(other)["freshness_receipts_total", ("dispatched",)] == 1


def test_what_processes_have_counted_is_added_up_and_survives_them(engine: sa.Engine) -> None:
    for process in ("a", "b"):
        tally = Tally()
        tally.observe(metrics.SERVED_S, "assets", seconds=0.3)
        tally.observe(metrics.SERVED_S, "assets", seconds=5000)
        tallies.hand_over(engine, process, tally)
    with engine.begin() as conn:
        before = tallies.total(conn)
        conn.exec_driver_sql("UPDATE tallies SET written_at = mlm_now() - interval '1 hour'")
        tallies.fold(conn)
        assert tallies.total(conn) == before
        assert set(conn.exec_driver_sql("SELECT process FROM tallies").scalars()) == {""}
    with receiver(engine) as served:
        seen = scraped(served)
    name = "freshness_served_seconds"
    assert [seen[f"{name}_bucket", ("assets", le)] for le in ("0.25", "0.5", "3600.0", "+Inf")] == [0, 2, 2, 4]
    assert (seen[f"{name}_count", ("assets",)], seen[f"{name}_sum", ("assets",)]) == (4, 10000.6)


def test_what_postgresql_did_not_take_is_handed_over_later(engine: sa.Engine) -> None:
    tally = Tally()
    tally.count(metrics.ENTRIES, "held", by=3)
    try:
        tallies.hand_over(engine_to_nowhere(), "a", tally)
    except sa.exc.OperationalError:
        tally.count(metrics.ENTRIES, "held")
    tallies.hand_over(engine, "a", tally)
    with engine.begin() as conn:
        assert tallies.total(conn) == {("freshness_receipts", ("held",)): 4}


def test_what_is_stale_is_shown_by_concern_with_its_age(engine: sa.Engine) -> None:
    with receiver(engine) as served:
        served.seed("M3")
        served.seed("M4")
        served.post(json=[entry("M3", NEWER), entry("M4", NEWER)])
        with engine.begin() as conn:
            conn.exec_driver_sql("UPDATE refresh_orders SET placed_at = placed_at - interval '1 hour'")
        with engine.begin() as conn:
            assert measures.measure(conn, rules_of(load({})))
            assert not measures.measure(conn, rules_of(load({})))
        seen = scraped(served)
    assert seen["freshness_stale_files", ()] == 2
    assert seen["freshness_stale_slices", ("assets",)] == 2
    assert 3600 <= seen["freshness_stale_oldest_seconds", ()] < 3700


def test_without_postgresql_it_answers_what_it_knows_and_shows_no_counter() -> None:
    with receiver(engine_to_nowhere()) as served:
        seen = scraped(served)
    assert seen["freshness_up", ("postgresql",)] == 0
    assert not any(name.endswith("_total") for name, _ in seen)


def test_the_queues_and_the_circuit_are_there_unless_redis_is_away(engine: sa.Engine, redis_url: str) -> None:
    with receiver(engine, redis_url=redis_url) as served:
        seen = scraped(served)
        assert seen["freshness_circuit_state", ("closed",)] == 1
        assert seen["freshness_queue_messages", ("prompt", "waiting")] == 0
    with receiver(engine, redis_url="redis://127.0.0.1:1/0") as served:
        assert scraped(served)["freshness_up", ("redis",)] == 0


def test_the_spool_is_shown(engine: sa.Engine, tmp_path) -> None:
    with receiver(engine_to_nowhere(), OPEN | {"SPOOL_DIR": str(tmp_path)}) as served:
        assert served.post(json=[entry("M5", NEWER)], token=MLM_TOKEN).status_code == 202
        seen = scraped(served)
    assert (seen["freshness_spool_batches", ("waiting",)], seen["freshness_spool_writable", ()]) == (1, 1)


def test_what_backstops_found_stays_counted_after_their_hours_are_pruned(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        backstops.count(conn, Backstop.AUDIT, "a", looked=3, missed=2)
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM backstop_runs")
    with receiver(engine) as served:
        seen = scraped(served)
    assert seen["freshness_backstop_missed_total", ("audit",)] == 2
    assert seen["freshness_backstop_looked_total", ("audit",)] == 3
    assert seen["freshness_backstop_missed_total", ("poll",)] == 0


def test_counts_that_are_not_committed_count_nowhere(engine: sa.Engine) -> None:
    with contextlib.suppress(ZeroDivisionError), engine.begin() as conn:
        backstops.count(conn, Backstop.ROUNDS, "a", looked=3)
        raise ZeroDivisionError
    with engine.begin() as conn:
        assert tallies.total(conn) == {}


def test_nothing_that_came_from_outside_stands_in_the_metrics(engine: sa.Engine) -> None:
    planted = ("R-123-45-6789", "2026110096", "Roe-Event", "1970-01-02")
    body = {
        "eventType": planted[2],
        "loanNumber": planted[1],
        "referenceNumber": planted[0],
        "values": {"sLastModifiedTimestamp": planted[3]},
    }
    with receiver(engine) as served:
        assert served.post(json=[body]).status_code == 200
        told = served.get("/metrics", token=None).text
    assert 'freshness_receipts_total{outcome="unsupported_event"} 1.0' in told
    assert [each for each in planted if each in told] == []
