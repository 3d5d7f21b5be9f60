"""What the documents say of the code is so."""

from __future__ import annotations

import re
from pathlib import Path

from freshness import settings
from freshness.guard import Outcome
from freshness.state import State

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")


def test_the_readme_lists_every_setting_as_the_code_declares_it() -> None:
    shown = README.split("<!-- settings: begin -->")[1].split("<!-- settings: end -->")[0].strip()

    assert shown == settings.as_markdown()


def test_every_outcome_and_state_is_explained_in_the_protocol() -> None:
    missing = [word.value for word in (*Outcome, *State) if word.value not in PROTOCOL]

    assert not missing


def test_every_file_and_folder_the_documents_link_to_is_there() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", page.read_text("utf-8"))
        missing = [link for link in links if not (page.parent / link).exists()]
        assert not missing, page
