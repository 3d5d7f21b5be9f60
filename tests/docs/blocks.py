"""The fenced blocks of the documents, and what stands above each: nothing, or a comment that says how it is run.

A block is run as it stands, unless the line above it is `<!-- not run: why -->`, `<!-- dry run -->` (`make -n`) or
`<!-- run by PATH -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "requirements/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)

#: Languages whose blocks are run. A block without one is a picture, or what a program prints.
RUN = ("sh", "python", "php", "http", "yaml", "ini")

_BLOCK = re.compile(r"(?:^<!-- (?P<said>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    said: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.said


def blocks(*languages: str) -> list[Block]:
    """Every block of these languages, in the order of the pages."""
    return [each for page in PAGES for each in _of(page) if each.language in languages or not languages]


def inline_commands(program: str) -> list[tuple[Path, str]]:
    """What stands in the running text as a command of this program."""
    found = []
    for page in PAGES:
        prose = _BLOCK.sub("", page.read_text("utf-8"))
        found += [(page, each) for each in re.findall(rf"`({program} [^`\n]*)`", prose)]
    return found


def _of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for each in _BLOCK.finditer(text):
        line = text.count("\n", 0, each.start()) + 1
        yield Block(page, line, each["language"], each["text"], each["said"] or "")
