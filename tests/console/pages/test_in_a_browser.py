"""The web console in a real browser, against `freshness up`: every page, filter and action, as its engineers meet it.

MLM_CONSOLE_PICTURES=docs/console makes the pictures of docs/console.md anew.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis
from a_browser import Browser, browser
from a_console import Person
from databases import engine_on
from from_outside import BARE, until
from walking import walk

from console import sampling
from freshness.settings import load

ROOT = Path(__file__).parents[3]
PICTURES = os.environ.get("MLM_CONSOLE_PICTURES")
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
DEAD, GROUPED = "R000012", ("R000007", "R000012")
ERROR = "Unreadable: the answer for {ref} has no closing tag at byte 48211"

PAGES = {
    "overview": "/console/",
    "webhooks": "/console/receipts",
    "webhook": "",  # of a receipt that changed rows
    "sender": "",  # of another sender's receipt
    "replay": "/console/receipts/replay",
    "refused": "/console/refused",
    "files": "/console/files",
    "file": f"/console/files/{DEAD}",
    "queues": "/console/queues",
    "redrive": "/console/queues/redrive",
    "bells": "/console/queues/bells/loan-sync",
    "actions": "/console/actions",
    "search": "/console/search?q=R0000",
}

#: What is as wide as it must be, on a phone too.
SCROLLED = ("Time line",)

#: Other senders prove themselves by these.
SENDERS = {
    "MMI_SECRET": "from-mmi",
    "MAXWELL_TOKEN": "from-maxwell",
    "COLLATERALXP_TOKEN": "from-collateralxp",
    "SHOWMOJO_TOKEN": "from-showmojo",
}

#: Whatever happened to these files so far was hours ago; then they were ordered, and of one slice all reads failed.
_DEAD = (
    """UPDATE slice_runs SET started_at = started_at - interval '3 h', asked_at = asked_at - interval '3 h',
           finished_at = finished_at - interval '3 h', stamp = stamp - interval '3 h'
       WHERE file_id IN (SELECT id FROM file_freshness WHERE ref = ANY(%(refs)s))""",
    """UPDATE refresh_orders SET placed_at = placed_at - interval '3 h', due_at = due_at - interval '3 h'
       WHERE file_id IN (SELECT id FROM file_freshness WHERE ref = ANY(%(refs)s))""",
    """UPDATE mlm_webhook_receipts SET received_at = received_at - interval '3 h',
           served_at = served_at - interval '3 h', data_updated_at = data_updated_at - interval '3 h',
           last_modified_at = last_modified_at - interval '3 h', mark_before = mark_before - interval '3 h'
       WHERE file_id IN (SELECT id FROM file_freshness WHERE ref = ANY(%(refs)s))""",
    """UPDATE file_concerns SET held = held - interval '3 h'
       WHERE file_id IN (SELECT id FROM file_freshness WHERE ref = ANY(%(refs)s))""",
    """WITH f AS (
           UPDATE file_freshness SET ordered = ordered + 1, mark = mark - interval '3 h',
               wanted = wanted - interval '3 h', captured = captured - interval '3 h', racy_stamp = NULL,
               confirm_at = NULL, unconfirmed_since = NULL
           WHERE ref = ANY(%(refs)s) RETURNING id, ordered, ref
       ), o AS (
           INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause)
           SELECT id, ordered, mlm_now() - interval '47 min', mlm_now() - interval '47 min', 'refresh' FROM f
       ), others AS (
           UPDATE file_concerns c SET served = f.ordered, landed = f.ordered, landed_at = mlm_now() - interval '2815 s'
           FROM f WHERE c.file_id = f.id AND c.concern <> 'assets' RETURNING c.file_id, c.concern, f.ordered
       ), landed AS (
           INSERT INTO slice_runs (file_id, concern, order_number, started_at, asked_at, finished_at, outcome)
           SELECT file_id, concern, ordered, mlm_now() - interval '2818 s', mlm_now() - interval '2817 s',
                  mlm_now() - interval '2815 s', 'landed' FROM others
       ), failed AS (
           INSERT INTO slice_runs (file_id, concern, order_number, started_at, asked_at, finished_at, outcome, error)
           SELECT id, 'assets', ordered, t.at - interval '2 s', t.at - interval '1 s', t.at,
                  CASE number WHEN 8 THEN 'given up' ELSE 'failed' END, replace(%(error)s, '{ref}', ref)
           FROM f, LATERAL (SELECT number, mlm_now() - interval '2812 s' + number * interval '8 s' AS at
                            FROM generate_series(1, 8) number) t
       )
       UPDATE file_concerns c SET attempts = 8, tried_order = f.ordered, landed_at = landed_at - interval '3 h',
           first_error_at = mlm_now() - interval '2804 s', last_error_at = mlm_now() - interval '2748 s',
           last_error = replace(%(error)s, '{ref}', f.ref)
       FROM f WHERE c.file_id = f.id AND c.concern = 'assets'""",
)


@dataclass
class House:
    """A running `freshness up`: where it is, and what signs in."""

    url: str
    sandbox: str
    database_url: str
    redis_url: str
    password: str
    said: list[str]

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            done = connection.execute(query, parameters or None)
            return done.fetchall() if done.description else []


@contextmanager
def up() -> Iterator[House]:
    env = BARE | SENDERS | {"PYTHONPATH": str(ROOT), "PORT": "0"}
    argv = [sys.executable, "-P", "-m", "console", "up", "--json"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        assert process.stderr
        assert process.stdout
        listener = threading.Thread(target=lambda: said.extend(process.stderr))
        listener.start()
        try:
            told = process.stdout.readline()
            assert told, f"it did not come up: {said[-20:]}"
            places = json.loads(told)
            yield House(
                places["receiver"], places["sandbox"], places["DATABASE_URL"], places["REDIS_URL"],
                places["CONSOLE_PASSWORD"], said,
            )  # fmt: skip
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            listener.join(10)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Everything runs; MLM has changed some files, other senders have delivered, refused callers have knocked, and two
    files have a dead slice."""
    with up() as house:
        with engine_on(house.database_url) as engine:
            sent = list(sampling.send(engine, load(SENDERS), house.url, sampling.samples()))
        assert all(each["as_meant"] for each in sent)
        application = {"event": "application.created", "loanFileId": "lf-1", "application": {"ssn": "123-45-6789"}}
        bearer = {"Authorization": "Bearer from-maxwell"}
        maxwells = f"{house.url}/api/v1/senders/maxwell/webhook"
        httpx.post(maxwells, json=application, headers=bearer).raise_for_status()
        for number in range(1, 26):
            part = ("assets", "borrowers", "fees", "conditions")[number % 4]
            httpx.post(f"{house.sandbox}/api/files/R{number:06}/touch/{part}").raise_for_status()
        httpx.post(f"{house.url}/api/v1/loans/mlm/webhook", json=[], headers={"Authorization": "Bearer wrong"})
        all_served = "SELECT 1 FROM file_freshness HAVING count(*) = 25 AND bool_and(served >= ordered)"
        changed = "SELECT 1 FROM mlm_webhook_receipts WHERE sender = 'mlm' AND rows_changed > 0 HAVING count(*) >= 20"
        until(lambda: house.rows(changed) and house.rows(all_served), within_s=180)
        with psycopg.connect(house.database_url) as connection:
            for statement in _DEAD:
                connection.execute(statement, {"refs": list(GROUPED), "error": ERROR})
        yield house


