"""The table: on the screen as lines come in, as JSON, and between its markers in docs/reliability.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .scene import Line

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
COLUMNS = (
    "| fault | what was struck | figure | limit | | measured | commit |\n| --- | --- | --- | --- | --- | --- | --- |"
)

HELD, SHORT = "held", "FELL SHORT"

_ROW = re.compile(r"^\| `([a-z-]+)` \|.*$", re.MULTILINE)


def table(lines: Sequence[Line]) -> str:
    """The lines for a screen."""
    rows = [("fault", "figure", "limit", "")]
    rows += [(each.fault, each.figure, each.limit, _verdict(each)) for each in lines]
    widths = [max(len(row[place]) for row in rows) for place in range(4)]
    told = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(told)


def in_full(line: Line) -> str:
    """One line with all that was seen."""
    told = [f"  {_verdict(line)}: {line.figure} (limit {line.limit})", f"  {line.seen}"]
    return "\n".join([*told, *(f"  ! {each}" for each in line.short)])


@dataclass(frozen=True)
class Measured:
    """When, of what and on what a run began to measure."""

    at: str
    commit: str
    machine: str


def measured_here() -> Measured:
    """Now, the commit that is checked out, and this machine."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return Measured(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC", git or "unknown", machine)


def as_json(lines: Sequence[Line], measured: Measured) -> dict[str, Any]:
    """Everything, for a program."""
    return {**asdict(measured), "lines": [asdict(each) for each in lines]}


def write(lines: Sequence[Line], measured: Measured, order: Sequence[str]) -> None:
    """Put these lines into docs/reliability.md; those of other faults stay, all of them in this order."""
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {match[1]: match[0] for match in _ROW.finditer(old)} | {each.fault: _row(each, measured) for each in lines}
    told = [f"On {measured.machine}, by `make faults`:", "", COLUMNS, *(rows[name] for name in order if name in rows)]
    DOCUMENT.write_text("\n".join([f"{before}{BEGIN}", *told, f"{END}{after}"]), "utf-8")


def _row(line: Line, measured: Measured) -> str:
    when = (measured.at, f"`{measured.commit}`")
    cells = (f"`{line.fault}`", line.struck, line.figure, line.limit, _verdict(line), *when)
    return f"| {' | '.join(cells)} |"


def _verdict(line: Line) -> str:
    return HELD if line.held else SHORT
