"""Refused deliveries: each filter leaves what it says, pages go on, and the way to them says how many there are."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from a_console import Console, Person

from freshness.ledger import deliveries
from freshness.ledger.deliveries import Refusal, Wanted


def refuse(engine: sa.Engine, reason: str, status: int = 401, path: str = "/api/v1/loans/mlm/webhook") -> None:
    with engine.begin() as conn:
        deliveries.record_refusal(conn, Refusal(path, "203.0.113.9", status, reason))


def reasons(page: str) -> list[str]:
    return re.findall("reason-[a-z]+", page)


@pytest.fixture(autouse=True)
def scene(web: Console) -> None:
    refuse(web.engine, "reason-old")
    web.rows("UPDATE refused_deliveries SET at = '2026-11-02T10:00Z', minute = '2026-11-02T10:00Z' RETURNING 1")
    refuse(web.engine, "reason-token")
    refuse(web.engine, "reason-body", 400, "/api/v1/senders/mmi/webhook")


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ("", ["reason-body", "reason-token", "reason-old"]),
        ("status=400", ["reason-body"]),
        ("path=/Senders/MMI", ["reason-body"]),
        ("path=loans&since=2026-11-03T00:00", ["reason-token"]),
        ("until=2026-11-03T00:00", ["reason-old"]),
        ("since=2026-11-02T10:00&until=2026-11-02T10:01&status=401", ["reason-old"]),
        ("status=499", []),
    ],
)
def test_a_filter_leaves_what_it_says_and_nothing_else(reader: Person, asked: str, left: list[str]) -> None:
    assert reasons(reader.page(f"/refused?{asked}")) == left


def test_what_is_no_status_is_refused(reader: Person) -> None:
    for status in ("4o1", "1000", "-1"):
        assert reader.get(f"/refused?status={status}").status_code == 400


@pytest.mark.parametrize("look", [2, 100])
def test_pages_in_turn_are_the_whole_list_and_one_that_breaks_off_says_where(engine: sa.Engine, look: int) -> None:
    for _ in range(5):
        refuse(engine, "reason-more")
    found, before, broke_off = [], None, 0
    with engine.begin() as conn:
        while True:
            page = deliveries.page(conn, Wanted(status=401), before, limit=2, look=look)
            found += [each["id"] for each in page.refusals]
            broke_off += page.looked_back_to is not None
            before = page.next
            if before is None:
                break
        whole = [each["id"] for each in deliveries.last_refusals(conn) if each["status"] == 401]
    assert (found, broke_off > 0) == (whole, look == 2)


def test_the_way_to_them_says_how_many_there_are(reader: Person) -> None:
    assert "Refused deliveries: 2 in 24 h" in reader.page("/receipts")
