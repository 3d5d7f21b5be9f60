"""What the whole house counts, as any receiver tells it: calls to MLM, slices, and how long changes took to land."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from whole_house import WholeHouse, until, whole_house

from freshness.metrics import CONCERNS

REF = "R000004"


@pytest.fixture(scope="module")
def house(_admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    with whole_house(_admin, tmp_path_factory.mktemp("counted"), "counted", files=10) as house:
        yield house


def total(house: WholeHouse, name: str, **wanted: str) -> float:
    """The samples of this name with these labels, added up; 0 if there are none."""
    families = text_string_to_metric_families(httpx.get(f"{house.url}/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if wanted.items() <= sample.labels.items())


def test_an_import_counts_its_slices_and_calls_and_is_no_webhook(house: WholeHouse) -> None:
    house.import_(REF)
    until(lambda: total(house, "freshness_slices_total", outcome="landed") >= len(CONCERNS), "slices are counted")
    assert total(house, "freshness_mlm_calls_total", operation="LoadByRefNumber", result="ok") >= 1
    assert total(house, "freshness_mlm_call_seconds_count", operation="LoadByRefNumber") >= 1
    assert total(house, "freshness_served_seconds_count") == 0


def test_a_webhook_counts_for_every_concern_that_it_made_current(house: WholeHouse) -> None:
    house.touch(REF, "assets")
    until(lambda: total(house, "freshness_receipts_total", outcome="dispatched") >= 1, "the entry is counted")
    house.rests(REF)
    for concern in CONCERNS:
        until(lambda each=concern: total(house, "freshness_served_seconds_count", concern=each) >= 1, concern)
    took_s = total(house, "freshness_served_seconds_sum", concern="assets")
    query = "SELECT max(extract(epoch FROM served_at - received_at))::float8 AS s FROM mlm_webhook_receipts"
    assert 0 < took_s <= house.rows(query)[0].s + 0.001


def test_calls_that_fail_count_by_their_error(house: WholeHouse) -> None:
    with house.mlm.dials.turned(fault_next=1, fault_forms=("fault",)):
        house.order(REF)
        house.rests(REF)
    until(lambda: total(house, "freshness_mlm_calls_total", result="outage") >= 1, "the failure is counted")


def test_what_a_killed_worker_had_handed_over_stays_counted(house: WholeHouse) -> None:
    house.import_(REF)
    before = until(lambda: total(house, "freshness_slices_total", outcome="landed"), "slices are counted")
    worker = house.worker()
    worker.send(signal.SIGKILL)
    worker.ended()
    house.worker()
    assert total(house, "freshness_slices_total", outcome="landed") >= before


def test_what_is_stale_is_counted_by_the_schedule_and_goes_again(house: WholeHouse) -> None:
    worker = house.worker()
    house.pause(worker)
    house.order(REF)
    until(lambda: total(house, "freshness_stale_files") == 1, "it is counted as stale")
    assert total(house, "freshness_stale_oldest_seconds") > 0
    worker.send(signal.SIGCONT)
    house.rests(REF)
    until(lambda: total(house, "freshness_stale_files") == 0, "it is counted no more")
    assert total(house, "freshness_stale_oldest_seconds") == 0
