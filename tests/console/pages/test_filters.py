"""Each filter of the webhooks is true: it leaves what it says and nothing else; and an export takes them all along."""

from __future__ import annotations

import csv
import html
import io
import re

import httpx
import pytest
from a_console import Console, Person
from from_outside import NEWER, entry, receive
from scenes import stale

#: What is asked for, and what is so of a receipt that it leaves and of one that it does not.
CASES = {
    "changed=yes": ("data_updated_at = received_at", "data_updated_at = NULL"),
    "changed=no": ("data_updated_at = NULL", "data_updated_at = received_at"),
    "unserved=1": ("served_at = NULL", "served_at = received_at"),
    "unserved=1&": ("order_number = 1", "order_number = NULL"),
    "sender=mmi": ("sender = 'mmi'", "sender = 'maxwell'"),
    "event=Modified": ("event_type = 'modified'", "event_type = 'Modified2'"),
    "slower=60": ("served_at = received_at + interval '61 s'", "served_at = received_at + interval '59 s'"),
    "span=1h": ("received_at = now() - interval '59 min'", "received_at = now() - interval '61 min'"),
    "span=24h": ("received_at = now() - interval '23 h'", "received_at = now() - interval '25 h'"),
    "since=2026-11-02T10:00": ("received_at = '2026-11-02T10:00Z'", "received_at = '2026-11-02T09:59:59.9Z'"),
    "until=2026-11-02T10:00": ("received_at = '2026-11-02T09:59:59.9Z'", "received_at = '2026-11-02T10:00Z'"),
    "since=2026-11-02T10:00&until=2026-11-02T11:00&span=30d": (
        "received_at = '2026-11-02T10:30Z'",
        "received_at = '2026-11-02T09:30Z'",
    ),
    "since=2026-11-02T10:00&until=2026-11-12T11:00&span=1h": (
        "received_at = '2026-11-12T10:30Z'",
        "received_at = '2026-11-12T09:30Z'",
    ),
}


@pytest.mark.parametrize("asked", CASES)
def test_a_filter_leaves_what_it_says_and_nothing_else(web: Console, reader: Person, asked: str) -> None:
    stale(web.engine, "R000001", "R000002")
    for ref, so in zip(("R000001", "R000002"), CASES[asked], strict=True):
        web.rows(f"UPDATE mlm_webhook_receipts SET {so} WHERE reference_number = '{ref}' RETURNING 1")
    body = reader.page(f"/receipts?{asked}").split("<tbody>")[1].split("</tbody>")[0]
    assert set(re.findall("R00000[0-9]", body)) == {"R000001"}


def test_an_export_takes_every_filter_of_its_page_along_and_says_who_sent_it(web: Console, operator: Person) -> None:
    receive(web.engine, entry("R9", NEWER))
    asked = {
        "search": "R9",
        "outcome": "held",
        "sender": "mlm",
        "event": "Modified",
        "span": "30d",
        "since": "2026-11-02T10:00",
        "until": "2026-11-02T11:00",
        "slower": "60",
        "changed": "no",
        "unserved": "1",
    }
    page = operator.page(f"/receipts?{httpx.QueryParams(asked)}").split('action="/console/receipts/export"')[1]
    form = page.split("</form>")[0]
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    assert {name: value for name, value in fields.items() if name != "token"} == asked
    web.rows("UPDATE mlm_webhook_receipts SET sender = 'mmi', subject = 'loan_officer 1' RETURNING 1")
    (row,) = csv.DictReader(io.StringIO(operator.post("/receipts/export").text))
    assert (row["sender"], row["subject"]) == ("mmi", "loan_officer 1")


@pytest.mark.parametrize("path", ["/receipts", "/refused"])
def test_the_fields_of_time_say_what_they_mean_and_hold_what_was_asked_for(reader: Person, path: str) -> None:
    page = reader.page(f"{path}?since=2026-11-02T10:00%2B02:00&until=2026-11-02T11:00:09.5Z")
    after = '<label>After (UTC) <input type="datetime-local" name="since" value="2026-11-02T08:00:00"'
    before = '<label>Before (UTC) <input type="datetime-local" name="until" value="2026-11-02T11:00:09"'
    assert after in page
    assert before in page


@pytest.mark.parametrize("path", ["/receipts", "/receipts/replay", "/refused"])
@pytest.mark.parametrize("moment", ["yesterday", "0001-01-01", "0001-01-01T00:00%2B14:00", "9999-12-31T23:59-14:00"])
@pytest.mark.parametrize("field", ["since", "until"])
def test_a_moment_that_is_none_or_at_an_end_of_the_calendar_is_refused(
    reader: Person, path: str, field: str, moment: str
) -> None:
    assert reader.get(f"{path}?span=24h&{field}={moment}").status_code == 400


def test_a_span_stays_a_span_and_does_not_become_a_moment(reader: Person) -> None:
    assert 'name="since" value=""' in reader.page("/receipts?span=1h")
