"""CollateralXP's rows, all of them, in whatever order events come: late, in a later round, of another vendor, again.

What says which events may come in any order is in docs/senders.md, "CollateralXP".
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import receipts, row, rows
from hypothesis import given
from hypothesis import strategies as st
from test_collateralxp import ASSIGNMENT, CLIENT, HELD, ORDER, QUALITY, RESUMED, TIMED_OUT, UNASSIGNED, event, stands
from test_order import MOVING, SETTINGS, deliver, on_postgresql, one_by_one, subjects

from freshness.field_keys import FieldKeys

ADDED, ACCEPTED = f"{ORDER}added", f"{ORDER}assignment_accepted"
ASSIGNED, SUBMITTED, ASKED = f"{ORDER}assigned", f"{ASSIGNMENT}submitted", f"{CLIENT}revision_asked"
SCHEDULED, INSPECTED = f"{ASSIGNMENT}inspection_scheduled", f"{ASSIGNMENT}inspection_completed"
ADDRESS_SET, NOTE, PAYOUT = "ordering::order_setup::address_set", "ordering::note_added", "payouting::payout_completed"

TABLES = ("revisions", "notes", "files", "payouts")


def at(hour: int) -> str:
    return f"2026-01-02T{hour:02d}:00:00-03:00"


def all_rows(engine: sa.Engine, order: str, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """All rows of an order. Of events which there are: how each was met is a matter of arrival."""
    hidden = MOVING | {"order_id", "note_id", "received_at"} | without

    def seen(table: str) -> list[str]:
        found = rows(engine, f"appraisal_{table}", order_id=order)
        return sorted(str({k: v for k, v in each.items() if k not in hidden}) for each in found)

    events = Counter((each["event"], str(each["own_at"])) for each in rows(engine, "appraisal_events", order_id=order))
    return {table: seen(table) for table in ("orders", *TABLES)} | {"events": events}


def ends(engine: sa.Engine, bodies: list[dict[str, Any]], without: frozenset[str] = frozenset()) -> list[Any]:
    """What each order of these events ends in."""
    found = []
    for told in itertools.permutations(bodies):
        order = next(subjects)
        one_by_one(engine, "collateralxp", [of(order, body) for body in told])
        found.append(all_rows(engine, order, without))
    return found


def of(order: str, body: dict[str, Any]) -> dict[str, Any]:
    """The same event of another order; of a subject of these tests with a note of its own."""
    data = json.loads(json.dumps(body["data"]).replace('"o"', json.dumps(order)))
    own = {"note_id": f"n of {order}"} if "note_id" in data and order.startswith("subject") else {}
    return {"event": body["event"], "data": data | own}


def note(text: str, hour: int | None, note_id: str = "n", **data: Any) -> dict[str, Any]:
    timed = {"note_added_at": at(hour)} if hour else {}
    return event(NOTE, note_id=note_id, content=text, **timed, **data)


def payout(status: str, hour: int, **transfer: Any) -> dict[str, Any]:
    told = {"order_id": "o", "amount": 1300, "status": status, **transfer}
    return {"event": PAYOUT, "data": {"payout_id": "p", "amount": 13, "completed_at": at(hour), "transfers": [told]}}


SECOND_ROUND = [
    event(ADDED, lender_name="old lender", street="1 Old Street"),
    event(ADDRESS_SET, street="2 New Street", full_address="2 New Street, Reno"),
    event(f"{ORDER}accepted", lender_name="new lender"),
    event(SUBMITTED, appraised_value=100, products=["1004"]),
    event(ASKED, content="more"),
]


@pytest.mark.parametrize(
    "late",
    [
        event(ADDED, lender_name="old lender", address_resource={"address_one": "1 Old Street"}, products=["0"]),
        event(f"{ORDER}accepted", address_resource={"address_one": "1 Old Street"}),
        event(HELD, lender_name="old lender", products=["0"]),
        event(UNASSIGNED, vendor_id="v0", lender_name="old lender", products=["0"]),
        event(RESUMED, lender_name="old lender", products=["0"]),
    ],
    ids=lambda body: body["event"].rpartition("::")[2],
)
def test_what_comes_late_overwrites_nothing_in_a_second_round(engine: sa.Engine, late: dict[str, Any]):
    one_by_one(engine, "collateralxp", SECOND_ROUND)
    kept = ("street", "address", "lender_name", "products", "status", "appraised_value")
    before = {name: row(engine, "appraisal_orders")[name] for name in kept}

    one_by_one(engine, "collateralxp", [late])

    assert {name: row(engine, "appraisal_orders")[name] for name in kept} == before
    assert (before["street"], before["lender_name"]) == ("2 New Street", "new lender")


def test_a_vendor_that_has_left_overwrites_nothing_of_its_successors(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(ASSIGNED, vendor_id="v1", vendor_name="One"), event(UNASSIGNED, vendor_id="v1"),
        event(ASSIGNED, vendor_id="v2", vendor_name="Two", lender_name="new"),
        event(ACCEPTED, vendor_id="v1", vendor_name="One", lender_name="old", assignment_accepted_at=at(9)),
    ])  # fmt: skip

    found = row(engine, "appraisal_orders")
    assert (found["status"], found["vendor_name"], found["lender_name"]) == ("assigned", "Two", "new")


def test_what_comes_late_fills_what_nobody_has_said(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [*SECOND_ROUND, event(ADDED, file_number="F-1", loan_number="77")])

    assert (row(engine, "appraisal_orders")["file_number"], row(engine, "appraisal_orders")["loan_number"]) == (
        "F-1", "77",
    )  # fmt: skip


def test_five_events_of_one_place_in_any_of_their_120_orders_end_in_the_same_rows(engine: sa.Engine):
    told = [event(INSPECTED, inspection_completed_at=at(hour), lender_name=f"at {hour}") for hour in range(8, 13)]

    found = ends(engine, told)

    assert len(found) == 120
    assert all(each == found[0] for each in found)
    newest = rows(engine, "appraisal_orders")[0]
    assert (newest["lender_name"], newest["status_at"].hour) == ("at 12", 15)


OF_ONE_VENDOR = [
    event(ADDED, loan_number="77", lender_name="as added"),
    event(ASSIGNED, vendor_id="v1", vendor_name="One", files=[{"file_id": "f", "file_type": "t"}]),
    event(ACCEPTED, vendor_id="v1", assignment_accepted_at=at(10), lender_name="as accepted"),
    event(INSPECTED, inspection_completed_at=at(9), lender_name="as inspected"),
    note("first", 8, attachment_resources=[{"key": "k", "filename": "a.jpg"}]),
]
OTHERS = [
    event(ADDRESS_SET, street="2 New Street"),
    event(ADDED, loan_number="77", street="1 Old Street"),
    note("older", 8), note("newer", 9, subject=None, attachment_sgids=[{"key": "k", "filename": "a.jpg"}]),
    payout("due", 8), payout("paid", 9), note("without a time", None),
    event(f"{CLIENT}cancelled", cancel_reason="why"), event(SUBMITTED, appraised_value="1"),
]  # fmt: skip


@pytest.mark.parametrize("told", [OF_ONE_VENDOR, OTHERS[:5], OTHERS[2:7], OTHERS[4:]], ids=range(4))
def test_five_events_in_any_of_their_120_orders_end_in_the_same_rows_of_all_tables(
    engine: sa.Engine, told: list[dict[str, Any]]
):
    found = ends(engine, told)

    assert len(found) == 120
    assert all(each == found[0] for each in found)


@on_postgresql
@given(data=st.data())
def test_a_storm_of_events_that_prove_which_they_are_ends_in_the_same_rows_of_all_tables(
    engine: sa.Engine, data: st.DataObject
):
    told = [OF_ONE_VENDOR[2], OF_ONE_VENDOR[3], note("older", 8), note("newer", 9), payout("due", 8), payout("paid", 9)]
    calm, order = next(subjects), next(subjects)
    one_by_one(engine, "collateralxp", [of(calm, body) for body in told])
    times = data.draw(st.lists(st.integers(1, 5), min_size=len(told), max_size=len(told)))
    storm = data.draw(st.permutations([body for body, n in zip(told, times, strict=True) for _ in range(n)]))
    cuts = data.draw(st.lists(st.integers(0, len(storm)), max_size=6).map(sorted))
    for begin, end in itertools.pairwise([0, *cuts, len(storm)]):
        deliver(engine, "collateralxp", [of(order, body) for body in storm[begin:end]])

    assert all_rows(engine, order) == all_rows(engine, calm)
    assert set(all_rows(engine, order)["events"].values()) == {1}


@pytest.mark.parametrize(
    ("first", "between"),
    [
        (event(ACCEPTED, vendor_id="v1", assignment_accepted_at=at(9)), event(UNASSIGNED, vendor_id="v1")),
        (event(INSPECTED, inspection_completed_at=at(9)), event(SUBMITTED)),
        (note("a", 9), note("b", 10)),
        (note("a", None), event(SUBMITTED)),
        (payout("due", 9), payout("paid", 10)),
    ],
    ids=["acceptance", "inspection", "note", "note without a time", "payout"],
)
def test_an_event_that_proves_which_it_is_is_a_duplicate_whatever_came_between(
    engine: sa.Engine, first: dict[str, Any], between: dict[str, Any]
):
    one_by_one(engine, "collateralxp", [first, between])
    before = all_rows(engine, "o")

    assert one_by_one(engine, "collateralxp", [first]) == ["duplicate"]
    assert deliver(engine, "collateralxp", [first, first]) == ["duplicate"] * 2
    assert all_rows(engine, "o") == before
    assert receipts(engine)[2][1].startswith("this very event was applied before")


def test_the_same_of_another_time_or_order_is_no_duplicate(engine: sa.Engine):
    landings = one_by_one(engine, "collateralxp", [
        note("a", 9), note("a", 10), of("another", note("a", 9)),
        event(INSPECTED, inspection_completed_at=at(9)), event(INSPECTED, inspection_completed_at=at(10)),
    ])  # fmt: skip

    assert landings == ["applied"] * 5


@pytest.mark.parametrize(
    ("told", "ended", "counted"),
    [
        (event(HELD, reason="why"), event(RESUMED), lambda found: found["orders"][0].count("'holds': 2")),
        (event(ASKED, content="more"), event(SUBMITTED), lambda found: len(found["revisions"]) == 2),
    ],
    ids=["hold", "revision"],
)
def test_a_hold_or_a_revision_is_the_same_until_it_has_ended(engine: sa.Engine, told: Any, ended: Any, counted: Any):
    noted = note("between", 9)

    landings = one_by_one(engine, "collateralxp", [event(SUBMITTED), told, noted, told])
    assert landings == ["applied"] * 3 + ["duplicate"]
    assert not counted(all_rows(engine, "o"))

    landings = one_by_one(engine, "collateralxp", [ended, told, noted, told])
    assert landings == ["applied", "applied", "duplicate", "duplicate"]
    assert counted(all_rows(engine, "o"))


def test_another_hold_of_an_order_that_is_held_is_kept_and_not_counted(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [event(HELD, reason="one"), event(HELD, reason="two")])

    found = row(engine, "appraisal_orders")
    assert (found["holds"], found["hold_reason"], len(rows(engine, "appraisal_events"))) == (1, "two", 2)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_versions_of_a_note_or_a_transfer_the_newer_stays(engine: sa.Engine, first: int):
    for told in ([note("older", 8, subject="s"), note("newer", 9)], [payout("due", 8, error="e"), payout("paid", 9)]):
        one_by_one(engine, "collateralxp", [told[first], told[1 - first]])

    assert (row(engine, "appraisal_notes")["content"], row(engine, "appraisal_notes")["subject"]) == ("newer", None)
    assert (row(engine, "appraisal_payouts")["status"], row(engine, "appraisal_payouts")["error"]) == ("paid", None)


def test_two_orders_may_have_a_note_of_the_same_id(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [note("of one", 8), of("another", note("of another", 9))])

    told = [(each["order_id"], each["note_id"], each["content"]) for each in rows(engine, "appraisal_notes")]
    assert told == [("o", "n", "of one"), ("another", "n of another", "of another")]

    deliver(engine, "collateralxp", [
        of("another", note("newer", 10)), note("newest", 11), of("a third", note("of a third", 9)),
    ])  # fmt: skip
    assert [each["content"] for each in rows(engine, "appraisal_notes")] == ["newest", "newer", "of a third"]


def test_two_orders_with_a_note_of_the_same_id_may_come_at_once(engine: sa.Engine):
    deliver(engine, "collateralxp", [of("another", note("of another", 9)), note("of one", 8), note("newer", 9)])

    told = {each["order_id"]: each["content"] for each in rows(engine, "appraisal_notes")}
    assert told == {"another": "of another", "o": "newer"}


@pytest.mark.parametrize("named", [True, False])
def test_two_transfers_of_a_payout_to_one_order_are_two_rows(engine: sa.Engine, named: bool):
    transfers = [{"order_id": "o", "amount": n * 100, "id": f"t{n}" if named else None} for n in (1, 2)]
    told = {"payout_id": "p", "amount": 3, "completed_at": at(9), "transfers": transfers}

    assert deliver(engine, "collateralxp", [{"event": PAYOUT, "data": told}]) == ["applied"] * 2

    found = [(each["payout_id"], each["amount"]) for each in rows(engine, "appraisal_payouts")]
    assert found == [("p t1" if named else "p #0", 1), ("p t2" if named else "p #1", 2)]


# Of reassigned orders the round is left out, and who said what in which: how often an order was turned back is a matter
# of arrival, where it stands is not.
ROUNDS = frozenset({"status_key", "said_by"})


def test_a_vendors_end_that_comes_before_its_assignment_ends_it(engine: sa.Engine):
    told = [
        event(ADDED), event(ASSIGNED, vendor_id="v1", vendor_name="One"), event(UNASSIGNED, vendor_id="v1"),
        event(ACCEPTED, vendor_id="v1", assignment_accepted_at=at(9)),
    ]  # fmt: skip

    found = ends(engine, told, ROUNDS)

    assert all(each == found[0] for each in found)
    assert {each["status"] for each in rows(engine, "appraisal_orders")} == {"unassigned"}
    assert {each["vendor_id"] for each in rows(engine, "appraisal_orders")} == {None}


def test_a_vendor_whose_end_came_early_is_not_the_one_that_has_the_order(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(TIMED_OUT, vendor_id="v1"), event(ASSIGNED, vendor_id="v2"), event(ASSIGNED, vendor_id="v1"),
    ])  # fmt: skip
    assert (stands(engine), row(engine, "appraisal_orders")["vendor_id"]) == ("assigned", "v2")


def test_of_two_acceptances_the_newer_has_the_order_whatever_arrives_first(engine: sa.Engine):
    """Also where the first vendor had inspected: what was inspected before the second accepted was not inspected by it.
    One that was inspected later was."""
    for inspected, status in ((9, "assignment_accepted"), (12, "inspection_completed")):
        told = [
            event(ACCEPTED, vendor_id="v1", vendor_name="One", assignment_accepted_at=at(8)),
            event(INSPECTED, inspection_completed_at=at(inspected)),
            event(ACCEPTED, vendor_id="v2", vendor_name="Two", assignment_accepted_at=at(10)),
            event(ADDED, loan_number="77"),
        ]

        found = ends(engine, told, ROUNDS)

        assert all(each == found[0] for each in found)
        newest = rows(engine, "appraisal_orders")[-1]
        assert (newest["status"], newest["vendor_name"]) == (status, "Two")


def test_a_new_acceptance_begins_a_round_of_an_order_that_another_has(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(ACCEPTED, vendor_id="v1", vendor_license_number="L1", assignment_accepted_at=at(8)), event(SCHEDULED),
        event(ACCEPTED, vendor_id="v2", assignment_accepted_at=at(10)),
    ])  # fmt: skip

    found = row(engine, "appraisal_orders")
    assert (found["status"], found["vendor_id"], found["vendor_license_number"]) == ("assignment_accepted", "v2", None)
    assert found["status_key"] == "000001.40"


@pytest.mark.parametrize("first", [0, 1])
def test_an_inspection_before_the_acceptance_of_the_only_vendor_counts_whatever_arrives_first(
    engine: sa.Engine, first: int
):
    told = [
        event(ACCEPTED, vendor_id="v1", assignment_accepted_at=at(10)), event(INSPECTED, inspection_completed_at=at(9)),
    ]  # fmt: skip
    one_by_one(engine, "collateralxp", [told[first], told[1 - first]])

    assert stands(engine) == "inspection_completed"


def test_an_assignment_without_a_time_does_not_turn_back_what_another_has_accepted(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(ACCEPTED, vendor_id="v2", vendor_name="Two", assignment_accepted_at=at(9)),
        event(ASSIGNED, vendor_id="v1", vendor_name="One"),
    ])  # fmt: skip

    assert (stands(engine), row(engine, "appraisal_orders")["vendor_name"]) == ("assignment_accepted", "Two")
    assert rows(engine, "appraisal_events")[-1]["effect"] == "older"


def test_a_receipt_says_what_has_decided(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(SUBMITTED), event(ADDED), event(HELD), event(RESUMED), note("a", 9), note("a", None),
        event(ADDRESS_SET, street="s"), event(INSPECTED, inspection_completed_at=at(9)),
        event(INSPECTED, order="o2", inspection_completed_at=at(9)),
        event(INSPECTED, order="o2", inspection_completed_at=at(8)),
    ])  # fmt: skip

    assert [reason.split(", ")[0] for _, reason in receipts(engine)] == [
        "by_state", "by_state", "by_state", "by_state", "by_own_time", "unordered", "unordered", "by_state",
        "by_state", "by_own_time",
    ]  # fmt: skip
    assert receipts(engine)[-1][1] == "by_own_time, older: kept, the order stays where it is; unbound"


@pytest.mark.parametrize("said", [None, "", "  ", "n/a", [1]])
def test_an_appraised_value_that_says_nothing_clears_nothing(engine: sa.Engine, said: Any):
    one_by_one(engine, "collateralxp", [
        event(SUBMITTED, appraised_value="250500.50"), event(f"{QUALITY}completed", appraised_value=said),
    ])  # fmt: skip

    assert row(engine, "appraisal_orders")["appraised_value"] == Decimal("250500.50")


def test_all_that_an_event_said_is_kept_sealed_beside_it(engine: sa.Engine):
    told = event("ordering::order_terms_changed", old_data={"paying_fee": "1"}, new_data={"paying_fee": "2", "x": 3},
                 contacts={"loan_officer": {"name": "Lee"}})  # fmt: skip
    deliver(engine, "collateralxp", [told])

    sealed = row(engine, "appraisal_events")["other_encrypted"]
    assert json.loads(FieldKeys(SETTINGS.field_keys).open(sealed)) == told["data"]


@pytest.mark.parametrize(
    ("whole", "amounts", "doubted"), [(13, [1300], 0), (13, [13], 0), (30, [1000, 2000], 0), (14, [1300], 1)]
)
def test_a_payout_whose_unit_fits_neither_way_is_told(engine: sa.Engine, whole: int, amounts: list[int], doubted: int):
    transfers = [{"order_id": "o", "amount": amount} for amount in amounts]
    deliver(engine, "collateralxp", [{"event": PAYOUT, "data": {
        "payout_id": "p", "amount": whole, "transfers": transfers}}])  # fmt: skip

    assert sum("neither" in reason for _, reason in receipts(engine)) == doubted


SAYING = st.fixed_dictionaries(
    {}, optional={"lender_name": st.sampled_from("AB"), "file_number": st.sampled_from("CD"), "trip_fee": st.just(None)}
)


@st.composite
def of_one_round(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A set that docs/senders.md says is free of order: one vendor's places, each once, or each with its own time."""
    vendor = {"vendor_id": "v1", "vendor_name": "One"}
    places = [ADDED, f"{ORDER}accepted", ASSIGNED, SCHEDULED, SUBMITTED, f"{QUALITY}completed", f"{CLIENT}fulfilled"]
    told = [
        event(name, **draw(SAYING), **(vendor if name == ASSIGNED else {}))
        for name in draw(st.lists(st.sampled_from(places), unique=True, max_size=4))
    ]
    hours = st.lists(st.integers(1, 20), unique=True, max_size=2)
    told += [event(ACCEPTED, assignment_accepted_at=at(h), **vendor, **draw(SAYING)) for h in draw(hours)]
    told += [event(INSPECTED, inspection_completed_at=at(h), **draw(SAYING)) for h in draw(hours)]
    told += [note(f"at {h}", h) for h in draw(hours)] + [payout(f"at {h}", h) for h in draw(hours)]
    return told + draw(st.sampled_from([[], [event(ADDRESS_SET, street="2 New Street")], [event(HELD)]]))


