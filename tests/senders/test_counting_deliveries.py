"""What other senders deliver is counted in `/metrics` as MLM's is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from deliveries import OPEN, path, sample, send
from prometheus_client.parser import text_string_to_metric_families
from running_receiver import Receiver, engine_to_nowhere, receiver
from test_order import RECEPTION, mmi

from freshness.bell import silent
from freshness.ledger import tallies
from freshness.rules import rules_of
from freshness.settings import load
from receiver.desk import Desk
from receiver.draining import Drain
from receiver.spool import Spool

DELIVERIES, ENTRIES = "freshness_sender_deliveries_total", "freshness_sender_receipts_total"


@pytest.fixture
def engine(own_engine: sa.Engine) -> sa.Engine:
    """A database that the receiver the other tests share hands over nothing to, whatever it counted before."""
    return own_engine


def counted(served: Receiver, name: str) -> dict[tuple[str, ...], float]:
    told = httpx.get(f"{served.url}/metrics", timeout=30).text
    samples = [sample for family in text_string_to_metric_families(told) for sample in family.samples]
    return {_said(each.labels): each.value for each in samples if each.name == name}


def _said(labels: dict[str, str]) -> tuple[str, ...]:
    return labels["sender"], labels.get("outcome") or labels["status"]


def test_entries_count_by_sender_and_outcome_and_deliveries_by_the_answer(engine: sa.Engine) -> None:
    with receiver(engine, OPEN) as served:
        send(served, "mmi", [mmi("1", 2), mmi("1", 1), mmi("1", 2)])
        send(served, "showmojo", sample("showmojo/01-event.json"))
        send(served, "mmi", b"{")
        served.post(path("maxwell"), token="wrong", json={})
        deliveries, entries = counted(served, DELIVERIES), counted(served, ENTRIES)
    query = "SELECT sender, outcome, count(*) FROM mlm_webhook_receipts GROUP BY 1, 2"
    with engine.connect() as conn:
        rows = {(sender, outcome): count for sender, outcome, count in conn.exec_driver_sql(query)}
    assert len(rows) > 2
    assert entries == rows
    assert deliveries == {("mmi", "200"): 1, ("mmi", "400"): 1, ("showmojo", "200"): 1, ("maxwell", "401"): 1}


def test_what_waited_in_a_spool_counts_once_it_is_decided(tmp_path: Path, engine: sa.Engine) -> None:
    with receiver(engine_to_nowhere(), OPEN | {"SPOOL_DIR": str(tmp_path)}) as away:
        assert send(away, "mmi", [mmi("1", 2), mmi("1", 1)]).status_code == 202
    desk = Desk(engine, rules_of(load({})), silent)
    Drain(Spool(tmp_path), desk, RECEPTION)._drain()
    tallies.hand_over(engine, "drain", desk.tally)
    with engine.begin() as conn:
        told = {labels: value for (_, labels), value in tallies.total(conn).items()}
    assert told == {("mmi", "applied"): 1, ("mmi", "older"): 1}
