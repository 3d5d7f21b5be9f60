"""Every sample of the senders' guides goes in and lands, from copies of the guides' own text."""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo
from collections import Counter
from decimal import Decimal

import pytest
import sqlalchemy as sa
from deliveries import SAMPLES, receipts, row, rows, sample, send
from running_receiver import Receiver

LANDING = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.json"))
NOT_JSON = sorted(str(path.relative_to(SAMPLES)) for path in SAMPLES.rglob("*.as-it-stands.txt"))
#: What stands where each stops being JSON: behind a missing comma, behind a trailing one, a comment, a Ruby arrow …
STOPS = {
    "collateralxp/01-assigned.as-it-stands.txt": b'"vendor_phone"',
    "collateralxp/04-assigned.as-it-stands.txt": b"},",
    "collateralxp/09-address-set.as-it-stands.txt": b"}",
    "collateralxp/19-note-added-from-integration.as-it-stands.txt": b"=>",
    "collateralxp/26-order-terms-changed.as-it-stands.txt": b"// these two",
    "mmi/03-agent.as-it-stands.txt": b"\nEstate",
    "showmojo/01-event.as-it-stands.txt": b"<string>",
}
ACTIONS = sample("showmojo/actions.txt").decode().splitlines()
ZONES = sample("showmojo/time-zones.txt").decode().splitlines()

ORDER = "38a79d48-8b0d-4e47-8d31-75fa89765ab8c"


@pytest.mark.parametrize("name", LANDING)
def test_a_sample_lands(served: Receiver, engine: sa.Engine, name: str):
    answer = send(served, name.split("/")[0], sample(name))

    assert (answer.status_code, answer.json()["applied"], answer.json()["received"]) == (200, 1, 1), answer.text
    (receipt,) = rows(engine, "mlm_webhook_receipts")
    assert receipt["rows_changed"] > 0
    assert receipt["data_updated_at"] is not None
    assert receipt["event_type"]


@pytest.mark.parametrize("name", NOT_JSON)
def test_a_sample_that_is_not_json_is_refused_with_the_place_where_it_stops_being_it(
    served: Receiver, engine: sa.Engine, name: str
):
    sender, body = name.split("/")[0], sample(name)

    answer = send(served, sender, body)

    with pytest.raises(json.JSONDecodeError) as wrong:
        json.loads(body)
    assert answer.status_code == 400
    assert answer.json()["position"] == len(body.decode()[: wrong.value.pos].encode())
    assert body[answer.json()["position"] :].startswith(STOPS[name])
    assert rows(engine, "mlm_webhook_receipts") == rows(engine, "sender_bodies") == []
    (refused,) = rows(engine, "refused_deliveries")
    assert refused["fault_position"] == f"byte {answer.json()['position']}"


def test_there_are_as_many_samples_as_in_the_guides():
    by_sender = Counter(name.split("/")[0] for name in LANDING)
    events = {json.loads(sample(name))["event"] for name in LANDING if name.startswith("collateralxp")}

    assert by_sender == {"mmi": 4, "collateralxp": 29, "showmojo": 1}
    assert (len(events), len(ACTIONS), len(ZONES)) == (27, 121, 144)
    assert sum(name.startswith("collateralxp") for name in NOT_JSON) == 5


def test_volumes_that_come_as_text_and_as_numbers_are_typed(served: Receiver, engine: sa.Engine):
    send(served, "mmi", sample("mmi/02-lender.json"))

    lender = row(engine, "mmi_lenders", nmls="3029")
    assert lender["purchase_volume"] == Decimal("35414304238")
    assert lender["va_volume"] == Decimal("4483189590")
    assert lender["nonqm_volume"] is None
    assert lender["said_at"] == dt.datetime(2025, 9, 23, 14, 7, 42, tzinfo=dt.UTC)


def test_a_listing_alert_is_known_by_its_listing_and_has_no_order(served: Receiver, engine: sa.Engine):
    send(served, "mmi", sample("mmi/04-listing-alert.json"))

    alert = row(engine, "mmi_listing_alerts", listing_id="343328697", nmls="1704735")
    assert (alert["status"], alert["close_price"], alert["sold_date"]) == ("SOLD", Decimal(545800), dt.date(2026, 1, 9))
    assert receipts(engine) == [("applied", "unordered")]