@pytest.fixture(scope="module")
def window(house: House) -> Iterator[Browser]:
    with browser(house.url) as window:
        window.show(1440)
        window.sign_in("admin", house.password)
        _acted(house)
        window.open("/console/receipts?changed=yes")
        PAGES["webhook"] = str(window.find("tbody a").get_attribute("href")).removeprefix(house.url)
        window.open("/console/receipts?sender=mmi")
        PAGES["sender"] = str(window.find("tbody a").get_attribute("href")).removeprefix(house.url)
        window.complaints()
        yield window


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("name", PAGES)
def test_each_page_is_accessible_and_fits(window: Browser, name: str, width: int, dark: bool) -> None:
    window.show(width, dark)
    window.open(PAGES[name])
    assert window.breaks_of_accessibility() == []
    assert window.overflows() <= 0
    assert [each for each in window.cut_off() if width == 1440 or each not in SCROLLED] == []
    assert window.complaints() == []
    _picture(window, name, width, dark)


def test_the_door_is_accessible(house: House) -> None:
    with browser(house.url) as stranger:
        for width in (1440, 390):
            stranger.show(width)
            stranger.open("/console/")
            assert stranger.breaks_of_accessibility() == []
            assert stranger.overflows() <= 0
            _picture(stranger, "sign-in", width, False)


