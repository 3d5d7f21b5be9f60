"""Traces from webhook to row, at a collector that speaks OTLP over HTTP; and the one id that log lines share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from borrowers_data import found_in, people
from collector import Collector
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from whole_house import WEBHOOK_TOKEN, WholeHouse, until, whole_house

from freshness.errors import SettingError
from freshness.settings import load

ROOT = Path(__file__).parents[2]
REF = "R000004"
WEBHOOK = "/api/v1/loans/mlm/webhook"


@pytest.fixture(scope="module")
def house(
    _admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[WholeHouse]:
    with whole_house(_admin, tmp_path_factory.mktemp("traced"), "traced", files=30, **collector.settings) as house:
        house.import_(REF)
        yield house


@pytest.fixture
def edited(house: WholeHouse, collector: Collector) -> str:
    """An order that an edit in MLM has caused by its webhook, once all of its spans are here: its name, `7.2`."""
    query = (
        "SELECT file_id, order_number FROM mlm_webhook_receipts WHERE outcome = 'dispatched' ORDER BY id DESC LIMIT 1"
    )
    before = house.rows(query)
    house.touch(REF, "assets")
    until(lambda: house.rows(query) != before, "the webhook came")
    house.rests(REF)
    order = "{}.{}".format(*house.rows(query)[0])

    def landed() -> set[str]:
        mine = [span for span in collector.named("landing") if attribute(span, "order") == order]
        return {attribute(span, "concern") for span in mine} & {"loan_fields", "fees"} or set()

    def has_begun() -> bool:
        return any(attribute(span, "order") == order for span in collector.named("order"))

    until(lambda: len(landed()) == 2 and has_begun(), "its spans came")
    return order


def attribute(span: Span, key: str) -> Any:
    """A span's attribute as text; of a list, its texts."""
    for each in span.attributes:
        if each.key == key:
            value = each.value
            return [item.string_value for item in value.array_value.values] or value.string_value
    return ""


def test_one_trace_leads_from_the_order_to_every_row(collector: Collector, edited: str) -> None:
    (first,) = [span for span in collector.named("order") if attribute(span, "order") == edited]
    own = [span for span in list(collector.spans) if span.trace_id == first.trace_id]
    assert {span.name for span in own} == {"order", "slice read", "landing"}
    assert first.parent_span_id == b""
    assert {span.parent_span_id for span in own if span is not first} == {first.span_id}
    assert {attribute(span, "outcome") for span in own if span.name == "landing"} >= {"landed"}


def test_the_delivery_leads_to_the_order_and_back(collector: Collector, edited: str) -> None:
    (first,) = [span for span in collector.named("order") if attribute(span, "order") == edited]
    (batch,) = [span for span in collector.named("batch") if edited in attribute(span, "orders")]
    assert [(link.trace_id, link.span_id) for link in first.links] == [(batch.trace_id, batch.span_id)]
    assert (first.trace_id, first.span_id) in [(link.trace_id, link.span_id) for link in batch.links]
    delivery = until(
        lambda: next((s for s in collector.named("delivery") if s.span_id == batch.parent_span_id), None),
        "its delivery",
    )
    assert delivery.trace_id == batch.trace_id


def test_log_lines_of_one_change_share_its_id_from_receipt_to_slice(house: WholeHouse, edited: str) -> None:
    logged = [line for process in house.processes for line in process.logged()]
    lines = [line for line in logged if line["event"] in ("webhook.taken", "slice.ended") and edited in line["orders"]]
    assert {line["event"] for line in lines} == {"webhook.taken", "slice.ended"}
    assert {line["process"] for line in lines} == {"receiver", "worker"}


def test_a_refused_delivery_is_a_span_with_its_status_and_nothing_of_its_body(
    house: WholeHouse, collector: Collector
) -> None:
    body = b'{"ssn": "123-45-6789", "unfinished": '
    answer = httpx.post(house.url + WEBHOOK, content=body, headers={"Authorization": f"Bearer {WEBHOOK_TOKEN}"})
    assert answer.status_code == 400

    def refused() -> list[Span]:
        return [
            span
            for span in collector.named("delivery")
            if any(each.key == "http.response.status_code" and each.value.int_value == 400 for each in span.attributes)
        ]

    until(refused, "its span came")
    assert b"6789" not in b"".join(collector.bodies)


def test_no_span_says_anything_of_a_borrower(house: WholeHouse, collector: Collector, edited: str) -> None:
    told = "\n".join(map(str, list(collector.spans)))
    assert edited in told
    assert found_in(told, people(house.mlm)) == []


def test_a_collector_that_is_away_changes_nothing(house: WholeHouse) -> None:
    worker = house.worker()
    away = house.environment | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    house.environment, before = away, house.environment
    try:
        house.worker_beside(worker)
        worker.send(15)
        assert worker.ended() == 0
        house.order(REF)
        house.rests(REF)
    finally:
        house.environment = before


def test_without_an_endpoint_no_trace_is_made_and_nothing_is_imported_for_one() -> None:
    """(redis-py imports OpenTelemetry's metrics by itself, where they are installed.)"""
    program = (
        "import sys; from freshness.settings import load; from jobs.house import House; import receiver.app; "
        "House(load({}), 'worker').traces; "
        "print({'jobs.otel', 'opentelemetry.sdk.trace', 'opentelemetry.exporter'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_endpoint_that_is_no_url_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingError, match="OTEL_EXPORTER_OTLP_ENDPOINT"):
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"})
