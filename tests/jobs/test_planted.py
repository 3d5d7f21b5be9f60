"""Values planted in MLM, in deliveries and in broken bodies: after a day with faults none that is sensitive stands in a
dump of the database, and none of a person's in Redis, logs, traces, metrics, receipts or the errors that were kept."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
import sqlalchemy as sa
from collector import Collector
from whole_house import WEBHOOK_TOKEN, WholeHouse, until, whole_house

from console.binaries import postgresql
from console.laptop import answers
from freshness.ledger.rotation import sealed_tables
from mlm_client.sandbox.editing import edit

REF = "R000004"

#: Sealed wherever they are kept.
SENSITIVE = {
    "an SSN": ("912783465", "912-78-3465"),
    "a co-borrower's SSN": ("913783466", "913-78-3466"),
    "an account": ("7700192837465",),
    "a card": ("4929770019283746",),
    "a birth date": ("1961-07-23", "07/23/1961", "7/23/1961"),
    "a credit report": ("88123477",),
    "an SSN of Maxwell's": ("914783467", "914-78-3467"),
    "what no column is for": ("unforeseen-by-any-column",),
}

#: In the portal's tables, and nowhere else.
PERSONAL = {
    "a name": ("Wilhelmina", "Oxenstierna"),
    "a mail address": ("w.oxenstierna@example.com",),
    "an address": ("77 Quagmire Terrace",),
    "a phone": ("555-014-7733",),
    "a name of Maxwell's": ("Balthasar",),
}

PEOPLE = {
    "aBFirstNm": "Wilhelmina", "aBLastNm": "Oxenstierna", "aBSsn": "912783465", "aBDob": "07/23/1961",
    "aBEmail": "w.oxenstierna@example.com", "aBAddr": "77 Quagmire Terrace", "aBCellphone": "555-014-7733",
    "aCSsn": "913783466", "aCreditReportId": "88123477",
}  # fmt: skip
RECORDS = [
    {"name": "aAssetCollection", "op": "add", "record": {"AccNum": "7700192837465", "ComNm": "Bank", "Val": "1"}},
    {"name": "aLiaCollection", "op": "add", "record": {"AccNum": "4929770019283746", "ComNm": "Card", "Bal": "1"}},
]
APPLICATION = {
    "event": "application.created",
    "loanFileId": "lf-planted",
    "application": {"firstName": "Balthasar", "ssn": "914-78-3467", "declarations": {"x": "unforeseen-by-any-column"}},
    "surprise": "unforeseen-by-any-column",
}


def spellings(groups: dict[str, tuple[str, ...]]) -> list[str]:
    """Each value as it is, and as the bytes of a column stand in a dump."""
    return [form for values in groups.values() for each in values for form in (each, each.encode().hex())]


def found(text: str, *groups: dict[str, tuple[str, ...]]) -> list[str]:
    return [each for group in groups for each in spellings(group) if each in text]


@pytest.fixture(scope="module")
def day(
    _admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[WholeHouse]:
    """A house after a day in which much went wrong."""
    settings = {"MAXWELL_TOKEN": "from-maxwell", **collector.settings}
    with whole_house(_admin, tmp_path_factory.mktemp("planted"), "planted", files=6, **settings) as house:
        _spend(house)
        yield house


def _spend(house: WholeHouse) -> None:
    edit(house.mlm.store, house.mlm.maker, REF, {"applicant": {"index": 0, "fields": PEOPLE}, "collection": RECORDS})
    house.import_(REF)
    with house.mlm.dials.turned(fault_next=3, fault_forms=("html503", "fault", "half")):
        house.touch(REF, "borrowers")
        until(lambda: not house.mlm.dials.now.fault_next, "calls failed")
    house.rests(REF)
    _rows_that_postgresql_refuses(house)
    broken = json.dumps(APPLICATION)[:-2].encode()
    assert _send(house, "senders/maxwell", "from-maxwell", json.dumps(APPLICATION).encode()) == 200
    assert _send(house, "senders/maxwell", "from-maxwell", broken) == 400
    assert _send(house, "senders/maxwell", "wrong", json.dumps(APPLICATION).encode()) == 401
    entry = {"eventType": "Modified", "referenceNumber": REF, "values": PEOPLE}
    assert _send(house, "loans/mlm", WEBHOOK_TOKEN, json.dumps([entry]).encode()) == 200
    assert _send(house, "loans/mlm", WEBHOOK_TOKEN, json.dumps([entry])[:-2].encode()) == 400
    assert _send(house, "loans/mlm", WEBHOOK_TOKEN, json.dumps(PEOPLE).encode()) == 422
    house.rests(REF)
    worker = house.worker()
    house.order(REF)
    worker.send(signal.SIGABRT)
    worker.ended()
    house.worker()
    house.rests(REF)


def _rows_that_postgresql_refuses(house: WholeHouse) -> None:
    """PostgreSQL's error quotes the row that a rule of a portal's forbids."""
    house.rows("ALTER TABLE borrowers ADD CONSTRAINT strict CHECK (suffix IS DISTINCT FROM 'Esq.')")
    edit(house.mlm.store, house.mlm.maker, REF, {"applicant": {"index": 0, "fields": {"aBSuffix": "Esq."}}})
    until(lambda: house.rows("SELECT FROM slice_runs WHERE error LIKE '%%RefusedRows%%'"), "rows were refused")
    house.rows("ALTER TABLE borrowers DROP CONSTRAINT strict")
    edit(house.mlm.store, house.mlm.maker, REF, {"applicant": {"index": 0, "fields": {"aBSuffix": "Jr."}}})
    house.rests(REF)


def _send(house: WholeHouse, path: str, token: str, body: bytes, at: str = "") -> int:
    url = f"{at or house.url}/api/v1/{path}/webhook"
    return httpx.post(url, content=body, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code


def dump_of(url: str, *options: str) -> str:
    """The database as `pg_dump` writes it for a backup."""
    program = postgresql().path.with_name("pg_dump")
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run([program, "--inserts", *options, plain], capture_output=True, text=True, check=True).stdout


def test_a_dump_of_the_database_holds_nothing_that_is_sensitive(day: WholeHouse):
    dump = dump_of(day.environment["DATABASE_URL"])
    assert "Wilhelmina" in dump, "it is the copy that is looked through"
    assert "INSERT INTO public.sender_bodies" in dump
    assert found(dump, SENSITIVE) == []


def test_outside_of_the_copy_the_dump_holds_nothing_of_a_person(day: WholeHouse):
    copy = ("borrowers", "maxwell_applications")
    dump = dump_of(day.environment["DATABASE_URL"], *(f"--exclude-table={table}" for table in copy))
    assert REF in dump
    assert found(dump, SENSITIVE, PERSONAL) == []


def test_redis_holds_nothing_of_a_person_nor_was_any_sent_there(day: WholeHouse):
    held = str([(key, day.redis.dump(key)) for key in day.redis.scan_iter()])
    assert found("\n".join(day.monitor.commands) + held, SENSITIVE, PERSONAL) == []


def test_no_log_holds_anything_of_a_person(day: WholeHouse):
    logged = "\n".join(each.log.read_text(encoding="utf-8") for each in day.processes)
    assert "slice.failed" in logged
    assert found(logged, SENSITIVE, PERSONAL) == []


def test_postgresqls_own_log_holds_nothing_of_a_person_set_up_as_the_security_page_has_it(day: WholeHouse):
    """It knows of rows that it refused; that it quotes none of them is `log_error_verbosity`."""
    logged = server_log(day)
    assert day.rows("SHOW log_error_verbosity")[0].log_error_verbosity == "terse"
    assert 'violates check constraint "strict"' in logged
    assert found(logged, SENSITIVE, PERSONAL) == []


def server_log(house: WholeHouse) -> str:
    """The log of the server that the tests brought along (`console.embedded`)."""
    data = house.rows("SHOW data_directory")[0].data_directory
    log = Path(data).with_name("log")
    if not log.exists():
        pytest.skip("PostgreSQL is none that the tests brought along, and its log is elsewhere")
    return log.read_text(encoding="utf-8", errors="replace")


def test_what_waits_in_the_spool_holds_nothing_of_a_person(day: WholeHouse, tmp_path: Path):
    with away_from_postgresql(day, tmp_path) as url:
        application = json.dumps(APPLICATION).encode()
        entry = {"eventType": "Modified", "referenceNumber": REF, "values": PEOPLE}
        assert _send(day, "senders/maxwell", "from-maxwell", application, url) == 202
        assert _send(day, "loans/mlm", WEBHOOK_TOKEN, json.dumps([entry]).encode(), url) == 202
    waits = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert REF in "".join(waits)
    assert len([each for each in waits if each]) >= 2
    assert found("\n".join(waits), SENSITIVE, PERSONAL) == []


@contextmanager
def away_from_postgresql(house: WholeHouse, spool: Path) -> Iterator[str]:
    """The URL of another receiver, which has a spool and no PostgreSQL, while the block runs."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    nowhere = sa.make_url(house.environment["DATABASE_URL"]).set(port=9).render_as_string(hide_password=False)
    before = house.environment
    house.environment = before | {"DATABASE_URL": nowhere, "SPOOL_DIR": str(spool), "PORT": str(port)}
    receiver = house.start("receiver")
    house.environment = before
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/healthz"), "the receiver answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        receiver.send(signal.SIGTERM)
        receiver.ended()


