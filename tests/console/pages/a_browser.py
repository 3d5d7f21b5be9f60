"""Debian's Chromium without a screen, driven through its own driver; axe-core for accessibility (third_party/)."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
AXE = Path(__file__).with_name("third_party") / "axe-4.14.1.min.js"
WITHIN_S = 60

#: Set in CI, which installs Chromium: there a browser that is missing is an error, not a skip.
REQUIRED = "MLM_TEST_BROWSER"

#: Where `.ci/browser` puts it on a machine that gets none from Debian.
INSTALLED = Path(__file__).parents[3] / ".freshness" / "browser" / "bin"

_CUT_OFF = """
const wide = [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth);
const beyond = [...document.querySelectorAll('.chart text')].filter(e => {
    const at = e.getBoundingClientRect(), box = e.closest('svg').getBoundingClientRect();
    return at.left < box.left - 0.5 || at.right > box.right + 0.5;
});
return [...wide.map(e => e.ariaLabel), ...beyond.map(e => e.textContent)];
"""


class Browser:
    """One window."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver, self.url = driver, url

    def show(self, width: int, dark: bool = False, height: int = 900) -> None:
        """Be so wide, and in light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, path: str) -> None:
        self.driver.get(self.url + path)

    @property
    def path(self) -> str:
        return str(self.driver.current_url).removeprefix(self.url)

    def find(self, css: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", css))

    def button(self, text: str) -> Any:
        from selenium.webdriver.common.by import By

        return self.driver.find_element(
            By.XPATH, f"//main//*[self::button or self::a][starts-with(normalize-space(), '{text}')]"
        )

    def text(self) -> str:
        return str(self.find("body").text)

    def keys(self, *keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, look: Callable[[], T]) -> T:
        """What `look` finds, once it finds something; a page that is just being replaced has nothing yet."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.wait import WebDriverWait

        return WebDriverWait(self.driver, WITHIN_S, 0.05, (WebDriverException,)).until(lambda _: look())

    def sign_in(self, name: str, password: str) -> None:
        self.open("/console/sign-in")
        self.find("input[name=name]").send_keys(name)
        self.find("input[name=password]").send_keys(password)
        self.find("main button").click()
        self.until(lambda: self.path == "/console/")

    def breaks_of_accessibility(self) -> list[str]:
        """What axe finds wrong on this page, each with the elements it is about."""
        self.driver.execute_script(AXE.read_text("utf-8"))
        found = self.driver.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations));")
        return [f"{each['id']}: {[node['target'] for node in each['nodes']][:3]}" for each in found]

    def overflows(self) -> int:
        """By how much the page is wider than the window."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth"))

    def cut_off(self) -> list[str]:
        """The tables that are wider than their place, so that columns of them are out of sight; and what is written in
        pictures beyond their edge."""
        found: list[str] = self.driver.execute_script(_CUT_OFF)
        return found

    def complaints(self) -> list[str]:
        """What the browser has logged as errors since it was asked last."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]


@contextlib.contextmanager
def browser(url: str) -> Iterator[Browser]:
    """A window for as long as the block runs; skips where there is no Chromium."""
    chromium, driver_path = _found("chromium", "chromium-browser", "google-chrome"), _found("chromedriver")
    if not chromium or not driver_path:
        why = (
            "no Chromium with its driver is installed (make browser; Debian: apt-get install chromium chromium-driver)"
        )
        pytest.fail(why) if os.environ.get(REQUIRED) else pytest.skip(why)
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = chromium
    for each in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()


def _found(*names: str) -> str | None:
    """The first of these programs that there is: on PATH, or where CI puts it."""
    places = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{INSTALLED}"
    return next((found for name in names if (found := shutil.which(name, path=places))), None)
