"""How fast what is due lands and when nothing will be due any more, over all and of each part; what was given up."""

from __future__ import annotations

import datetime as dt
import html
import re

import httpx
import pytest
import sqlalchemy as sa
from a_console import Console, Person
from from_outside import until
from scenes import dead, runs, stale

from console.pages import queues, words
from freshness.ledger import pulse

MINUTES = dt.timedelta(minutes=5)


def tile(page: str, name: str) -> str:
    """The words of a tile."""
    found = re.findall(rf"<dt>{re.escape(name)}</dt>(.*?)</div>", page, re.DOTALL)[0]
    return " ".join(re.sub("<[^>]+>", " ", found).split())


def row(page: str, table: str, name: str) -> list[str]:
    """The cells of the row that begins so."""
    body = page.split(f'aria-label="{table}"')[1].split("</table>")[0]
    without = re.sub(r'<span class="narrow.*?</span>', "", body)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", each, re.DOTALL) for each in without.split("<tr>")]
    return next(cells for cells in rows if cells and cells[0] == name)


def test_what_failed_or_served_nothing_is_no_landing_and_failing_stands_beside_it(web: Console, reader: Person) -> None:
    stale(web.engine, "R000001")
    runs(web.engine, "R000001", "landed", 150)
    runs(web.engine, "R000001", "landed, served nothing", 60)
    runs(web.engine, "R000001", "failed", 300)
    runs(web.engine, "R000001", "landed", 500, ago_s=3600)
    assert tile(reader.page("/queues"), "Landing now") == "0.5/s parts, over 5 min; failing 1.0/s"


def test_empty_in_is_what_is_due_by_what_lands(web: Console, reader: Person) -> None:
    refs = [f"R{number:06}" for number in range(1, 13)]
    stale(web.engine, *refs[:9])
    dead(web.engine, *refs[9:], concern="fees")
    due = reader.page("/queues")
    assert tile(due, "Empty in") == "– at that rate"
    runs(web.engine, refs[0], "failed", 300)
    assert tile(reader.page("/queues"), "Empty in") == "– at that rate"
    runs(web.engine, refs[0], "landed", 30)
    page = reader.page("/queues")
    assert row(page, "Table of parts", "fees")[-2:] == ["0.1/s", "90 s"], "nine are due: three are at rest"
    assert row(page, "Table of parts", "assets")[-2:] == ["0.0/s", "–"]
    assert tile(page, "Empty in") != "– at that rate"


def test_with_nothing_due_it_is_empty_now(reader: Person) -> None:
    assert tile(reader.page("/queues"), "Empty in") == "now at that rate"


def test_a_rate_is_taken_over_the_time_that_was_looked_at(engine: sa.Engine) -> None:
    """A busy house: the newest runs that are counted reach back a minute, not five."""
    stale(engine, "R000001")
    runs(engine, "R000001", "landed", 400, ago_s=200)
    runs(engine, "R000001", "landed", 60, ago_s=60)
    with engine.begin() as conn:
        conn.exec_driver_sql("SELECT set_config('mlm.now', mlm_now()::text, true)")
        few = pulse.drain(conn, MINUTES, most=60)
        whole = pulse.drain(conn, MINUTES)
    assert few.over_s == pytest.approx(60, abs=2)
    assert few.landed_a_second == pytest.approx(1, rel=0.05)
    assert (whole.over_s, whole.landed) == (300, {"fees": 460})


@pytest.mark.parametrize(
    ("a_second", "said"), [(0, "0.0/s"), (2.25, "2.2/s"), (0.1, "0.1/s"), (0.05, "3.0/min"), (0.001, "0.1/min")]
)
def test_a_slow_rate_is_told_by_the_minute(a_second: float, said: str) -> None:
    assert words.rate(a_second) == said


def test_errors_are_counted_among_the_first_and_the_page_says_so(
    web: Console, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead(web.engine, "R000001", "R000002", "R000003")
    assert "of the first" not in reader.page("/queues")
    monkeypatch.setattr(queues, "AMONG", 2)
    assert "of the first 2 (a redrive takes all)" in reader.page("/queues")
    assert "Redrive 3 files" in reader.page("/queues/redrive")


def test_more_kinds_of_error_than_the_page_shows_are_counted(
    web: Console, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, error in enumerate(("Outage", "Timeout", "AccessDenied"), 1):
        dead(web.engine, f"R00000{number}", error=error)
    assert "more kinds of error" not in reader.page("/queues")
    monkeypatch.setattr(queues, "KINDS", 1)
    assert "… and 2 more kinds of error." in reader.page("/queues")


def test_a_group_by_error_is_redriven_and_no_group_whose_error_only_begins_so(
    web: Console, reader: Person, operator: Person
) -> None:
    dead(web.engine, "R000001", "R000002", error="Timeout")
    dead(web.engine, "R000003", error="Timeout at byte 9 of {ref}")
    dead(web.engine, "R000004", error="timeout")
    ways = [
        html.unescape(way) for way in re.findall(r'href="/console(/queues/redrive\?[^"]+)"', reader.page("/queues"))
    ]
    shown = {httpx.URL(way).params["error"]: operator.page(way) for way in ways}
    refs = {error: sorted(set(re.findall("R00000[0-9]", page))) for error, page in shown.items()}
    assert refs == {
        "Timeout": ["R000001", "R000002"],
        "Timeout at byte 9 of …": ["R000003"],
        "timeout": ["R000004"],
    }
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown["Timeout"].split("<main")[1]))
    before = dict(web.rows("SELECT ref, ordered FROM file_freshness"))
    operator.post("/queues/redrive", **fields, rate="100")
    until(lambda: web.rows("SELECT 1 FROM console_actions WHERE what = 'redrive' AND result IS NOT NULL"))
    after = dict(web.rows("SELECT ref, ordered FROM file_freshness"))
    assert {ref for ref, ordered in after.items() if ordered > before[ref]} == {"R000001", "R000002"}


def test_a_lease_whose_worker_is_dead_says_so_in_a_word(web: Console, reader: Person) -> None:
    dead(web.engine, "R000001")
    web.rows(
        "UPDATE file_concerns SET lease_token = gen_random_uuid(), lease_worker = 'gone', lease_at = now(), "
        "lease_until = now() + interval '1 min' WHERE concern = 'fees' RETURNING 1"
    )
    leases = reader.page("/queues").split('aria-label="Table of leases"')[1].split("</table>")[0]
    assert re.findall(r'<span class="badge \w+">([^<]*)</span>', leases) == ["dead"]