def test_from_a_reference_to_the_reason_is_one_step(window: Browser) -> None:
    window.show(1440)
    window.open("/console/")
    window.keys("/")
    window.keys(DEAD, "\n")
    window.until(lambda: window.path == f"/console/files/{DEAD}")
    first = window.find("main .why").text
    assert "assets" in first
    assert "given up" in first
    assert "no closing tag" in first


def test_from_a_loan_number_likewise(window: Browser, house: House) -> None:
    query = "SELECT l.mlm_loan_number FROM loans l JOIN file_freshness f ON f.loan_id = l.id WHERE f.ref = %(ref)s"
    ((number,),) = house.rows(query, ref=DEAD)
    window.open("/console/queues")
    window.keys("/")
    window.keys(number, "\n")
    window.until(lambda: window.path == f"/console/files/{DEAD}")


def test_the_keys_lead_to_every_page(window: Browser) -> None:
    window.open("/console/")
    for key, path in (("w", "receipts"), ("f", "files"), ("q", "queues"), ("a", "actions"), ("o", "")):
        window.keys("g", key)
        window.until(lambda path=path: window.path == f"/console/{path}")


def test_a_page_brings_itself_up_to_date(window: Browser, house: House) -> None:
    window.open("/console/files/R000001")
    assert window.find("main h1 .badge").text == "fresh"
    before = len(window.find("main").text)
    httpx.post(f"{house.sandbox}/api/files/R000001/touch/assets").raise_for_status()
    window.until(lambda: len(window.find("main").text) != before and "fresh" in window.find("main h1").text)
    assert window.complaints() == []


def test_refresh_now_orders_the_file(window: Browser, house: House) -> None:
    query = "SELECT ordered FROM file_freshness WHERE ref = 'R000002'"
    before = house.rows(query)
    window.open("/console/files/R000002")
    window.button("Refresh now").click()
    window.until(lambda: house.rows(query) > before)


def test_filters_stay_in_the_address_and_leave_what_they_say(window: Browser) -> None:
    window.open("/console/receipts")
    window.find("input[name=search]").send_keys("R000003")
    window.find("select[name=outcome] option[value=dispatched]").click()
    window.button("Filter").click()
    window.until(lambda: "search=R000003" in window.path)
    assert "outcome=dispatched" in window.path
    shown = window.all("tbody tr")
    assert shown
    assert all("R000003" in row.text and "dispatched" in row.text for row in shown)


FILTERS = {
    "outcome": ("dispatched", "dispatched"),
    "sender": ("mmi", "mmi"),
    "span": ("1h", None),
    "slower": ("3600", None),
    "changed": ("yes", None),
}


@pytest.mark.parametrize("name", FILTERS)
def test_each_choice_of_the_filters_comes_into_the_address_and_stays_chosen(window: Browser, name: str) -> None:
    value, in_rows = FILTERS[name]
    window.open("/console/receipts")
    window.find(f"select[name={name}] option[value='{value}']").click()
    window.button("Filter").click()
    window.until(lambda: f"{name}={value}" in window.path)
    assert window.find(f"select[name={name}]").get_attribute("value") == value
    rows = window.all("tbody tr")
    assert all(in_rows in row.text for row in rows if in_rows)
    assert rows or name == "slower"
    assert window.complaints() == []


def test_each_word_of_the_filters_comes_into_the_address_and_stays_there(window: Browser) -> None:
    window.open("/console/receipts")
    window.find("input[name=event]").send_keys("Modified")
    window.find("input[name=unserved]").click()
    window.driver.execute_script("document.querySelector('input[name=until]').value = '2099-01-01T00:00'")
    window.button("Filter").click()
    window.until(lambda: "event=Modified" in window.path)
    assert "unserved=1" in window.path
    assert "until=2099-01-01T00%3A00" in window.path
    assert window.find("input[name=event]").get_attribute("value") == "Modified"
    assert window.find("input[name=unserved]").is_selected()
    rows = window.all("tbody tr")
    assert {row.find_element("css selector", "td:nth-child(2)").text for row in rows} == set(GROUPED) or not rows


