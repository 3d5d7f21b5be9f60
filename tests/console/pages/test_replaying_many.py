"""What a replay takes, how far it looks for it, and the row that is there before it begins."""

from __future__ import annotations

import datetime as dt
import html
import re

import pytest
import sqlalchemy as sa
from a_console import OPERATOR, Console, Person
from from_outside import NEWER, entry, receive
from scenes import stale

from console.pages import replay
from freshness.ledger.browsing import LOOK, Wanted
from freshness.settings import load

ACTED = "SELECT what, wanted, reached, result FROM console_actions WHERE what <> 'sign in' ORDER BY id"

_MANY = """
INSERT INTO mlm_webhook_receipts (received_at, reference_number, event_type, outcome, reason)
SELECT mlm_now() - n * interval '1 ms', 'R9', 'Modified', 'unknown_file', 'unknown_file'
FROM generate_series(1, %(count)s) n
"""


def those_before(page: str) -> str:
    """Where the link to those before leads, without the console's own place."""
    way = re.findall(r'href="/console([^"]+)">Those before', page)[0]
    return html.unescape(way)


def test_a_filter_without_an_index_is_held_against_no_more_than_two_looks(
    engine: sa.Engine, environment: dict[str, str]
) -> None:
    receive(engine, entry("R9", NEWER, event="Rare"), ago=dt.timedelta(hours=1))
    settings = load(environment)
    with engine.begin() as conn:
        conn.exec_driver_sql(_MANY, {"count": 2 * LOOK})
        first = replay.choose(conn, Wanted(event="rare"), settings)
        assert (first.count, first.next is None) == (0, False)
        assert replay.choose(conn, Wanted(event="rare"), settings, first.next).count == 1


def test_those_before_stay_within_the_time_that_was_asked_for(
    web: Console, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale(web.engine, "R000001")
    receive(web.engine, entry("R000001", NEWER), ago=dt.timedelta(hours=30))
    receive(web.engine, *[entry("R000001", NEWER)] * 4)
    monkeypatch.setattr(replay, "MOST", 2)
    page, taken = operator.page("/receipts/replay?search=R000001&span=24h"), []
    for _ in range(10):
        taken += re.findall(r'/console/receipts/(\d+\.\d+)"', page)
        if "Those before" not in page:
            break
        page = operator.page(those_before(page))
    within = web.rows(
        "SELECT id FROM mlm_webhook_receipts WHERE received_at > now() - interval '24 h' ORDER BY id DESC"
    )
    assert sorted((int(each.partition(".")[2]) for each in taken), reverse=True) == [id for (id,) in within]


def test_a_replay_of_those_before_takes_what_its_page_has_shown(
    web: Console, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale(web.engine, "R000001")
    receive(web.engine, *[entry("R000001", NEWER)] * 2)
    monkeypatch.setattr(replay, "MOST", 2)
    page = operator.page(those_before(operator.page("/receipts/replay?search=R000001")))
    assert "Replay 1 receipt" in page
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.split("<main")[1]))
    tried = operator.post("/receipts/replay", **fields, dry="1").text
    assert re.findall(r"(\d+) <span", tried) == ["1"]


def test_a_replay_that_breaks_has_left_its_row_before_it_began(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    place = re.findall(r"/console/receipts/(\d+\.\d+)", operator.page("/receipts"))[0]
    with web.engine.begin() as conn:
        conn.exec_driver_sql(
            """CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
               CREATE TRIGGER broken BEFORE INSERT ON mlm_webhook_receipts FOR EACH ROW EXECUTE FUNCTION broken()"""
        )
    assert operator.post(f"/receipts/{place}/replay").status_code == 500
    assert web.rows(ACTED) == [("replay", 1, 0, "ended by an error")]


def test_a_replay_of_one_is_written_down_as_meant_and_then_as_done(web: Console, operator: Person) -> None:
    """Nobody but the row's trail sees it in between: it is written twice."""
    stale(web.engine, "R000001")
    place = re.findall(r"/console/receipts/(\d+\.\d+)", operator.page("/receipts"))[0]
    operator.post(f"/receipts/{place}/replay")
    assert web.rows(ACTED) == [("replay", 1, 1, "already ordered, order 1")]
    assert web.rows("SELECT who, moved_at > at FROM console_actions WHERE what = 'replay'") == [(OPERATOR, True)]


def test_who_does_not_replay_comes_back_to_the_same_filters(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    page = operator.page("/receipts/replay?search=R000001&span=24h")
    (way,) = re.findall(r'href="/console([^"]+)">Not now', page)
    assert html.unescape(way) == "/receipts?search=R000001&span=24h"
