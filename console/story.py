"""One file on one screen: is it fresh, as of which stamp of MLM's, and if not, why? And what happened to it lately."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshness.ledger.status import ConcernStatus, FileStatus

from .cells import decision, millisecond, second, served_after, span
from .output import ENDLESS, cell, plain

Story = Mapping[str, Sequence[Mapping[str, Any]]]

COLOURS = {"fresh": "green", "unconfirmed": "yellow", "unstamped": "yellow"}  # whatever else: red
TONES = {"bad": "red", "warn": "yellow"}
MOST_ROWS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence of the explanation, and how it is meant: plain, good, warn or bad."""

    text: str
    tone: str = "plain"


def headline(status: FileStatus) -> str:
    """Which file, and the state it is in."""
    return f"{status.kind or 'file'} {cell(status.ref)} is {status.state}{_since(status)}"


def explained(status: FileStatus, living_workers: int, calibrated: bool, away: str | None) -> list[Line]:
    """Why the file is in its state, the reason first. `away` says that MLM is, and is told if anything waits."""
    lines = []
    if status.state == "fresh":
        lines.append(Line(f"Equal to MLM as of its stamp {cell(status.mark)}.", "good"))
    lines += [Line(why) for why in _why(status)]
    if status.state == "stale" and not living_workers:
        lines.append(Line("No worker is running: nothing is read until `freshness worker` runs.", "bad"))
    if away and status.state != "fresh":
        lines.append(Line(plain(away, keep="\n"), "bad"))
    if status.confirm_at and status.state != "stale":
        lines.append(Line(f"To be confirmed at {cell(status.confirm_at)}."))
    stamps = {"mark": status.mark, "wanted": status.wanted, "captured": status.captured}
    told = ", ".join(f"{name} {millisecond(stamp)}" for name, stamp in stamps.items() if stamp)
    lines.append(Line(f"Stamps: {told or 'none seen yet'}. Orders: {status.ordered}, served {status.served}."))
    if not calibrated:
        lines.append(Line("No webhook's stamp has equalled a read's yet: every webhook orders.", "warn"))
    return lines


def what_became(write: Mapping[str, Any]) -> str:
    """What became of an own write, in words."""
    if write["abandoned_at"]:
        return "never exited: ended by the sweep, ordered"
    if write["captured_at"]:
        return f"captured at {second(write['captured_at'])}"
    closed = "closed by another write or a read, " if write["closed_at"] else ""
    if not write["exited_at"]:
        return f"{closed}not exited yet"
    if not write["exited_well"]:
        return f"{closed}ended badly, ordered"
    if closed:
        return f"{closed}ordered at its exit"
    return f"waits for its capture ({write['last_error']})" if write["last_error"] else "exited"


def rows_told(run: Mapping[str, Any]) -> str | None:
    """Which tables a run changed and by how many rows, and which fields it could not read."""
    changed: Mapping[str, int] = run["rows_changed"] or {}
    unread = ", ".join(f"{each.get('field')} unread" for each in run.get("unread") or ())
    rows = ", ".join(f"{table} {number}" for table, number in changed.items())
    return "; ".join(part for part in (rows, unread) if part) or None


def tell(status: FileStatus, story: Story, living_workers: int, calibrated: bool, away: str | None) -> None:
    """Print it. Colours only on a terminal; times are UTC. `away` says that MLM is, and is told if anything waits."""
    console = Console(width=None if sys.stdout.isatty() else ENDLESS, highlight=False, soft_wrap=False)
    head = Text(headline(status))
    head.highlight_words([status.state], style=_colour(status.state))
    console.print(head)
    for line in explained(status, living_workers, calibrated, away):
        console.print(Text(line.text, style=TONES.get(line.tone, "")))
    console.print()
    console.print(_concerns(status))
    for each in status.concerns:
        if each.last_error and each.state != "fresh" and not each.why:
            console.print(Text(f"{each.concern}: {cell(each.last_error)}{_ago(status, each.last_error_at)}"))
    sections = {
        "Orders": (_order, story["orders"]),
        "Runs": (_run, story["runs"]),
        "Receipts": (_receipt, story["receipts"]),
        "Own writes": (_own_write, story["own_writes"]),
    }
    for title, (shown, rows) in sections.items():
        if rows:
            console.print()
            console.print(Text(f"{title}, newest first", style="bold"))
            console.print(_table([shown(row) for row in rows[:MOST_ROWS]]))


def _why(status: FileStatus) -> Iterable[str]:
    """Why it is stale, concerns with the same reason together; else the ledger's own line."""
    if status.state != "stale":
        return [f"Why: {cell(status.why)}."] if status.why else []
    reasons: dict[str, list[str]] = {}
    for each in status.concerns:
        if each.why:
            why = f"{each.why} ({cell(each.last_error)})" if each.last_error else f"{each.why}"
            reasons.setdefault(why, []).append(each.concern)
    return [f"Why: {', '.join(concerns)}: {why}." for why, concerns in reasons.items()]


def _concerns(status: FileStatus) -> Table:
    return _table([_concern(status, each) for each in status.concerns])


def _concern(status: FileStatus, each: ConcernStatus) -> dict[str, Any]:
    waits = each.next_try_at and each.next_try_at > status.as_of and each.state == "stale"
    return {
        "concern": each.concern,
        "state": Text(each.state, style=_colour(each.state)),
        "held": millisecond(each.held),
        "tries": each.attempts or None,
        "next try": f"in {span(each.next_try_at - status.as_of)}" if waits and each.next_try_at else None,
        "why": each.why,
    }


def _order(row: Mapping[str, Any]) -> dict[str, Any]:
    placed, due = row["placed_at"], row["due_at"]
    later = f"{span(due - placed)} later" if due - placed > dt.timedelta(milliseconds=1) else "at once"
    return {"order": row["number"], "placed": second(placed), "due": later, "cause": row["cause"]}


def _run(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run ended": second(row["finished_at"]),
        "concern": row["concern"],
        "order": row["order_number"],
        "took": span(row["finished_at"] - row["started_at"]),
        "outcome": row["outcome"],
        "rows changed": rows_told(row),
    }


def _receipt(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "received": second(row["received_at"]),
        "event": row["event_type"],
        "decision": decision(row),
        "order": row["order_number"],
        "served": served_after(row),
        "rows": row["rows_changed"],
    }


def _own_write(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "own write": row["id"],
        "registered": second(row["registered_at"]),
        "capture": row["capture"],
        "what became of it": what_became(row),
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """These rows, all of the same keys, as columns; one in which nothing stands is left out."""
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    shown = Table(*names, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        cells = (row[name] for name in names)
        shown.add_row(*(each if isinstance(each, Text) else Text(cell(each)) for each in cells))
    return shown


def _since(status: FileStatus) -> str:
    return f" since {cell(status.since)}{_ago(status, status.since)}" if status.since else ""


def _ago(status: FileStatus, moment: dt.datetime | None) -> str:
    return f", {span(status.as_of - moment)} ago" if moment else ""


def _colour(state: str) -> str:
    return COLOURS.get(state, "red")
