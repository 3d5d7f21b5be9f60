"""CollateralXP's orders: where they stand, whatever comes late, twice or never."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import receipts, row, rows, sample
from hypothesis import given
from hypothesis import strategies as st
from test_maxwell import loan
from test_order import deliver, on_postgresql, one_by_one, subjects

from hydrators.senders.appraisal_states import FORWARD, RELEASES, REVISIONS, Effect, OrderState

ORDER, ASSIGNMENT = "ordering::workflow::order_workflow::", "ordering::workflow::assignment_workflow::"
CLIENT, QUALITY = "ordering::workflow::client_request_workflow::", "ordering::workflow::quality_assurance_workflow::"
HELD, RESUMED = "ordering::workflow::holded", "ordering::workflow::resumed"
UNASSIGNED, TIMED_OUT = "ordering::workflow::unassigned", "ordering::workflow::assignment_timed_out"

EVENTS = sorted({json.loads(sample(f"collateralxp/{name}"))["event"] for name in (
    "02-added.json", "03-accepted.json", "04-assigned.json", "05-assignment-accepted.json",
    "08-inspection-scheduled.json", "10-inspection-completed.json", "11-submitted.json",
    "13-revision-asked.json", "15-completed.json",
    "16-fulfilled.json", "21-holded.json", "22-resumed.json", "24-assignment-timed-out.json", "28-unassigned.json",
    "29-cancelled.json",
)})  # fmt: skip


def event(name: str, order: str = "o", **data: Any) -> dict[str, Any]:
    return {"event": name, "data": {"order_id": order, "created_at": "2026-01-01T00:00:00-03:00", **data}}


def stands(engine: sa.Engine, order: str = "o") -> str | None:
    found: str | None = row(engine, "appraisal_orders", order_id=order)["status"]
    return found


def test_a_second_hold_is_no_duplicate_of_the_first(engine: sa.Engine):
    """Though it says the same, the order's own `created_at` too."""
    landings = one_by_one(engine, "collateralxp", [event(HELD), event(HELD), event(RESUMED), event(HELD)])

    assert landings == ["applied", "duplicate", "applied", "applied"]
    found = row(engine, "appraisal_orders")
    assert (found["is_held"], found["holds"]) == (True, 2)


@pytest.mark.parametrize("name", [HELD, "ordering::workflow::held"])
def test_held_is_holded_under_its_name_to_come(engine: sa.Engine, name: str):
    deliver(engine, "collateralxp", [event(name, reason="why")])

    assert (row(engine, "appraisal_orders")["is_held"], row(engine, "appraisal_orders")["hold_reason"]) == (True, "why")


def test_an_older_or_impossible_event_is_kept_and_does_not_turn_the_state_back(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(f"{ASSIGNMENT}submitted"), event(f"{ORDER}added", lender_name="L"), event(RESUMED), event(UNASSIGNED),
    ])  # fmt: skip

    assert stands(engine) == "submitted"
    assert row(engine, "appraisal_orders")["lender_name"] == "L", "what comes late fills what nothing else has said"
    assert [each["effect"] for each in rows(engine, "appraisal_events")] == [
        "moved",
        "older",
        "impossible",
        "impossible",
    ]
    assert [("stays where it is" in reason) for _, reason in receipts(engine)] == [False, True, True, True]


def test_an_order_that_its_vendor_left_goes_to_the_next(engine: sa.Engine):
    one_by_one(engine, "collateralxp", [
        event(f"{ORDER}assigned", vendor_id="v1", vendor_name="One"),
        event(f"{ORDER}assignment_accepted", vendor_id="v1", assignment_accepted_at="2026-01-02T10:00:00Z"),
        event(UNASSIGNED, vendor_id="v1"),
    ])  # fmt: skip
    found = row(engine, "appraisal_orders")
    assert (found["status"], found["vendor_id"], found["vendor_name"]) == ("unassigned", None, None)
    assert found["assignment_accepted_at"] is None

    one_by_one(engine, "collateralxp", [
        event(f"{ORDER}assigned", vendor_id="v2", vendor_name="Two"),
        event(TIMED_OUT, vendor_id="v1"),
        event(f"{ORDER}assigned", vendor_id="v1", vendor_name="One"),
    ])  # fmt: skip
    found = row(engine, "appraisal_orders")
    assert (found["status"], found["vendor_id"], found["vendor_name"]) == ("assigned", "v2", "Two")


def test_of_two_of_a_kind_the_newer_by_its_own_time_stays(engine: sa.Engine):
    newer, older = "2026-01-05T10:00:00+00:00", "2026-01-04T10:00:00-03:00"
    one_by_one(engine, "collateralxp", [
        event(f"{ASSIGNMENT}inspection_completed", inspection_completed_at=at) for at in (newer, older)
    ])  # fmt: skip

    assert row(engine, "appraisal_orders")["inspection_completed_at"] == dt.datetime.fromisoformat(newer)


