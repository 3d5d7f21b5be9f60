"""Whatever comes twice, late or in another order, the rows are the same; where nothing orders, the last arrival wins.

On real PostgreSQL, through the reception: the same steps as a delivery's, without HTTP. Each example has a subject of
its own, and its own clock.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import OPEN, receipts, row, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freshness.field_keys import FieldKeys
from freshness.settings import load
from receiver.reception import Reception
from receiver.senders import SENDERS

SETTINGS = load(OPEN)
KEYS = FieldKeys(SETTINGS.field_keys)
RECEPTION = Reception([declare(SETTINGS) for declare in SENDERS], KEYS)
BEGAN = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)

#: Written anew by each landing, whatever it says.
MOVING = {"id", "updated_at", "other_encrypted", "sections_encrypted", "ssn_encrypted"}

on_postgresql = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
subjects = (f"subject-{number}" for number in itertools.count())


def deliver(engine: sa.Engine, sender: str, bodies: Sequence[Any], at: dt.datetime = BEGAN) -> list[str]:
    """Deliver these in one transaction, received then; what became of each."""
    opened = [RECEPTION.opened(sender, json.dumps(body).encode(), at) for body in bodies]
    with engine.begin() as conn:
        conn.exec_driver_sql(f"SET LOCAL mlm.now = '{at.isoformat()}'")
        return [landing.value for landing in RECEPTION.receive(conn, opened).landings]


def one_by_one(engine: sa.Engine, sender: str, bodies: Sequence[Any]) -> list[str]:
    return [landing for body in bodies for landing in deliver(engine, sender, [body])]


def mmi(subject: str, number: int, **more: Any) -> dict[str, Any]:
    stamp = f"2026-01-02 03:04:{number:02d}"
    return {"type": "Mortgage", "nmls": subject, "timestamp": stamp, "company": f"company {number}"} | more


def showmojo(subject: str, number: int) -> dict[str, Any]:
    showing = {"uid": subject, "name": f"name {number}", "confirmed_at": None}
    return {"event": {"id": str(number), "action": "update", "showing": showing}}


STEPS = (
    ("order_workflow::added", {"loan_number": "77", "lender_name": "as added", "borrower_email": "added@example.com"}),
    ("order_workflow::accepted", {"lender_name": "as accepted", "file_number": "F-2"}),
    ("order_workflow::assigned", {"vendor_id": "v1", "vendor_name": "as assigned", "assignment_accepted_at": None}),
    (
        "order_workflow::assignment_accepted",
        {"vendor_id": "v1", "vendor_name": "as accepted", "assignment_accepted_at": "2026-01-02T04:00:00-03:00"},
    ),
    (
        "assignment_workflow::inspection_completed",
        {"inspection_completed_at": "2026-01-03T04:00:00-03:00", "lender_name": "as inspected"},
    ),
)


def collateralxp(subject: str, number: int) -> dict[str, Any]:
    event, data = STEPS[number - 1]
    return {"event": f"ordering::workflow::{event}", "data": {**data, "order_id": subject}}


ORDERED = {
    "mmi": (mmi, "mmi_loan_officers", "nmls"),
    "showmojo": (showmojo, "showmojo_showings", "uid"),
    "collateralxp": (collateralxp, "appraisal_orders", "order_id"),
}


def landed(engine: sa.Engine, table: str, named_by: str, subject: str) -> dict[str, Any]:
    found = row(engine, table, **{named_by: subject})
    return {name: value for name, value in found.items() if name not in MOVING | {named_by}}


def five(sender: str) -> tuple[list[Any], str, str, str]:
    body, table, named_by = ORDERED[sender]
    subject = next(subjects)
    return [body(subject, number) for number in range(1, 6)], table, named_by, subject


@pytest.mark.parametrize("sender", ORDERED)
def test_five_events_of_a_subject_in_any_of_their_120_orders_end_in_the_same_row(engine: sa.Engine, sender: str):
    ends = []
    for order in itertools.permutations(range(5)):
        bodies, table, named_by, subject = five(sender)
        deliver(engine, sender, [bodies[place] for place in order])
        ends.append(landed(engine, table, named_by, subject))

    assert len(ends) == 120
    assert all(end == ends[0] for end in ends)


@pytest.mark.parametrize("sender", ORDERED)
@on_postgresql
@given(data=st.data())
def test_duplicates_and_retries_in_any_order_end_in_the_same_row(engine: sa.Engine, sender: str, data: st.DataObject):
    """Each of five events up to ten times, shuffled, and cut into transactions anywhere."""
    bodies, table, named_by, subject = five(sender)
    one_by_one(engine, sender, bodies)
    expected = landed(engine, table, named_by, subject)

    bodies, table, named_by, subject = five(sender)
    times = data.draw(st.lists(st.integers(1, 10), min_size=5, max_size=5))
    storm = data.draw(st.permutations([body for body, count in zip(bodies, times, strict=True) for _ in range(count)]))
    cuts = data.draw(st.lists(st.integers(0, len(storm)), max_size=6).map(sorted))
    for begin, end in itertools.pairwise([0, *cuts, len(storm)]):
        deliver(engine, sender, storm[begin:end])

    assert landed(engine, table, named_by, subject) == expected


@pytest.mark.parametrize("sender", ORDERED)
def test_the_same_ten_times_is_applied_once(engine: sa.Engine, sender: str):
    body = ORDERED[sender][0](next(subjects), 1)

    assert one_by_one(engine, sender, [body] * 10) == ["applied"] + ["duplicate"] * 9
    assert deliver(engine, sender, [body] * 10) == ["duplicate"] * 10


def hourly_for_48_hours(answers_of: Any, seed: int) -> Iterator[tuple[dt.datetime, Any]]:
    """ShowMojo's way: what is not answered 200 is sent again every hour for 48 hours; some answers are lost."""
    chance = random.Random(seed)
    waiting = list(answers_of)
    for hour in range(49):
        chance.shuffle(waiting)
        for body in list(waiting):
            yield BEGAN + dt.timedelta(hours=hour), body
            if hour == 48 or chance.random() < 0.15:
                waiting.remove(body)