def test_no_trace_holds_anything_of_a_person(day: WholeHouse, collector: Collector):
    until(lambda: collector.named("slice") or len(collector.spans) > 10, "spans came")
    assert found(b"\n".join(collector.bodies).decode("latin-1"), SENSITIVE, PERSONAL) == []


def test_no_metric_no_answer_and_no_page_of_ours_holds_anything_of_a_person(day: WholeHouse):
    told = [httpx.get(f"{day.url}{path}").text for path in ("/metrics", "/readyz", "/openapi.json")]
    told += [
        day.run(*argv).stdout for argv in (("explain", REF), ("receipts", "--json"), ("doctor", "--last-delivery"))
    ]
    assert REF in "".join(told)
    assert found("\n".join(told), SENSITIVE, PERSONAL) == []


def test_all_that_is_sensitive_did_come_in_and_can_be_read_by_who_holds_the_key(day: WholeHouse):
    """Else the others would find nothing because there was nothing."""
    plain = []
    for table in sealed_tables():
        for row in day.rows(f"SELECT * FROM {table.name} WHERE {table.where}"):
            sealed = [getattr(row, f"{column}_encrypted") for column in table.columns]
            plain += [day.house.keys.open(each) for each in sealed if each is not None]
    text = "\n".join(plain)
    assert [what for what, forms in SENSITIVE.items() if not any(form in text for form in forms)] == []