@on_postgresql
@given(data=st.data(), told=of_one_round())
def test_one_vendors_round_ends_alike_in_any_order(engine: sa.Engine, data: st.DataObject, told: list[dict[str, Any]]):
    found = []
    for bodies in (data.draw(st.permutations(told)), data.draw(st.permutations(told))):
        order = next(subjects)
        one_by_one(engine, "collateralxp", [of(order, body) for body in bodies])
        found.append(all_rows(engine, order))

    assert found[0] == found[1]


@st.composite
def of_two_vendors(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Likewise: the acceptances of two vendors, one each, and inspections, each with its own time."""
    hours = draw(st.lists(st.integers(1, 20), unique=True, min_size=2, max_size=5))
    accepted = draw(st.integers(1, 2))
    told = [event(ADDED, loan_number="77")] if draw(st.booleans()) else []
    for number, hour in enumerate(hours):
        if number < accepted:
            vendor = f"v{number}"
            told.append(event(ACCEPTED, vendor_id=vendor, vendor_name=vendor, assignment_accepted_at=at(hour)))
        else:
            told.append(event(INSPECTED, inspection_completed_at=at(hour)))
    return told


@on_postgresql
@given(data=st.data(), told=of_two_vendors())
def test_the_newest_of_several_acceptances_has_the_order_in_any_order(
    engine: sa.Engine, data: st.DataObject, told: list[dict[str, Any]]
):
    found = []
    for bodies in (data.draw(st.permutations(told)), data.draw(st.permutations(told))):
        order = next(subjects)
        one_by_one(engine, "collateralxp", [of(order, body) for body in bodies])
        found.append(all_rows(engine, order, ROUNDS))
        newest = max(
            (body["data"] for body in bodies if body["event"] == ACCEPTED), key=lambda d: d["assignment_accepted_at"]
        )
        assert row(engine, "appraisal_orders", order_id=order)["vendor_id"] == newest["vendor_id"]

    assert found[0] == found[1]
