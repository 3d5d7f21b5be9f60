"""Pages of receipts and files: nothing twice, nothing left out, and no more looked at than was said."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa
from from_outside import NEWER, RULES, entry, receive
from scenes import dead, stale, trickle

from console.pages.behind import behind
from freshness.ledger import browsing, measures, pulse, shelves, status
from freshness.ledger.browsing import Found, Place, Wanted
from freshness.ledger.shelves import Shelf


def page(engine: sa.Engine, wanted: Wanted, after: Place | None = None, limit: int = 50, look: int = 1000) -> Found:
    with engine.begin() as conn:
        return browsing.page(conn, wanted, after, limit, look)


def walk(engine: sa.Engine, wanted: Wanted, limit: int, look: int = 1000) -> list[int]:
    """The ids of all pages in turn."""
    found, after = [], None
    while True:
        shown = page(engine, wanted, after, limit, look)
        found += [receipt["id"] for receipt in shown.receipts]
        after = shown.next
        if after is None:
            return found


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted(search="R000001"), Wanted(outcome="unknown_file"), Wanted(event="modified")]
)
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_in_turn_are_the_whole_list_newest_first(engine: sa.Engine, wanted: Wanted, limit: int) -> None:
    stale(engine, "R000001", "R000002")
    for _ in range(3):
        receive(engine, entry("R000001", NEWER), entry("R000002", NEWER), entry("NOBODY", NEWER))
    whole = [receipt["id"] for receipt in page(engine, wanted).receipts]
    assert whole == sorted(whole, reverse=True)
    assert walk(engine, wanted, limit) == whole


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(event="modified"), Wanted(outcome="dispatched")])
@pytest.mark.parametrize("limit", [1, 2, 50])
def test_what_came_weeks_ago_follows_what_came_just_now(engine: sa.Engine, wanted: Wanted, limit: int) -> None:
    stale(engine, "R000001")
    trickle(engine, "R000001", 3)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE mlm_webhook_receipts SET received_at = received_at - interval '3 weeks'")
        there = conn.exec_driver_sql("SELECT count(*) FROM mlm_webhook_receipts").scalar_one()
    stale(engine, "R000002")
    trickle(engine, "R000002", 3)
    found = walk(engine, wanted, limit)
    assert found == sorted(found, reverse=True)
    assert len(found) == len(set(found)) > there


def test_what_comes_while_somebody_pages_moves_no_page(engine: sa.Engine) -> None:
    stale(engine, "R000001")
    trickle(engine, "R000001", 6)
    first = page(engine, Wanted(), limit=3)
    receive(engine, entry("R000001", NEWER))
    second = page(engine, Wanted(), first.next, limit=3)
    ids = [receipt["id"] for receipt in (*first.receipts, *second.receipts)]
    assert ids == list(range(ids[0], ids[0] - 6, -1))


def test_a_filter_without_an_index_breaks_off_and_says_how_far_it_looked(engine: sa.Engine) -> None:
    receive(engine, entry("R9", NEWER, event="Rare"), *[entry("R9", NEWER)] * 9)
    first = page(engine, Wanted(event="rare"), look=4)
    assert first.receipts == []
    assert first.looked_back_to is not None
    assert len(walk(engine, Wanted(event="rare"), 50, look=4)) == 1


def test_what_comes_while_a_page_is_looked_for_is_not_shown_twice_for_it(engine: sa.Engine) -> None:
    receive(engine, *[entry("R9", NEWER)] * 5, entry("R9", NEWER, event="Rare"), *[entry("R9", NEWER)] * 2)

    @sa.event.listens_for(engine, "after_cursor_execute", once=True)
    def more(*_: object) -> None:
        receive(engine, *[entry("R9", NEWER)] * 3)

    assert len(walk(engine, Wanted(event="rare"), 50, look=4)) == 1


def test_a_search_finds_a_file_by_reference_and_by_loan_number_and_what_no_file_leads_to(engine: sa.Engine) -> None:
    stale(engine, "R000001")
    receive(engine, entry("NOBODY", NEWER))
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE loans SET mlm_loan_number = 'L77' WHERE mlm_reference_number = 'R000001'")
    refs = {
        s: [r["reference_number"] for r in page(engine, Wanted(search=s)).receipts]
        for s in ("R000001", "L77", "NOBODY")
    }
    assert refs == {"R000001": ["R000001"], "L77": ["R000001"], "NOBODY": ["NOBODY"]}


def test_slower_than_counts_what_still_waits(engine: sa.Engine) -> None:
    stale(engine, "R000001")
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE mlm_webhook_receipts SET received_at = received_at - interval '2 hours'")
    assert len(page(engine, Wanted(slower_s=3600)).receipts) == 1
    assert page(engine, Wanted(slower_s=3 * 3600)).receipts == []


def test_one_order_names_the_receipts_that_it_served_together(engine: sa.Engine) -> None:
    stale(engine, "R000001")
    receive(engine, entry("R000001", NEWER))
    newest, oldest = page(engine, Wanted()).receipts
    with engine.begin() as conn:
        came = browsing.consequences(conn, oldest)
    assert [each["id"] for each in came.same_order] == [newest["id"]]
    assert came.order is not None


@pytest.mark.parametrize("shelf", list(Shelf))
def test_every_shelf_is_walked_without_a_gap(engine: sa.Engine, shelf: Shelf) -> None:
    dead(engine, "R000001", "R000002", "R000003")
    stale(engine, "R000004")
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE file_freshness SET unstamped = true WHERE ref IN ('R000001', 'R000002')")
        conn.exec_driver_sql("UPDATE file_freshness SET deleted_at = mlm_now() WHERE ref = 'R000003'")
        whole = shelves.page(conn, shelf).ids
        found, after = [], None
        for _ in range(10):
            part = shelves.page(conn, shelf, after, limit=1)
            found += part.ids
            after = part.next
            if after is None:
                break
    sizes = {
        Shelf.STALE: 4,
        Shelf.GIVEN_UP: 3,
        Shelf.UNCONFIRMED: 0,
        Shelf.UNSTAMPED: 2,
        Shelf.DELETED: 1,
        Shelf.ALL: 4,
    }
    assert (len(found), found) == (sizes[shelf], list(whole))


def test_the_longest_stale_comes_first_and_too_many_are_said_to_be_so(engine: sa.Engine) -> None:
    stale(engine, "R000001", "R000002", "R000003")
    with engine.begin() as conn:
        conn.exec_driver_sql("""UPDATE refresh_orders SET placed_at = placed_at - interval '1 h' FROM file_freshness f
                                WHERE f.id = file_id AND f.ref = 'R000003'""")
        found = shelves.page(conn, Shelf.STALE)
        said = [each.ref for each in status.freshness_of_each(conn, RULES, found.ids)]
        assert (said[0], found.too_many) == ("R000003", False)
        assert shelves.page(conn, Shelf.STALE, most=2).too_many


def test_a_list_says_of_each_file_what_its_own_page_says(engine: sa.Engine) -> None:
    dead(engine, "R000001")
    stale(engine, "R000002")
    with engine.begin() as conn:
        conn.exec_driver_sql("SELECT set_config('mlm.now', '2026-11-30T00:00:00Z', true)")
        ids = shelves.page(conn, Shelf.ALL).ids
        for each in status.freshness_of_each(conn, RULES, ids):
            alone = status.freshness_of(conn, RULES, each.ref)
            assert (each.state, each.why, each.mark) == (alone.state, alone.why, alone.mark)


def test_the_pulse_counts_each_receipt_once_and_says_since_when(engine: sa.Engine) -> None:
    stale(engine, "R000001")
    trickle(engine, "R000001", 5)
    with engine.begin() as conn:
        whole = pulse.pulse(conn, dt.timedelta(hours=1))
        part = pulse.pulse(conn, dt.timedelta(hours=1), most=2)
    assert len(whole.minutes) == 60
    assert sum(sum(minute.outcomes.values()) for minute in whole.minutes) == 6
    assert whole.counts_since == whole.minutes[0].at
    assert sum(sum(minute.outcomes.values()) for minute in part.minutes) == 2
    assert part.counts_since > part.minutes[0].at


def test_of_more_stale_files_than_a_page_counts_it_says_what_a_scheduler_counted(engine: sa.Engine) -> None:
    dead(engine, "R000001", "R000002", "R000003")
    with engine.begin() as conn:
        conn.exec_driver_sql("SELECT set_config('mlm.now', mlm_now()::text, true)")
        alone, whole = behind(conn, RULES, among=2)
        assert (alone.stale_files, whole) == (2, False)
        assert measures.measure(conn, RULES)
        told, whole = behind(conn, RULES, among=2)
        assert whole
        assert (told.stale_files, told.given_up) == (3, 3)
        assert [each.stale for each in told.concerns] == [3] * len(RULES.active)
        assert behind(conn, RULES, among=10)[0] == behind(conn, RULES, among=4)[0]
        conn.exec_driver_sql("UPDATE measures SET measured_at = mlm_now() - interval '1 hour'")
        assert behind(conn, RULES, among=2) == (alone, False), "what was counted an hour ago says nothing of now"
