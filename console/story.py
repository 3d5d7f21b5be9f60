"""One file on one screen: is it fresh, as of which stamp of MLM's, and if not, why? And what happened to it lately."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterable, Mapping, Sequence
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
MOST_ROWS = 5


def tell(status: FileStatus, story: Story, living_workers: int, calibrated: bool, away: str | None) -> None:
    """Print it. Colours only on a terminal; times are UTC. `away` says that MLM is, and is told if anything waits."""
    console = Console(width=None if sys.stdout.isatty() else ENDLESS, highlight=False, soft_wrap=False)
    for line in _head(status, living_workers, away):
        console.print(line)
    if not calibrated:
        console.print(Text("No webhook's stamp has equalled a read's yet: every webhook orders.", style="yellow"))
    console.print()
    console.print(_concerns(status))
    for each in status.concerns:
        if each.last_error and each.state != "fresh":
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


def _head(status: FileStatus, living_workers: int, away: str | None) -> Iterable[Text]:
    head = Text(f"{status.kind or 'file'} {cell(status.ref)} is ").append(status.state, style=_colour(status.state))
    if status.since:
        head.append(f" since {cell(status.since)}{_ago(status, status.since)}")
    yield head
    if status.state == "fresh":
        yield Text(f"Equal to MLM as of its stamp {cell(status.mark)}.")
    for why in _why(status):
        yield Text(why)
    if status.state == "stale" and not living_workers:
        yield Text("No worker is running: nothing is read until `freshness worker` runs.", style="red")
    if away and status.state != "fresh":
        yield Text(plain(away, keep="\n"), style="red")
    if status.confirm_at and status.state != "stale":
        yield Text(f"To be confirmed at {cell(status.confirm_at)}.")
    stamps = {"mark": status.mark, "wanted": status.wanted, "captured": status.captured}
    told = ", ".join(f"{name} {millisecond(stamp)}" for name, stamp in stamps.items() if stamp)
    yield Text(f"Stamps: {told or 'none seen yet'}. Orders: {status.ordered}, served {status.served}.")


def _why(status: FileStatus) -> Iterable[str]:
    """Why it is stale, concerns with the same reason together; else the ledger's own line."""
    if status.state != "stale":
        return [f"Why: {cell(status.why)}."] if status.why else []
    reasons: dict[str, list[str]] = {}
    for each in status.concerns:
        if each.why:
            reasons.setdefault(each.why, []).append(each.concern)
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
    changed: Mapping[str, int] = row["rows_changed"] or {}
    unread = ", ".join(f"{each.get('field')} unread" for each in row["unread"] or ())
    rows = ", ".join(f"{table} {number}" for table, number in changed.items())
    return {
        "run ended": second(row["finished_at"]),
        "concern": row["concern"],
        "order": row["order_number"],
        "took": span(row["finished_at"] - row["started_at"]),
        "outcome": row["outcome"],
        "rows changed": "; ".join(part for part in (rows, unread) if part) or None,
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
        "what became of it": _what_became(row),
    }


def _what_became(row: Mapping[str, Any]) -> str:
    if row["abandoned_at"]:
        return "never exited: ended by the sweep, ordered"
    if row["captured_at"]:
        return f"captured at {second(row['captured_at'])}"
    closed = "closed by another write or a read, " if row["closed_at"] else ""
    if not row["exited_at"]:
        return f"{closed}not exited yet"
    if not row["exited_well"]:
        return f"{closed}ended badly, ordered"
    if closed:
        return f"{closed}ordered at its exit"
    return f"waits for its capture ({row['last_error']})" if row["last_error"] else "exited"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """These rows, all of the same keys, as columns; one in which nothing stands is left out."""
    names = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    shown = Table(*names, box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        cells = (row[name] for name in names)
        shown.add_row(*(each if isinstance(each, Text) else Text(cell(each)) for each in cells))
    return shown


def _ago(status: FileStatus, moment: dt.datetime | None) -> str:
    return f", {span(status.as_of - moment)} ago" if moment else ""


def _colour(state: str) -> str:
    return COLOURS.get(state, "red")
