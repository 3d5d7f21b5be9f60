"""What senders say of people stands in the rows that it is for, and nowhere else: no page, no log line, no receipt."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import sqlalchemy as sa
from a_console import OPERATOR, USERS, Person
from deliveries import OPEN as SENDERS_OPEN
from deliveries import path, proved, sample
from forked import Forked
from from_outside import RULES, SEEDED
from receiver_process import listen, port_of
from running_receiver import MLM_TOKEN, WEBHOOK
from running_receiver import OPEN as MLM_OPEN
from walking import BEGIN, walk

from freshness.ledger import own_writes
from freshness.ledger.files import FileRef

NAME, SSN, BORN = "Quillfeather", "987-65-4320", "1961-04-13"
MAIL, PHONE, STREET, ACCOUNT = "zq@planted.example", "555-010-7788", "7 Planted Lane", "55512345678"
PLANTED = (NAME, SSN, SSN.replace("-", ""), BORN, MAIL, PHONE, PHONE.replace("-", ""), STREET, ACCOUNT)

#: Where it is meant to stand.
ROWS = (
    "mmi_", "maxwell_", "appraisal_", "showmojo_", "loans", "leads", "borrowers", "assets", "liabilities",
    "employments", "real_properties", "incomes", "conditions", "fees",
)  # fmt: skip

PERSON: dict[str, Any] = {
    "first_name": NAME, "last_name": NAME, "firstName": NAME, "lastName": NAME, "name": NAME, "ssn": SSN,
    "birth_date": BORN, "dateOfBirth": BORN, "email": MAIL, "personal_email": MAIL, "borrower_email": MAIL,
    "phone": PHONE, "cellPhone": PHONE, "account_number": ACCOUNT, "address": STREET, "full_address": STREET,
    "notes": f"{NAME}, {SSN}", "mailingAddress": {"street": STREET, "city": NAME},
}  # fmt: skip


def bodies() -> Iterator[tuple[str, Any]]:
    """For each sender: a body of its own, that person in it wherever it fits; one that follows, one of no use."""
    officer = json.loads(sample("mmi/01-loan-officer.json")) | PERSON
    yield "mmi", officer
    yield "mmi", [officer, officer | {"nmls": None, "nmls_id": None}, officer | {"type": "no such"}, NAME]
    order = json.loads(sample("collateralxp/02-added.json"))
    order["data"] |= PERSON | {"contacts": {"borrower": PERSON}}
    yield "collateralxp", order
    note = json.loads(sample("collateralxp/17-note-added.json"))
    note["data"] |= PERSON | {"body": f"{NAME} {SSN}", "content": f"{NAME} {SSN}"}
    yield "collateralxp", note
    event = json.loads(sample("showmojo/01-event.json"))
    event["event"]["showing"] |= PERSON
    yield "showmojo", event
    lead = json.loads(json.dumps(event))
    lead["event"] |= {"id": "1002"}
    lead["event"]["showing"] |= {"uid": None}
    yield "showmojo", lead
    created = {"event": "application.created", "loanFileId": "lf-9", "borrowerEmail": MAIL, "application": PERSON}
    yield "maxwell", {"event": "loan_file.milestone", "loanFileId": "lf-8", "milestone": {"name": NAME}} | PERSON
    yield "maxwell", created
    yield "maxwell", {"event": "application.updated", "loanFileId": None} | PERSON


@dataclass
class Told:
    """A receiver with every sender and the console, and what it was told."""

    url: str
    log: Path
    statuses: list[int]


@pytest.fixture
def told(engine: sa.Engine, environment: dict[str, str], tmp_path: Path) -> Iterator[Told]:
    """A receiver process that has been sent all of it: proved, twice, broken off in the middle, and not proved."""
    with engine.begin() as conn:
        own_writes.seed_mark(conn, RULES, FileRef("loan", "R000001"), SEEDED)
    settings = environment | SENDERS_OPEN | MLM_OPEN | {"FIELD_KEYS": environment["FIELD_KEYS"], "CONSOLE_USERS": USERS}
    log = tmp_path / "log"
    forked = Forked(listen, env={**os.environ, **settings}, err=log)
    try:
        url = f"http://127.0.0.1:{port_of(forked, log)}"
        yield Told(url, log, list(_tell(url)))
    finally:
        forked.kill()
        forked.wait()


def _tell(url: str) -> Iterator[int]:
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as web:
        for sender, body in bodies():
            raw = json.dumps(body).encode()
            for content in (raw, raw, raw[: len(raw) * 2 // 3], json.dumps(NAME).encode()):
                yield web.post(path(sender), content=content, headers=proved(sender, content)).status_code
            yield web.post(path(sender), content=raw, headers={"Authorization": f"Bearer {NAME}"}).status_code
        bearer = {"Authorization": f"Bearer {MLM_TOKEN}"}
        entry = {"referenceNumber": "R000001", "eventType": "Modified"} | PERSON
        values = {"sLastModifiedTimestamp": "2026-11-01T12:00:00Z", "aBSsn": SSN, "aBLastNm": NAME, "aBDob": BORN}
        for batch in (
            [entry | {"values": values}, entry | {"referenceNumber": {"of": f"{NAME} {SSN}"}}, NAME],
            NAME,
            PERSON,
        ):
            raw = json.dumps(batch).encode()
            for content in (raw, raw[: len(raw) * 2 // 3]):
                yield web.post(WEBHOOK, content=content, headers=bearer).status_code


def found_in(text: str) -> list[str]:
    return [each for each in PLANTED if each in text]


@pytest.fixture
def person(told: Told) -> Iterator[Person]:
    with httpx.Client(base_url=told.url, trust_env=False, timeout=30) as web:
        person = Person(web)
        assert person.sign_in(OPERATOR).status_code == 303
        yield person


def test_it_was_taken_in_and_refused(told: Told, engine: sa.Engine) -> None:
    """Else the tests below would find nothing because there was nothing."""
    assert {200, 400, 401, 422} <= set(told.statuses)
    assert max(told.statuses) < 500
    with engine.begin() as conn:
        outcomes = set(conn.exec_driver_sql("SELECT DISTINCT outcome FROM mlm_webhook_receipts").scalars())
        rows = "\n".join(
            str(conn.exec_driver_sql(f"SELECT * FROM {table}").all()) for table in _tables(conn, ours=False)
        )
    assert {"applied", "duplicate", "waiting", "malformed", "dispatched"} <= outcomes
    assert {NAME, MAIL} <= set(found_in(rows))


def test_it_is_on_no_page(told: Told, person: Person) -> None:
    pages = dict(walk(person.web, (*BEGIN, "/console/receipts/replay")))
    assert sum("/receipts/" in each for each in pages) > 10
    for place in [each for each in pages if each.count("/") == 3 and "/receipts/" in each and each[-1].isdecimal()]:
        pages[f"{place}, tried"] = person.web.post(f"{place}/replay", data={"token": person.token, "dry": "1"}).text
        pages[f"{place}, done"] = person.web.post(f"{place}/replay", data={"token": person.token}).text
    pages["export"] = person.web.post("/console/receipts/export", data={"token": person.token}).text
    assert [(where, found) for where, text in pages.items() if (found := found_in(text))] == []


def test_it_is_in_no_log_line_no_metric_and_no_message(told: Told, person: Person, environment: dict[str, str]) -> None:
    shown = {"metrics": person.web.get("/metrics").text, "log": told.log.read_text("utf-8")}
    with redis.Redis.from_url(environment["REDIS_URL"]) as client:
        shown["redis"] = str([(key, client.dump(key)) for key in client.scan_iter()])
    assert "webhook.taken" in shown["log"]
    assert "freshness_sender_receipts_total{" in shown["metrics"]
    assert "loan-sync" in shown["redis"]
    assert {where: found for where, text in shown.items() if (found := found_in(text))} == {}


def test_it_is_in_no_table_but_those_that_are_for_it(told: Told, engine: sa.Engine) -> None:
    with engine.begin() as conn:
        tables = list(_tables(conn, ours=True))
        assert {"mlm_webhook_receipts", "refused_deliveries", "sender_subjects", "sender_bodies"} <= set(tables)
        told_of = {table: str(conn.exec_driver_sql(f"SELECT t::text FROM {table} t").all()) for table in tables}
    assert {table: found for table, text in told_of.items() if (found := found_in(text))} == {}


def _tables(conn: sa.Connection, *, ours: bool) -> list[str]:
    """The tables that are for what is said of people, or all others."""
    names = conn.exec_driver_sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relispartition"
    ).scalars()
    return [name for name in names if name.startswith(ROWS) != ours]