def test_refused_deliveries_are_found_by_status_and_route(window: Browser) -> None:
    window.open("/console/receipts")
    window.button("Refused deliveries").click()
    window.until(lambda: window.path == "/console/refused")
    window.find("input[name=status]").send_keys("401")
    window.find("input[name=path]").send_keys("mlm")
    window.driver.execute_script("document.querySelector('input[name=since]').value = '2020-01-01T00:00:00'")
    window.button("Filter").click()
    window.until(lambda: "status=401" in window.path)
    assert window.find("input[name=since]").get_attribute("value").startswith("2020-01-01T00:00")
    (row,) = window.all("tbody tr")
    assert "a bearer token is needed" in row.text
    assert window.complaints() == []


def test_the_states_of_files_are_a_step_apart(window: Browser) -> None:
    for state in ("given up", "unconfirmed", "unstamped", "deleted", "all", "stale"):
        window.open("/console/files")
        window.driver.find_element("xpath", f"//main//a[contains(@href, 'state={state.split()[0]}')]").click()
        window.until(lambda state=state: f"state={state.split()[0]}" in window.path)
        assert window.complaints() == []


def test_a_replay_decides_the_entry_once_more(window: Browser, house: House) -> None:
    query = "SELECT count(*) FROM mlm_webhook_receipts WHERE replay_of IS NOT NULL AND sender = 'mlm'"
    before = house.rows(query)
    window.open(PAGES["webhook"])
    window.button("Replay").click()
    window.until(lambda: house.rows(query) > before)
    window.until(lambda: "search=" in window.path)
    assert "replay" in window.find("tbody tr").text
    window.open(PAGES["webhook"])
    window.button("Replay with force").click()
    window.driver.switch_to.alert.accept()
    window.until(lambda: house.rows(query)[0][0] == before[0][0] + 2)


def test_many_receipts_are_tried_out_and_then_replayed(window: Browser, house: House) -> None:
    query = "SELECT count(*) FROM mlm_webhook_receipts WHERE replay_of IS NOT NULL AND reference_number = 'R000004'"
    window.open("/console/receipts?search=R000004")
    window.button("Replay these").click()
    window.until(lambda: "/receipts/replay" in window.path)
    window.button("What would be decided now?").click()
    window.until(lambda: "Nothing was changed" in window.find("#tried").text)
    assert house.rows(query) == [(0,)]
    window.find("main form button.go").click()
    window.until(lambda: window.path == "/console/queues")
    window.until(lambda: "receipts; " in window.text())
    assert house.rows(query)[0][0] > 0
    assert window.complaints() == []


def test_another_senders_subject_is_tried_out_and_rebuilt(window: Browser, house: House) -> None:
    query = "SELECT count(*) FROM mlm_webhook_receipts WHERE replay_of IS NOT NULL AND sender = 'mmi'"
    window.open(PAGES["sender"])
    window.button("What would come of it?").click()
    window.until(lambda: "Nothing was changed" in window.find("#tried").text)
    assert house.rows(query) == [(0,)]
    window.button("Rebuild").click()
    window.driver.switch_to.alert.accept()
    window.until(lambda: house.rows(query) == [(1,)])


def test_an_export_is_a_file_to_keep(window: Browser, tmp_path: Path) -> None:
    window.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    window.open("/console/receipts?search=R000003")
    window.button("Export as CSV").click()
    (kept,) = window.until(lambda: list(tmp_path.glob("*.csv")))
    until(lambda: "R000003" in kept.read_text())


def test_who_signs_out_meets_the_door(house: House) -> None:
    with browser(house.url) as other:
        other.sign_in("admin", house.password)
        other.find(".who button").click()
        other.until(lambda: "/sign-in" in other.path)
        other.open("/console/queues")
        assert "/sign-in" in other.path


