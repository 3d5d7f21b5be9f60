"""What the overview says at a glance: how long it takes until what came has landed, and that nothing lands."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from a_console import Console, Person
from from_outside import NEWER, entry, receive
from scenes import stale
from test_draining import tile

NAME = "Webhook → landed"


def served(web: Console, ref: str, after_s: float) -> None:
    """What came of this file landed so long after."""
    with web.engine.begin() as conn:
        conn.exec_driver_sql(
            "UPDATE mlm_webhook_receipts SET served_at = received_at + make_interval(secs => %(s)s) "
            "WHERE reference_number = %(ref)s",
            {"s": after_s, "ref": ref},
        )


@pytest.fixture
def twenty_minutes_ago(web: Console) -> dt.datetime:
    """A webhook came, and landed 4 s later."""
    stale(web.engine, "R000001", "R000002")
    web.rows("DELETE FROM mlm_webhook_receipts RETURNING 1")
    ago = dt.timedelta(minutes=20)
    receive(web.engine, entry("R000001", "2026-11-01T12:00:00Z"), ago=ago)
    served(web, "R000001", 4)
    return dt.datetime.now(dt.UTC) - ago


def test_the_time_to_land_is_a_median_and_says_of_when(
    web: Console, reader: Person, twenty_minutes_ago: dt.datetime
) -> None:
    said = tile(reader.page("/"), NAME)
    assert said.startswith("p50 4.0 s p95 4.0 s, p99 4.0 s, of ")
    told = dt.datetime.strptime(said[-6:], "%H:%MZ")
    apart = (twenty_minutes_ago.hour * 60 + twenty_minutes_ago.minute) - (told.hour * 60 + told.minute)
    assert apart % 1440 <= 1
    assert "nothing" not in said


def test_that_nothing_lands_any_more_is_said_with_since_when(
    web: Console, reader: Person, twenty_minutes_ago: dt.datetime
) -> None:
    receive(web.engine, entry("R000002", "2026-11-01T12:00:00Z"), ago=dt.timedelta(minutes=5))
    assert re.search("nothing landed for (19|20) min", tile(reader.page("/"), NAME))


def test_what_was_skipped_waits_for_nothing(web: Console, reader: Person, twenty_minutes_ago: dt.datetime) -> None:
    receive(web.engine, entry("NOBODY", NEWER), ago=dt.timedelta(minutes=5))
    assert "nothing landed" not in tile(reader.page("/"), NAME)


def test_with_nothing_landed_at_all_the_tile_says_so(web: Console, reader: Person) -> None:
    stale(web.engine, "R000001")
    assert "nothing landed for " in tile(reader.page("/"), NAME)


def test_with_nothing_due_the_tile_says_that(reader: Person) -> None:
    assert tile(reader.page("/"), NAME) == "– nothing was due"
