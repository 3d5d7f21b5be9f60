"""Pages that bring themselves up to date, in a real browser: when they wait, that they say so, and what fails aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from a_browser import Browser, browser
from a_console import OPERATOR, PASSWORD, Console
from scenes import dead, stale

from console.pages import kit

FOCUSED = "return document.activeElement.getAttribute('aria-label')"


@pytest.fixture
def window(web: Console) -> Iterator[Browser]:
    dead(web.engine, "R000001")
    with browser(web.url) as window:
        window.show(1440)
        window.sign_in(OPERATOR, PASSWORD)
        yield window


def test_a_table_that_has_the_focus_holds_no_page_back_and_keeps_it(window: Browser) -> None:
    window.open("/console/queues")
    window.driver.execute_script("document.querySelector('[aria-label=\"Table of parts\"]').focus()")
    before = window.find(".head .small time").get_attribute("datetime")
    window.until(lambda: window.find(".head .small time").get_attribute("datetime") != before)
    assert window.driver.execute_script(FOCUSED) == "Table of parts"
    assert not window.find(".paused").is_displayed()


@pytest.mark.parametrize("path", ["/console/", "/console/queues", "/console/files/R000001"])
def test_a_page_that_somebody_is_in_the_midst_of_waits_and_says_since_when(window: Browser, path: str) -> None:
    window.open(path)
    window.driver.execute_script("document.querySelector('#now a').focus()")
    window.until(lambda: window.find(".paused").is_displayed())
    head = window.find(".head p:has(.paused)").text
    assert re.fullmatch(r"as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ, paused while you are in the midst of it", head)
    window.driver.execute_script("document.activeElement.blur()")
    window.until(lambda: not window.find(".paused").is_displayed())


def test_a_dry_run_that_fails_says_why_where_its_answer_would_stand(window: Browser, web: Console) -> None:
    stale(web.engine, "R000002")
    window.open("/console/receipts?search=R000002")
    window.find("tbody a").click()
    window.until(lambda: window.all("#tried"))
    web.rows("DELETE FROM mlm_webhook_receipts RETURNING 1")
    window.button("What would be decided now?").click()
    said = window.until(lambda: "tried out" in window.find("#tried").text and window.find("#tried").text)
    assert said == "Nothing was tried out (409). This receipt is gone."


def test_a_dry_run_that_nobody_answers_says_so(window: Browser) -> None:
    window.open("/console/receipts/replay")
    window.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    window.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    window.button("What would be decided now?").click()
    window.until(lambda: "the console does not answer" in window.find("#tried").text)
    assert window.button("What would be decided now?").is_enabled()


def test_a_session_that_ends_leads_from_a_live_page_to_the_door_and_back(window: Browser, web: Console) -> None:
    window.open("/console/files/R000001")
    web.rows("DELETE FROM console_sessions RETURNING 1")
    window.until(lambda: "/sign-in" in window.path)
    window.find("input[name=name]").send_keys(OPERATOR)
    window.find("input[name=password]").send_keys(PASSWORD)
    window.find("main button").click()
    window.until(lambda: window.path == f"{kit.ROOT}/files/R000001")