def test_what_would_be_decided_is_said_on_the_page_itself(window: Browser) -> None:
    window.open(PAGES["webhook"])
    window.button("What would be decided now?").click()
    window.until(lambda: "Nothing was changed" in window.find("#tried").text)
    assert window.path == PAGES["webhook"]
    assert window.complaints() == []


def test_no_borrowers_data_is_on_any_page_in_redis_or_on_a_receipt(house: House) -> None:
    """The sandbox's files have SSNs, names, birth dates, account numbers, addresses; our copy has taken them in."""
    planted = _planted(house)
    assert len(planted) > 100
    shown = dict(_pages(house))
    assert len(shown) > 100, "the walk must have come round"
    trails = (
        "mlm_webhook_receipts",
        "refused_deliveries",
        "slice_runs",
        "refresh_orders",
        "console_actions",
        "own_writes",
    )
    for table in trails:
        shown[table] = str(house.rows(f"SELECT * FROM {table}"))
    with redis.Redis.from_url(house.redis_url) as client:
        shown["redis"] = str([(key, client.dump(key)) for key in client.scan_iter()])
    shown["logs"] = "".join(house.said)
    without_ids = {where: UUID.sub("", text) for where, text in shown.items()}  # parts of one are four digits too
    found = [(where, value) for where, text in without_ids.items() for value in planted if value in text]
    assert found == []


def test_a_newcomer_finds_the_dead_slice_and_redrives_it(window: Browser, house: House) -> None:
    """Told only that the loan looks old. Last of all: afterwards nothing is dead any more."""
    window.show(1440)
    window.open("/console/")
    window.find("#find").send_keys(DEAD, "\n")
    window.until(lambda: window.path.endswith(DEAD))
    window.button("Redrive").click()
    window.until(lambda: "/queues/redrive" in window.path)
    assert "Redrive 1 file" in window.find("h1").text
    window.find("main form button.go").click()
    window.until(lambda: window.path == "/console/queues")
    window.until(lambda: "1 of 1 files" in window.text())
    query = "SELECT 1 FROM file_freshness WHERE ref = %(ref)s AND served >= ordered"
    until(lambda: house.rows(query, ref=DEAD), within_s=60)
    window.open(f"/console/files/{DEAD}")
    assert window.find("main h1 .badge").text == "fresh"
    window.open("/console/actions")
    assert f"file: {DEAD}" in window.text()


def _acted(house: House) -> None:
    """Somebody has done something before."""
    with httpx.Client(base_url=house.url, trust_env=False, timeout=30) as web:
        person = Person(web)
        assert person.sign_in("admin", house.password).status_code == 303
        assert person.post("/refresh/R000009").status_code == 303
        assert person.post("/receipts/export", outcome="dispatched", span="24h").status_code == 200


def _planted(house: House) -> set[str]:
    """What no page may show: values of the sandbox's files that are a person's."""
    personal = re.compile(r"(FirstNm|LastNm|Ssn|Dob|AccNum|Email|Phone|Addr)", re.IGNORECASE)
    values: set[str] = set()

    def collect(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                collect(key, each)
        elif isinstance(value, list):
            for each in value:
                collect(name, each)
        elif isinstance(value, str) and personal.search(name) and len(value) >= 5:
            values.add(value)

    for number in range(1, 26):
        collect("", httpx.get(f"{house.sandbox}/api/files/R{number:06}").json())
    ends = house.rows("SELECT DISTINCT ssn_last4 FROM borrowers WHERE ssn_last4 IS NOT NULL")
    assert ends
    return values | {f"-{ssn}" for (ssn,) in ends}


def _pages(house: House) -> Iterator[tuple[str, str]]:
    """Every page that links lead to, from the overview on."""
    with httpx.Client(base_url=house.url, trust_env=False, timeout=30) as web:
        assert Person(web).sign_in("admin", house.password).status_code == 303
        yield from walk(web)


def _picture(window: Browser, name: str, width: int, dark: bool) -> None:
    if PICTURES is None or (dark and width == 390):
        return
    height = window.driver.execute_script("return document.documentElement.scrollHeight")
    window.show(width, dark, min(max(height, 600), 1800))
    place = ROOT / PICTURES / f"{name}-{width}{'-dark' if dark else ''}.png"
    window.driver.save_screenshot(str(place))
