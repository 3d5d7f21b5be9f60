"""What is told apart by keyed digests, doubled deliveries and ShowMojo's leads, while `FIELD_KEYS` change."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from deliveries import OPEN, receipts, row, rows

from freshness.field_keys import FieldKeys
from freshness.ledger import rotation
from freshness.ledger.rebuilds import Rebuilt
from freshness.settings import load
from receiver.reception import Reception
from receiver.senders import SENDERS

OLD, NEW, NEWER = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
APPLICATION = {
    "event": "application.created",
    "loanFileId": "lf-1",
    "application": {"firstName": "Ann", "ssn": "900-00-0001"},
}


def reception(*keys: bytes) -> Reception:
    settings = load(OPEN | {"FIELD_KEYS": ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)})
    return Reception([declare(settings) for declare in SENDERS], FieldKeys(keys))


def deliver(engine: sa.Engine, sender: str, body: Any, *keys: bytes) -> str:
    """Deliver it to a receiver that holds these keys; what became of it."""
    at_the_door = reception(*keys)
    with engine.begin() as conn:
        received = at_the_door.receive(conn, [at_the_door.opened(sender, json.dumps(body).encode(), AT)])
    return received.landings[0].value


def rotate(engine: sa.Engine, *keys: bytes) -> None:
    """`freshness rotate-keys`, so that the first of the keys opens all."""
    for table in rotation.sealed_tables():
        list(rotation.rotate(engine.begin, FieldKeys(keys), table))


def contact(number: int, action: str, **more: Any) -> dict[str, Any]:
    showing = {"uid": None, "email": "pat@example.com", "name": f"Pat {number}"} | more
    return {"event": {"id": str(number), "action": action, "showing": showing}}


def test_what_is_stored_of_an_entry_lets_nobody_without_a_key_try_what_was_in_it(engine: sa.Engine):
    """Who guesses the one unknown in it, here rightly, cannot see that they did."""
    deliver(engine, "maxwell", APPLICATION, OLD)
    stored = bytes(row(engine, "sender_subjects")["content"])
    guesses = [form(APPLICATION) for form in (_sorted, _as_it_came)]
    for digest in (hashlib.sha256, hashlib.sha512, hashlib.sha1, hashlib.md5):
        for guess in guesses:
            assert digest(guess).digest() not in stored
            assert digest(digest(guess).digest()).digest() not in stored
    assert hmac.compare_digest(stored[:4].hex().encode(), FieldKeys((OLD,)).newest.encode()), "it names its key"


def _sorted(value: Any) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def _as_it_came(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_a_repetition_is_known_while_the_key_is_held_that_the_first_was_digested_with(engine: sa.Engine):
    assert deliver(engine, "maxwell", APPLICATION, OLD) == "applied"
    assert deliver(engine, "maxwell", APPLICATION, OLD, NEW) == "duplicate"
    assert deliver(engine, "maxwell", APPLICATION, NEW, OLD) == "duplicate"


def test_after_that_it_is_applied_once_more_and_then_known_again(engine: sa.Engine):
    deliver(engine, "maxwell", APPLICATION, OLD)
    rotate(engine, NEW, OLD)
    for _ in range(2):
        deliver(engine, "maxwell", APPLICATION, NEW)
    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "applied", "duplicate"]
    assert len(rows(engine, "maxwell_applications")) == 1


def test_an_unkeyed_digest_from_before_equals_none_and_goes_with_the_next_entry(engine: sa.Engine):
    deliver(engine, "maxwell", APPLICATION, OLD)
    with engine.begin() as conn:
        unkeyed = hashlib.sha256(_sorted(APPLICATION)).digest()
        conn.exec_driver_sql("UPDATE sender_subjects SET content = %(unkeyed)s", {"unkeyed": unkeyed})
    assert deliver(engine, "maxwell", APPLICATION, OLD) == "applied"
    assert deliver(engine, "maxwell", APPLICATION, OLD) == "duplicate"


@pytest.mark.parametrize("keys", [(NEW, OLD), (NEWER, NEW, OLD)])
def test_a_lead_told_of_after_a_rotation_is_the_same_lead_under_its_new_name(
    engine: sa.Engine, keys: tuple[bytes, ...]
):
    deliver(engine, "showmojo", contact(1, "lead_created"), OLD)
    before = row(engine, "showmojo_leads")
    assert deliver(engine, "showmojo", contact(2, "lead_updated"), *keys) == "applied"
    after = row(engine, "showmojo_leads")
    assert (after["id"], after["name"]) == (before["id"], "Pat 2")
    assert after["lead_key"] != before["lead_key"]
    assert row(engine, "sender_subjects")["subject"] == after["lead_key"]
    rotate(engine, *keys)
    assert deliver(engine, "showmojo", contact(3, "lead_updated"), keys[0]) == "applied"
    assert row(engine, "showmojo_leads")["name"] == "Pat 3", "the old key is needed no more"


def test_the_order_of_a_leads_events_goes_on_over_a_rotation(engine: sa.Engine):
    deliver(engine, "showmojo", contact(5, "lead_updated"), OLD)
    assert deliver(engine, "showmojo", contact(4, "lead_updated"), NEW, OLD) == "older"
    assert deliver(engine, "showmojo", contact(5, "lead_updated"), NEW, OLD) == "duplicate"


def test_a_leads_showings_get_its_new_name_with_it_be_it_told_of_or_they(engine: sa.Engine):
    deliver(engine, "showmojo", contact(1, "lead_created"), OLD)
    for number in (2, 3):
        deliver(engine, "showmojo", contact(number, "created", uid=f"showing-{number}"), OLD)
    deliver(engine, "showmojo", contact(4, "updated", uid="showing-2"), NEW, OLD)
    (name,) = {each["lead_key"] for each in rows(engine, "showmojo_showings")}
    assert name == row(engine, "showmojo_leads")["lead_key"]
    assert name.startswith(FieldKeys((NEW,)).newest)
    assert deliver(engine, "showmojo", contact(5, "lead_updated"), NEW, OLD) == "applied"
    assert len(rows(engine, "showmojo_leads")) == 1


def test_of_a_lead_that_has_two_rows_from_before_the_latest_goes_on(engine: sa.Engine):
    deliver(engine, "showmojo", contact(1, "lead_created"), OLD)
    rotate(engine, NEW, OLD)
    deliver(engine, "showmojo", contact(1, "lead_created"), NEW)
    assert deliver(engine, "showmojo", contact(2, "lead_updated"), NEWER, NEW, OLD) == "applied"
    assert [each["name"] for each in rows(engine, "showmojo_leads")] == ["Pat 1", "Pat 2"]


def test_a_lead_is_rebuilt_after_a_rotation_into_the_row_that_it_had(engine: sa.Engine):
    deliver(engine, "showmojo", contact(1, "lead_created"), OLD)
    (subject,) = rows(engine, "sender_subjects")
    with engine.begin() as conn:
        rebuilt = reception(NEW, OLD).rebuild(conn, subject["id"])
    assert isinstance(rebuilt, Rebuilt)
    assert row(engine, "showmojo_leads")["name"] == "Pat 1"
