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
from from_outside import BARE, until

ROOT = Path(__file__).parents[3]
PICTURES = os.environ.get("MLM_CONSOLE_PICTURES")
DEAD, GROUPED = "R000012", ("R000007", "R000012")
ERROR = "Unreadable: the answer for {ref} has no closing tag at byte 48211"

PAGES = {
    "overview": "/console/",
    "webhooks": "/console/receipts",
    "webhook": "",  # of a receipt that changed rows
    "refused": "/console/refused",
    "files": "/console/files",
    "file": f"/console/files/{DEAD}",
    "queues": "/console/queues",
    "redrive": "/console/queues/redrive",
    "bells": "/console/queues/bells/loan-sync",
    "actions": "/console/actions",
    "search": "/console/search?q=R0000",
}

_DEAD = """
WITH f AS (
    UPDATE file_freshness SET ordered = ordered + 1 WHERE ref = ANY(%(refs)s) RETURNING id, ordered, ref
), o AS (
    INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause)
    SELECT id, ordered, mlm_now() - interval '47 min', mlm_now() - interval '47 min', 'webhook, newer' FROM f
), others AS (
    UPDATE file_concerns c SET served = f.ordered, landed = f.ordered FROM f
    WHERE c.file_id = f.id AND c.concern <> 'assets'
)
UPDATE file_concerns c SET attempts = 8, tried_order = f.ordered, first_error_at = mlm_now() - interval '45 min',
    last_error_at = mlm_now() - interval '12 min', last_error = replace(%(error)s, '{ref}', f.ref)
FROM f WHERE c.file_id = f.id AND c.concern = 'assets'
"""


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
    env = BARE | {"PYTHONPATH": str(ROOT), "PORT": "0"}
    argv = [sys.executable, "-P", "-m", "console", "up", "--json"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        assert process.stderr
        assert process.stdout
        listener = threading.Thread(target=lambda: said.extend(process.stderr))
        listener.start()
        try:
            places = json.loads(process.stdout.readline())
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
    """Everything runs; MLM has changed some files, refused callers have knocked, two files have a dead slice."""
    with up() as house:
        for number in range(1, 26):
            part = ("assets", "borrowers", "fees", "conditions")[number % 4]
            httpx.post(f"{house.sandbox}/api/files/R{number:06}/touch/{part}").raise_for_status()
        httpx.post(f"{house.url}/api/v1/loans/mlm/webhook", json=[], headers={"Authorization": "Bearer wrong"})
        all_served = "SELECT 1 FROM file_freshness HAVING count(*) = 25 AND bool_and(served >= ordered)"
        changed = "SELECT 1 FROM mlm_webhook_receipts WHERE rows_changed > 0 HAVING count(*) >= 20"
        until(lambda: house.rows(changed) and house.rows(all_served), within_s=60)
        house.rows(_DEAD, refs=list(GROUPED), error=ERROR)
        yield house


@pytest.fixture(scope="module")
def window(house: House) -> Iterator[Browser]:
    with browser(house.url) as window:
        window.show(1440)
        window.sign_in("admin", house.password)
        window.open("/console/receipts?changed=yes")
        PAGES["webhook"] = str(window.find("tbody a").get_attribute("href")).removeprefix(house.url)
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
    from selenium.webdriver.common.by import By

    shown = window.driver.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert shown
    assert all("R000003" in row.text and "dispatched" in row.text for row in shown)


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
    found = [(where, value) for where, text in shown.items() for value in planted if value in text]
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
    for (ssn,) in house.rows("SELECT DISTINCT ssn_last4 FROM borrowers WHERE ssn_last4 IS NOT NULL"):
        values.add(f"-{ssn}")
    return values


def _pages(house: House) -> Iterator[tuple[str, str]]:
    """Every page that links lead to, from the overview on."""
    with httpx.Client(base_url=house.url, trust_env=False, timeout=30) as web:
        assert Person(web).sign_in("admin", house.password).status_code == 303
        seen, ahead = set(), ["/console/", "/console/search?q=R0000", "/console/files?state=all"]
        while ahead:
            path = ahead.pop()
            if path in seen:
                continue
            seen.add(path)
            answer = web.get(path)
            assert answer.status_code == 200, (path, answer.status_code)
            yield path, answer.text
            links = re.findall(r'href="(/console/[^"#]*)"', answer.text)
            ahead += [link.replace("&amp;", "&") for link in links if "static" not in link]


def _picture(window: Browser, name: str, width: int, dark: bool) -> None:
    if PICTURES is None or (dark and width == 390):
        return
    height = window.driver.execute_script("return document.documentElement.scrollHeight")
    window.show(width, dark, min(max(height, 600), 1800))
    place = ROOT / PICTURES / f"{name}-{width}{'-dark' if dark else ''}.png"
    window.driver.save_screenshot(str(place))
