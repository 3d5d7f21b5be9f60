"""Maxwell: what comes before its create is kept and applied after it; applications are tied to their file."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
import sqlalchemy as sa
from deliveries import receipts, row, rows, send
from running_receiver import Receiver
from test_order import SETTINGS, deliver, one_by_one

from freshness.field_keys import FieldKeys
from freshness.ledger import pruning

CREATED = {
    "event": "application.created",
    "loanFileId": "lf-1",
    "borrowerEmail": "Ann@Example.com",
    "application": {
        "firstName": "Ann",
        "mailingAddress": {"city": "Reno"},
        "ssn": "123-45-6789",
        "declarations": {"a": 1},
    },
}
UPDATED = {
    "event": "application.updated",
    "loanFileId": "lf-1",
    "application": {"loanAmount": "$350,000.00", "submittedAt": "2026-11-20T10:00:00Z", "assets": [{"x": 2}]},
}
MILESTONE = {"event": "loan_file.milestone", "loanFileId": "lf-1", "milestone": {"name": "Underwriting", "at": None}}
CLEAR = {"event": "loan_file.milestone", "loanFileId": "lf-1", "milestone": {"name": "Clear to close"}}


def loan(engine: sa.Engine, ref: str, number: str | None = None, email: str | None = None, kind: str = "loan") -> int:
    with engine.begin() as conn:
        insert = (
            f"INSERT INTO {kind}s (mlm_reference_number, mlm_loan_number) VALUES (%(ref)s, %(number)s) RETURNING id"
        )
        made = conn.exec_driver_sql(insert, {"ref": ref, "number": number}).scalar_one()
        if email:
            borrower = (
                f"INSERT INTO borrowers ({kind}_id, lqb_id, position, role, email)"
                " VALUES (%(made)s, %(ref)s, 0, 'borrower', %(email)s)"
            )
            conn.exec_driver_sql(borrower, {"made": made, "ref": ref, "email": email})
    return int(made)


def test_an_application_lands_with_its_sections_sealed(served: Receiver, engine: sa.Engine):
    for body in (CREATED, UPDATED, MILESTONE):
        assert send(served, "maxwell", body).json()["applied"] == 1

    found, keys = row(engine, "maxwell_applications"), FieldKeys(SETTINGS.field_keys)
    assert (found["first_name"], found["mailing_city"], found["milestone"]) == ("Ann", "Reno", "Underwriting")
    assert (found["loan_amount"], found["submitted_at"].year) == (350000, 2026)
    assert keys.open(found["ssn_encrypted"]) == "123456789"
    assert (found["ssn_last4"], found["ssn_index"]) == ("6789", keys.index("123456789"))
    assert '"declarations":{"a":1}' in keys.open(found["sections_encrypted"])
    assert '"assets":[{"x":2}]' in keys.open(found["sections_encrypted"]), "an update adds to what was said before"


def test_what_comes_before_its_create_is_kept_and_applied_after_it(served: Receiver, engine: sa.Engine):
    assert send(served, "maxwell", UPDATED).json()["waiting"] == 1
    assert send(served, "maxwell", MILESTONE).json()["waiting"] == 1
    assert send(served, "maxwell", CLEAR).json()["waiting"] == 1
    assert rows(engine, "maxwell_applications") == []
    assert [outcome for outcome, _ in receipts(engine)] == ["waiting"] * 3

    assert send(served, "maxwell", CREATED).json() == {
        "received": 1, "applied": 1, "waiting": 0, "skipped": 0, "rejected": 0,
    }  # fmt: skip

    found = row(engine, "maxwell_applications")
    assert (found["first_name"], found["loan_amount"], found["milestone"]) == ("Ann", 350000, "Clear to close")
    told = rows(engine, "mlm_webhook_receipts")
    assert [each["outcome"] for each in told] == ["applied"] * 4
    assert [each["reason"].split(", ")[:2] for each in told[:3]] == [["unordered", "waited"]] * 3
    assert all(each["data_updated_at"] for each in told)
    assert row(engine, "sender_subjects")["waiting"] == 0


def test_the_same_milestone_ten_times_before_the_create_is_applied_once(engine: sa.Engine):
    one_by_one(engine, "maxwell", [MILESTONE] * 10 + [CREATED])

    assert [outcome for outcome, _ in receipts(engine)] == ["applied"] + ["duplicate"] * 9 + ["applied"]


@pytest.mark.parametrize("in_one", [True, False])
def test_wherever_the_create_arrives_nothing_before_it_is_lost(engine: sa.Engine, in_one: bool):
    """The last arrival wins, and the create is the first of all."""
    for number, place in enumerate(range(4)):
        name = f"lf-{in_one}-{number}"
        later = [{**each, "loanFileId": name} for each in (UPDATED, MILESTONE, CLEAR)]
        bodies = [*later[:place], {**CREATED, "loanFileId": name}, *later[place:]]
        deliver(engine, "maxwell", bodies) if in_one else one_by_one(engine, "maxwell", bodies)

    kept = ("first_name", "loan_amount", "milestone", "milestone_at")
    found = [tuple(each[name] for name in kept) for each in rows(engine, "maxwell_applications")]
    assert found == [("Ann", 350000, "Clear to close", None)] * 4


def test_milestones_have_no_order_so_the_last_arrival_wins(engine: sa.Engine):
    for number, order in enumerate(itertools.permutations([UPDATED, MILESTONE, CLEAR])):
        name = f"lf-{number}"
        one_by_one(engine, "maxwell", [{**each, "loanFileId": name} for each in (CREATED, *order)])
        last = next(each for each in reversed(order) if "milestone" in each)
        assert row(engine, "maxwell_applications", loan_file_id=name)["milestone"] == last["milestone"]["name"]
    assert all("unordered" in reason for _, reason in receipts(engine))


@pytest.mark.parametrize("kind", ["loan", "lead"])
def test_it_is_tied_by_its_number(engine: sa.Engine, kind: str):
    made = loan(engine, "R1", "4711", kind=kind)
    loan(engine, "R2", "4712", "ann@example.com")

    deliver(engine, "maxwell", [CREATED | {"loanNumber": "4711"}])

    assert row(engine, "maxwell_applications")[f"{kind}_id"] == made
    assert rows(engine, "mlm_webhook_receipts")[0][f"{kind}_id"] == made
    assert receipts(engine) == [("applied", "unordered, bound by number")]


def test_without_a_number_it_is_tied_by_an_address_that_one_file_has(engine: sa.Engine):
    made = loan(engine, "R1", "1", "ANN@example.com")

    deliver(engine, "maxwell", [CREATED])

    assert row(engine, "maxwell_applications")["loan_id"] == made
    assert receipts(engine) == [("applied", "unordered, bound by e-mail address")]


def test_an_address_that_two_files_have_ties_none_and_the_receipt_says_so(engine: sa.Engine):
    loan(engine, "R1", "1", "ann@example.com")
    loan(engine, "R2", "2", "ann@example.com", kind="lead")

    deliver(engine, "maxwell", [CREATED])

    assert row(engine, "maxwell_applications")["loan_id"] is None
    assert receipts(engine) == [("applied", "unordered, unbound: several files have that e-mail address")]


def test_one_that_nobody_knows_is_unbound_until_its_file_is_there(engine: sa.Engine):
    deliver(engine, "maxwell", [CREATED])
    assert receipts(engine) == [("applied", "unordered, unbound")]

    made = loan(engine, "R1", "1", "ann@example.com")
    deliver(engine, "maxwell", [MILESTONE])

    assert row(engine, "maxwell_applications")["loan_id"] == made


def test_a_tie_by_address_gives_way_to_the_file_that_has_the_number(engine: sa.Engine):
    """Which may be known only later; one by number stays, and is not looked for again."""
    wrong = loan(engine, "R1", "1", "ann@example.com")
    deliver(engine, "maxwell", [CREATED | {"loanNumber": "4711"}])
    assert row(engine, "maxwell_applications")["loan_id"] == wrong

    right = loan(engine, "R2", "4711")
    deliver(engine, "maxwell", [MILESTONE])

    assert row(engine, "maxwell_applications")["loan_id"] == right
    assert receipts(engine)[-1] == ("applied", "unordered, bound by number")
    deliver(engine, "maxwell", [CLEAR])
    assert receipts(engine)[-1] == ("applied", "unordered, bound before")


def test_a_tie_by_address_moves_with_the_address(engine: sa.Engine):
    loan(engine, "R1", "1", "ann@example.com")
    deliver(engine, "maxwell", [CREATED])
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE borrowers SET email = 'other@example.com'")
    right = loan(engine, "R2", "2", "ann@example.com")

    deliver(engine, "maxwell", [MILESTONE])

    assert row(engine, "maxwell_applications")["loan_id"] == right


@pytest.mark.parametrize("in_one", [True, False])
def test_a_create_that_is_sent_again_overwrites_nothing_and_fills_what_is_null(engine: sa.Engine, in_one: bool):
    changed = {"event": "application.updated", "loanFileId": "lf-1", "borrowerEmail": "new@example.com",
               "application": {"firstName": "Anna", "declarations": {"a": 2}}}  # fmt: skip
    again = CREATED | {"application": {**CREATED["application"], "lastName": "Smith", "firstName": "Ann"}, "x": 1}
    told = [CREATED, changed, MILESTONE, again]
    landings = deliver(engine, "maxwell", told) if in_one else one_by_one(engine, "maxwell", told)

    found = row(engine, "maxwell_applications")
    assert landings == ["applied"] * 4
    assert (found["first_name"], found["last_name"], found["email"]) == ("Anna", "Smith", "new@example.com")
    assert (found["mailing_city"], found["milestone"], found["ssn_last4"]) == ("Reno", "Underwriting", "6789")
    assert '"declarations":{"a":2}' in FieldKeys(SETTINGS.field_keys).open(found["sections_encrypted"])
    assert "begun before: it fills what is null" in receipts(engine)[-1][1]


def test_no_borrowers_data_is_in_a_receipt(served: Receiver, engine: sa.Engine):
    send(served, "maxwell", MILESTONE)
    send(served, "maxwell", CREATED)
    send(served, "maxwell", {"event": "application.created", "borrowerEmail": "ann@example.com"})

    told = str(rows(engine, "mlm_webhook_receipts")).lower()
    assert not [word for word in ("ann", "example.com", "6789", "reno") if word in told]
    bodies = b"".join(bytes(each["body_encrypted"]) for each in rows(engine, "sender_bodies"))
    assert b"example" not in bodies


def test_a_waiting_entry_outlives_the_prune(engine: sa.Engine):
    deliver(engine, "maxwell", [MILESTONE], dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    deliver(engine, "maxwell", [CREATED | {"loanFileId": "lf-2"}], dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    pruned = pruning.prune(engine.begin, dt.timedelta(days=90))

    assert (pruned.receipts, pruned.sender_bodies) == (1, 1)
    deliver(engine, "maxwell", [CREATED])
    assert row(engine, "maxwell_applications", loan_file_id="lf-1")["milestone"] == "Underwriting"