def test_the_whole_order_lands_from_collateralxps_samples(served: Receiver, engine: sa.Engine):
    for name in LANDING:
        if name.startswith("collateralxp"):
            assert send(served, "collateralxp", sample(name)).status_code == 200

    order = row(engine, "appraisal_orders", order_id=ORDER)
    assert (order["status"], order["loan_number"], order["file_number"]) == ("fulfilled", "11912", "CXP-00000001")
    assert order["assignment_conditions"] == "rejected"
    assert order["inspection_scheduled_at"] == dt.datetime(2023, 4, 14, 15, tzinfo=dt.UTC)
    assert order["inspection_completed_at"] == dt.datetime(2023, 4, 14, 18, 2, 8, tzinfo=dt.UTC)
    assert (order["appraised_value"], order["fannie_mae_score"]) == (Decimal("0.00"), Decimal("7.5"))
    assert order["street"] == "2632 N M St"
    assert [each["asked_by"] for each in rows(engine, "appraisal_revisions", order_id=ORDER)] == [
        "client_request", "quality_assurance", "client",
    ]  # fmt: skip
    payout = row(engine, "appraisal_payouts", order_id=ORDER)
    assert (payout["amount"], payout["amount_said"], payout["payout_amount"]) == (Decimal(13), "1300", Decimal(13))
    assert {each["filename"] for each in rows(engine, "appraisal_files", order_id=ORDER)} == {
        "mismo.xml", "invoice.pdf", "logo-test.svg", "file.jpg",
    }  # fmt: skip
    assert row(engine, "appraisal_notes", order_id=ORDER)["source"] == "person", "of one note, what bears its time"
    assert len(rows(engine, "appraisal_events")) == 29


def test_a_hold_its_end_and_an_address_land(served: Receiver, engine: sa.Engine):
    for name in ("21-holded", "09-address-set", "23-point-of-contact-updated"):
        send(served, "collateralxp", sample(f"collateralxp/{name}.json"))
    order = row(engine, "appraisal_orders")
    assert (order["is_held"], order["hold_reason"], order["holds"]) == (True, "hold reason", 1)
    assert (order["city"], order["latitude"], order["contact_name"]) == ("Chicago", Decimal("41.9601032"), "John Doe")

    send(served, "collateralxp", sample("collateralxp/22-resumed.json"))

    order = row(engine, "appraisal_orders")
    assert (order["is_held"], order["hold_reason"], order["holds"]) == (False, None, 1)


def test_new_terms_land(served: Receiver, engine: sa.Engine):
    send(served, "collateralxp", sample("collateralxp/26-order-terms-changed.json"))

    order = row(engine, "appraisal_orders")
    assert (order["paying_fee"], order["payouting_fee"]) == (Decimal(500), Decimal(345))
    assert order["products"] == ["CONV CONDO (FNMA 1073)"]
    assert order["vendor_due_at"] == dt.datetime(2025, 12, 3, 23, 59, 59, tzinfo=dt.UTC)


def test_a_cancellation_lands(served: Receiver, engine: sa.Engine):
    send(served, "collateralxp", sample("collateralxp/29-cancelled.json"))

    order = row(engine, "appraisal_orders")
    assert (order["status"], order["cancel_reason"]) == ("cancelled", "Cancelled per client.")


def test_every_action_of_showmojos_lands_and_one_that_is_not_known(served: Receiver, engine: sa.Engine):
    event = json.loads(sample("showmojo/01-event.json"))
    for number, action in enumerate([*ACTIONS, "something_new"], 2000):
        event["event"] |= {"id": str(number), "action": action}
        assert send(served, "showmojo", event).json()["applied"] == 1
        assert row(engine, "showmojo_showings")["action"] == action


def test_every_time_zone_of_showmojos_is_one_of_ianas(served: Receiver, engine: sa.Engine):
    event = json.loads(sample("showmojo/01-event.json"))
    batch = []
    for number, name in enumerate(ZONES, 1):
        showing = event["event"]["showing"] | {"uid": f"s{number}", "showing_time_zone": name}
        batch.append({"event": event["event"] | {"showing": showing}})

    assert send(served, "showmojo", batch).json()["applied"] == 144

    zones = {each["time_zone_said"]: each["time_zone"] for each in rows(engine, "showmojo_showings")}
    assert set(zones) == set(ZONES)
    assert set(zones.values()) <= zoneinfo.available_timezones()
    assert zones["Pacific Time (US & Canada)"] == "America/Los_Angeles"


def test_a_lead_without_a_showing_is_known_by_its_contact(served: Receiver, engine: sa.Engine):
    event = json.loads(sample("showmojo/01-event.json"))
    event["event"]["showing"] |= {"uid": None, "showtime": None}
    send(served, "showmojo", event)
    event["event"] |= {"id": "1002", "action": "lead_updated"}
    event["event"]["showing"] |= {"email": "PAT@example.com", "name": "Pat P."}

    send(served, "showmojo", event)

    lead = row(engine, "showmojo_leads")
    assert (lead["action"], lead["name"]) == ("lead_updated", "Pat P.")
    assert rows(engine, "showmojo_showings") == []
    said = str(rows(engine, "mlm_webhook_receipts")) + str(rows(engine, "sender_subjects"))
    assert "example.com" not in said.lower(), "a subject's name is no contact"