@pytest.mark.parametrize("sender", ["mmi", "showmojo"])
@pytest.mark.parametrize("seed", range(3))
def test_a_retry_storm_ends_in_the_same_row(engine: sa.Engine, sender: str, seed: int):
    bodies, table, named_by, subject = five(sender)
    one_by_one(engine, sender, bodies)
    expected = landed(engine, table, named_by, subject)

    bodies, table, named_by, subject = five(sender)
    sent = 0
    for at, body in hourly_for_48_hours(bodies, seed):
        deliver(engine, sender, [body], at)
        sent += 1

    assert landed(engine, table, named_by, subject) == expected
    told = rows(engine, "mlm_webhook_receipts", sender=sender)[-sent:]
    assert sum(each["outcome"] == "applied" for each in told) <= 5
    assert told[-1]["received_at"] > BEGAN + dt.timedelta(hours=1), "the clock is the test's"


def test_nine_is_not_after_ten(engine: sa.Engine):
    one_by_one(engine, "showmojo", [showmojo("s", 10), showmojo("s", 9)])

    assert row(engine, "showmojo_showings", uid="s")["name"] == "name 10"
    assert receipts(engine) == [("applied", "newer"), ("older", "a newer one was applied")]


def test_an_equal_key_with_other_content_applies(engine: sa.Engine):
    landings = one_by_one(engine, "mmi", [mmi("1", 5), mmi("1", 5, company="another")])

    assert landings == ["applied", "applied"]
    assert row(engine, "mmi_loan_officers", nmls="1")["company"] == "another"
    assert receipts(engine)[1] == ("applied", "same_key")


def alert(status: str) -> dict[str, Any]:
    return {"listing_id": "L1", "nmls": "1", "status": status}


def test_without_an_order_a_then_b_then_a_are_three_changes_and_the_receipts_say_unordered(engine: sa.Engine):
    landings = one_by_one(engine, "mmi", [alert(status) for status in ("Active", "Active", "Sold", "Active")])

    assert landings == ["applied", "duplicate", "applied", "applied"]
    assert row(engine, "mmi_listing_alerts")["status"] == "Active"
    assert {reason for outcome, reason in receipts(engine) if outcome == "applied"} == {"unordered"}


@on_postgresql
@given(statuses=st.lists(st.sampled_from(["Active", "Pending", "Sold"]), min_size=1, max_size=12))
def test_without_an_order_the_last_arrival_wins(engine: sa.Engine, statuses: list[str]):
    listing = next(subjects)
    one_by_one(engine, "mmi", [alert(status) | {"listing_id": listing} for status in statuses])

    assert row(engine, "mmi_listing_alerts", listing_id=listing)["status"] == statuses[-1]


@pytest.mark.parametrize("ahead", ["2999-01-01 00:00:00", "2999-01-01T00:00:00Z", "9999-12-31 23:59:59"])
def test_a_timestamp_from_the_future_is_malformed(engine: sa.Engine, ahead: str):
    """Else it would silence its subject until then, or what is older would overwrite what is newer."""
    told = [mmi("1", 1), mmi("1", 3) | {"timestamp": ahead}, mmi("1", 2)]

    assert one_by_one(engine, "mmi", told) == ["applied", "malformed", "applied"]
    assert receipts(engine)[1] == ("malformed", "a timestamp more than a day ahead of our clock")
    assert row(engine, "mmi_loan_officers")["company"] == "company 2"