def test_a_revision_turns_a_submitted_order_back_and_it_is_submitted_again(engine: sa.Engine):
    submitted, asked = f"{ASSIGNMENT}submitted", f"{CLIENT}revision_asked"
    one_by_one(engine, "collateralxp", [event(submitted), event(asked, content="more")])
    assert stands(engine) == "revision_requested"

    one_by_one(engine, "collateralxp", [event(submitted), event(asked, content="more")])

    assert stands(engine) == "revision_requested"
    assert len(rows(engine, "appraisal_revisions")) == 2


def test_an_appraised_value_is_a_number_or_a_text_and_its_absence_clears_nothing(engine: sa.Engine):
    submitted, completed = f"{ASSIGNMENT}submitted", f"{QUALITY}completed"
    deliver(engine, "collateralxp", [event(submitted, appraised_value=250000)])
    assert row(engine, "appraisal_orders")["appraised_value"] == 250000
    deliver(engine, "collateralxp", [event(completed, appraised_value="250500.50")])
    assert row(engine, "appraisal_orders")["appraised_value"] == Decimal("250500.50")

    deliver(engine, "collateralxp", [event(f"{CLIENT}fulfilled")])

    assert row(engine, "appraisal_orders")["appraised_value"] == Decimal("250500.50")


def test_events_that_come_before_the_loan_number_are_tied_to_its_loan(engine: sa.Engine):
    made = loan(engine, "R1", "11912")
    deliver(engine, "collateralxp", [event(HELD)])
    assert row(engine, "appraisal_orders")["loan_id"] is None
    deliver(engine, "collateralxp", [event(f"{ORDER}added", loan_number="11912")])
    deliver(engine, "collateralxp", [event(RESUMED)])

    assert row(engine, "appraisal_orders")["loan_id"] == made
    assert [each["loan_id"] for each in rows(engine, "mlm_webhook_receipts")] == [None, made, made]


def test_a_payout_lands_at_every_order_it_names(engine: sa.Engine):
    payout = {"payout_id": "p", "amount": 30, "transfers": [
        {"order_id": "o1", "amount": 1000}, {"order_id": "o2", "amount": 2000, "error": None}, {"amount": 5},
    ]}  # fmt: skip
    landings = deliver(engine, "collateralxp", [{"event": "payouting::payout_completed", "data": payout}] * 2)

    assert landings == ["applied"] * 3 + ["duplicate"] * 3
    assert [(each["order_id"], each["amount"]) for each in rows(engine, "appraisal_payouts")] == [
        ("o1", 10),
        ("o2", 20),
    ]


def test_transfers_that_add_up_to_the_payout_are_dollars_too(engine: sa.Engine):
    payout = {"payout_id": "p", "amount": "1300.00", "transfers": [{"order_id": "o1", "amount": 1300}]}
    deliver(engine, "collateralxp", [{"event": "payouting::payout_completed", "data": payout}])

    assert row(engine, "appraisal_payouts")["amount"] == 1300


def test_an_event_that_is_not_known_is_kept(engine: sa.Engine):
    assert deliver(engine, "collateralxp", [event("ordering::something_new", whatever=1)]) == ["applied"]
    assert row(engine, "appraisal_events")["event"] == "ordering::something_new"


@given(steps=st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(["v1", "v2", None])), max_size=25))
def test_only_what_may_turn_an_order_back_does(steps: list[tuple[str, str | None]]):
    state = OrderState()
    for name, vendor in steps:
        before = (state.round, state.place, state.status)
        effect = state.take(name, vendor, None, None)
        after = (state.round, state.place, state.status)
        if vendor and name not in RELEASES and effect is Effect.MOVED:
            state.vendor_id = vendor
        assert state.key >= f"{before[0]:06d}.{before[1]:02d}"
        if effect in (Effect.OLDER, Effect.IMPOSSIBLE, Effect.NOTED):
            assert after == before
        if after[1] < before[1]:
            assert name in RELEASES or name in REVISIONS or name == f"{ORDER}assigned"
        if before[2] == "cancelled":
            assert after == before


@on_postgresql
@given(data=st.data())
def test_an_order_never_goes_back_from_the_furthest_place_that_was_told_of(engine: sa.Engine, data: st.DataObject):
    order = next(subjects)
    told = data.draw(st.lists(st.sampled_from(sorted(FORWARD)), min_size=1, max_size=10))
    one_by_one(engine, "collateralxp", [event(name, order) for name in told])

    assert stands(engine, order) == max(FORWARD[name] for name in told)[1]
