"""The site is built strictly, and loads nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LOADED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)="([^"]*)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(build, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_of_the_documents_is_on_the_site(site: Path) -> None:
    pages = {each.relative_to(ROOT / "docs").with_suffix(".html") for each in (ROOT / "docs").rglob("*.md")}

    assert all((site / page).exists() for page in pages)


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = [each for each in _LOADED.findall(page.read_text("utf-8")) if re.match(r"(https?:)?//", each)]
        assert not loaded, page


def test_what_is_written_can_be_searched_for(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    found = {each["location"].partition("#")[0] for each in index["docs"] if "own_echo" in each["text"]}

    assert "protocol.html" in found


def test_the_settings_and_the_decisions_are_put_in(site: Path) -> None:
    assert "MLM_STAMP_ZONE" in (site / "settings.html").read_text("utf-8")
    assert "0001-rows-are-the-truth.html" in (site / "decisions" / "index.html").read_text("utf-8")