IN_NEW_YORK = Reception([declare(load(OPEN | {"MMI_ZONE": "America/New_York"})) for declare in SENDERS], KEYS)


@pytest.mark.parametrize(
    ("stamps", "said_at"),
    [
        (["2025-11-02 00:59:59", "2025-11-02 01:30:00", "2025-11-02 01:30:01", "2025-11-02 02:00:00"], (7, 0)),
        (["2026-03-08 01:59:59", "2026-03-08 02:30:00", "2026-03-08 02:30:01", "2026-03-08 03:31:00"], (7, 31)),
        (["2025-11-02 00:00:00", "2025-11-02 01:15:00"], (5, 15)),
        (["2026-03-08 01:00:00", "2026-03-08 02:15:00"], (7, 15)),
    ],
    ids=["autumn", "spring", "within autumn's hour", "within spring's hour"],
)
def test_a_timestamp_in_an_hour_that_the_zone_repeats_or_skips_has_its_place(
    engine: sa.Engine, stamps: list[str], said_at: tuple[int, int]
):
    ends = []
    for number, told in enumerate(itertools.permutations(stamps)):
        for stamp in told:
            body = json.dumps(mmi(str(number), 1, company=stamp) | {"timestamp": stamp}).encode()
            with engine.begin() as conn:
                IN_NEW_YORK.receive(conn, [IN_NEW_YORK.opened("mmi", body, BEGAN)])
        found = row(engine, "mmi_loan_officers", nmls=str(number))
        ends.append((found["company"], found["said_at"].hour, found["said_at"].minute))

    assert set(ends) == {(stamps[-1], *said_at)}
    assert "unordered" not in {reason for _, reason in receipts(engine)}


NUMBERS = [9, "10", "0011", 12, 2**63, str(2**63 + 1), 10**19 + 1, 10.0**21, "9" * 120, "a", "b" * 999, "b" * 998 + "c"]


def event_ids(subject: str, ids: Sequence[Any]) -> list[Any]:
    return [
        {"event": {"id": each, "showing": {"uid": subject, "name": f"name {number}"}}}
        for number, each in enumerate(ids)
    ]


@on_postgresql
@given(ids=st.lists(st.sampled_from(range(len(NUMBERS))), min_size=2, max_size=6, unique=True), seed=st.integers())
def test_event_ids_of_any_kind_and_size_are_ordered(engine: sa.Engine, ids: list[int], seed: int):
    """As numbers, whether they come as numbers or as texts, however long; and every text that is no number behind."""
    subject, told = next(subjects), event_ids("", [NUMBERS[place] for place in ids])
    for place, body in zip(ids, told, strict=True):
        body["event"]["showing"] = {"uid": subject, "name": str(place)}
    random.Random(seed).shuffle(told)

    one_by_one(engine, "showmojo", told)

    assert row(engine, "showmojo_showings", uid=subject)["name"] == str(max(ids))


@pytest.mark.parametrize(("one", "same"), [(9, "9"), ("9", "009"), (2**64, str(2**64)), (10.0, "10"), ("a", " a ")])
def test_an_event_id_is_the_same_however_it_is_written(engine: sa.Engine, one: Any, same: Any):
    one_by_one(engine, "showmojo", event_ids("s", [one, same]))

    assert [reason for _, reason in receipts(engine)] == ["newer", "same_key"]


def test_an_event_id_that_is_too_long_to_be_compared_is_malformed(engine: sa.Engine):
    assert one_by_one(engine, "showmojo", event_ids("s", ["9" * 1001, "9" * 1000, 1e300])) == [
        "malformed", "applied", "older",
    ]  # fmt: skip


@pytest.mark.parametrize("nothing", [None, "", "  ", True, [1], {"a": 1}])
def test_what_is_no_event_id_orders_nothing(engine: sa.Engine, nothing: Any):
    assert one_by_one(engine, "showmojo", event_ids("s", [nothing])) == ["applied"]
    assert receipts(engine) == [("applied", "unordered")]


@pytest.mark.parametrize("listing", [None, "absent"])
def test_an_officer_whose_listing_is_null_is_an_officer(engine: sa.Engine, listing: Any):
    assert deliver(engine, "mmi", [mmi("1", 1) | ({"listing_id": None} if listing is None else {})]) == ["applied"]
    assert row(engine, "mmi_loan_officers")["company"] == "company 1"
