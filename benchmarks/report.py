"""The table: for a screen, as JSON, and with its picture between each group's markers in docs/performance.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import plots
from .table import Figure, Measured, Row, told

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "performance"
HELD, MISSED = "held", "MISSED"

_COLUMNS = (
    "| what | ours: median (min–max) | against | its median (min–max) | ratio (min–max) | mark | | stated |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)
_BESIDE = "| measured beside it | median (min–max) |\n| --- | --- |"


@dataclass(frozen=True)
class Run:
    """When, of what and on what a run began to measure."""

    at: str
    commit: str
    machine: str
    rounds: int


def run_here(rounds: int) -> Run:
    """Now, the commit that is checked out, and this machine."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    machine = f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}"
    machine += f", Python {platform.python_version()}"
    return Run(f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC", git or "unknown", machine, rounds)


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "unknown"


def table(rows: Sequence[Row]) -> str:
    """The rows for a screen."""
    lines = [["what", "ours", "against", "", "ratio", "mark", ""], *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(7)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def figures(beside: Sequence[Figure]) -> str:
    """What was measured beside the rows, for a screen."""
    return "\n".join(f"  {each.what}: {told(each.series, each.unit)}" for each in beside)


def as_json(measured: Mapping[str, Measured], run: Run) -> dict[str, Any]:
    """Everything, for a program."""
    groups = {
        name: {
            "rows": [{**asdict(row), "ratio": row.compared.median, "held": row.held} for row in each.rows],
            "figures": [asdict(figure) for figure in each.figures],
            "versions": list(each.versions),
            "took_s": each.took_s,
            "stolen": each.stolen,
        }
        for name, each in measured.items()
    }
    return {**asdict(run), "groups": groups}


def write(name: str, measured: Measured, run: Run) -> None:
    """Put this group's table and picture into the document; other groups' stay.

    Raises:
        LookupError: the document has no markers for this group.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    text = DOCUMENT.read_text("utf-8")
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise LookupError(f"{DOCUMENT.name} has no line {begin!r}, or none {end!r} after it")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(plots.picture(measured.rows), "utf-8")
    lines = [
        f"Measured {run.at} at `{run.commit}`, {run.rounds} rounds in {measured.took_s:.0f} s, on {run.machine}; "
        f"{'; '.join(measured.versions)}. Other machines had {measured.stolen:.1%} of the processors' time (steal).",
        "",
        _COLUMNS,
        *(f"| {' | '.join([*_cells(row), row.under])} |" for row in measured.rows),
        "",
        f"![Every round of every row, ours above whom it is held against]({PICTURES.name}/{name}.svg)",
        "",
        *([_BESIDE] if measured.figures else []),
        *(f"| {each.what} | {told(each.series, each.unit)} |" for each in measured.figures),
    ]
    DOCUMENT.write_text("\n".join([f"{before}{begin}", *lines, f"{end}{after}"]), "utf-8")


def _cells(row: Row) -> list[str]:
    theirs = row.theirs
    return [
        row.what,
        told(row.ours, row.unit),
        theirs.label if theirs else "–",
        told(theirs, row.unit) if theirs else "–",
        told(row.compared) if theirs else "–",
        str(row.mark),
        HELD if row.held else MISSED,
    ]
