"""What MkDocs does to our pages: they are written to be read in the repository, where they also lead to code."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from freshness import settings

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
SETTINGS, LISTED = "<!-- the settings' table -->", "<!-- the decisions -->"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)")


def on_config(config: Any, **_: Any) -> Any:
    """Every decision stands in the navigation."""
    for chapter in config.nav:
        for page in next(iter(chapter.values())) if isinstance(chapter, dict) else ():
            if isinstance(page, dict) and "Decisions" in page:
                page["Decisions"] += [f"decisions/{each.name}" for each in DECISIONS]
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that lead out of docs/ become the path that they lead to; the tables are put in."""
    here = PurePosixPath("docs", page.file.src_uri).parent

    def within(link: re.Match[str]) -> str:
        words, path, _ = link.groups()
        target = (ROOT / here / path).resolve()
        if target.is_relative_to(ROOT / "docs") and target.is_file():
            return link[0]
        return f"{words} (`{target.relative_to(ROOT)}`)" if words.strip("`") != str(target.relative_to(ROOT)) else words

    told = _LINK.sub(within, markdown)
    return told.replace(SETTINGS, settings.as_markdown()).replace(LISTED, _decisions())


def _decisions() -> str:
    return "\n".join(["| | decision |", "| --- | --- |", *map(_row, DECISIONS)])


def _row(decision: Path) -> str:
    number, _, title = decision.read_text("utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
    return f"| {number} | [{title}]({decision.name}) |"
