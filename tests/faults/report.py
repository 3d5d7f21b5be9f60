"""The table: on the screen as lines come in, as JSON, and between its markers in docs/reliability.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .scene import Line

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"

HELD, SHORT = "held", "FELL SHORT"


def table(lines: Sequence[Line]) -> str:
    """The lines for a screen."""
    rows = [
        ("fault", "figure", "limit", ""),
        *((each.fault, each.figure, each.limit, _verdict(each)) for each in lines),
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    told = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(told)


def in_full(line: Line) -> str:
    """One line with all that was seen."""
    told = [f"  {_verdict(line)}: {line.figure} (limit {line.limit})", f"  {line.seen}"]
    return "\n".join([*told, *(f"  ! {each}" for each in line.short)])


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """Everything, for a program."""
    return {**_where(), "lines": [asdict(each) for each in lines]}


def write(lines: Sequence[Line]) -> None:
    """Put the table into docs/reliability.md, in place of what stands between the markers."""
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{_markdown(lines)}\n{END}{after}", "utf-8")


def _markdown(lines: Sequence[Line]) -> str:
    where = _where()
    head = f"Measured {where['at']} at commit `{where['commit']}` on {where['machine']}, by `make faults`."
    rows = [f"| `{each.fault}` | {each.struck} | {each.figure} | {each.limit} | {_verdict(each)} |" for each in lines]
    return "\n".join(
        [head, "", "| fault | what was struck | figure | limit | |", "| --- | --- | --- | --- | --- |", *rows]
    )


def _verdict(line: Line) -> str:
    return HELD if line.held else SHORT


def _where() -> dict[str, str]:
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    at = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return {"at": at, "commit": git.stdout.strip() or "unknown", "machine": machine}
