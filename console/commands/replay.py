"""`freshness replay`: receipts' entries decided once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from console.commands.receipts import OUTCOMES
from console.errors import CannotReplay
from console.opening import open_house
from console.output import json_option, lines, progress, say, show, table
from console.parameters import ref, when
from console.processes import ended_by_signals
from freshness.guard import Outcome
from freshness.ledger import receipts, replays
from freshness.ledger.receipts import Filter
from freshness.ledger.replays import Replayed

if TYPE_CHECKING:
    from jobs.house import House

#: What fits on 80 columns; --json has every column.
COLUMNS = ("receipt", "ref", "event", "was", "now", "order")

#: Of subjects that were rebuilt.
REBUILT = ("subject", "sender", "done", "entries", "applied", "rows", "why")

#: Rows of the table; of more only the counts are shown.
MOST_ROWS = 50


@click.command(
    epilog="\b\nExamples:\n"
    "  freshness replay 4711 4712\n"
    "  freshness replay --outcome unknown_file --since 2d --dry-run\n"
    "  freshness replay --ref R000123 --since 1h --force"
)
@click.argument("ids", metavar="[RECEIPT]...", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--ref", "reference", metavar="REF", type=ref, help="Those of this file.")
@click.option("--number", help="Those of this loan number.")
@click.option("--outcome", metavar="OUTCOME", type=click.Choice(OUTCOMES), help=f"One of {', '.join(OUTCOMES)}.")
@click.option("--event", help="Those of this event, such as Modified.")
@click.option("--sender", help="Rebuild subjects of this sender: mmi, maxwell, collateralxp, showmojo.")
@click.option("--subject", help="This subject, as in `lender 3029`; with --sender.")
@click.option("--since", metavar="WHEN", type=when, help="Received then or later.")
@click.option("--until", metavar="WHEN", type=when, help="Received before then.")
@click.option("--force", is_flag=True, help="Order the file whatever the guard says.")
@click.option("--dry-run", is_flag=True, help="Show what would be decided, and change nothing.")
@json_option
def command(ids: tuple[int, ...], force: bool, dry_run: bool, as_json: bool, **wanted: Any) -> int:
    """Decide receipts' entries once more, by what we hold now: these receipts', or all that the options leave.

    Each entry is taken as it came (reference, event, stamp) and becomes a new receipt that names the old one. Malformed
    ones were not kept. --force makes an order of what would be skipped as held, ordered already or our own echo.
    WHEN is a moment in UTC (2026-11-20T13:04) or how long ago (2h, 3d). Exits 1 if a receipt that was named cannot be
    replayed; then none is.

    Of another sender than MLM the receipt's subject is rebuilt: its rows are emptied, and every entry of it lands again
    from the bodies that were kept. Where part of that history was dropped, it says so, changes nothing and exits 1.
    """
    if bool(ids) == any(value is not None for value in wanted.values()):
        raise click.UsageError("name receipts, or say which by options")
    house = open_house("DATABASE_URL", "REDIS_URL")
    old = _named(house, ids) if ids else _chosen(house, Filter(**wanted, limit=None))
    of_senders = [receipt for receipt in old if receipt["sender"] != replays.MLM]
    old = [receipt for receipt in old if receipt["sender"] == replays.MLM]
    whole = True
    with ended_by_signals() as ended:
        if old or not of_senders:
            _replay(house, old, force, dry_run, as_json)
        if of_senders:
            whole = _rebuild(house, of_senders, dry_run, as_json)
    if ended.by:
        click.echo("Broken off. What was replayed so far stays so.", err=True)
    return 1 if ended.by or not whole else 0


def _named(house: House, ids: tuple[int, ...]) -> list[dict[str, Any]]:
    with house.engine.begin() as conn:
        old = receipts.by_id(conn, ids)
    if missing := set(ids) - {receipt["id"] for receipt in old}:
        raise CannotReplay(min(missing), "there is none")
    for receipt in old:
        if not replays.can_be_replayed(receipt):
            raise CannotReplay(receipt["id"], "it is malformed, and such an entry is not kept")
    return old


def _chosen(house: House, wanted: Filter) -> list[dict[str, Any]]:
    with house.engine.begin() as conn:
        found = replays.chosen(conn, wanted)
    old = [receipt for receipt in found if replays.can_be_replayed(receipt)]
    if left_out := len(found) - len(old):
        click.echo(f"Malformed, and left out: {left_out}. Such entries are not kept.", err=True)
    return old


def _replay(house: House, old: list[dict[str, Any]], force: bool, dry_run: bool, as_json: bool) -> None:
    from console import replaying

    steps = replaying.replay(house.engine, house.rules, house.bell, old, force=force, dry_run=dry_run)
    if as_json:
        lines(map(asdict, steps))
        return
    with progress("Receipts", len(old)) as advance:
        done = list(_counted(steps, advance))
    table(map(_shown, done[:MOST_ROWS]), COLUMNS, "No receipts.")
    if len(done) > MOST_ROWS:
        say(f"… and {len(done) - MOST_ROWS} more; --json has them all.\n")
    if done:
        counts = Counter(each.outcome for each in done)
        what = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        say(f"{'Would be decided' if dry_run else 'Decided'}: {what}.")


def _rebuild(house: House, old: list[dict[str, Any]], dry_run: bool, as_json: bool) -> bool:
    """Whether every subject's history was whole."""
    from console.rebuilding import rebuild
    from receiver.reception import reception_of

    done = list(rebuild(house.engine, reception_of(house.settings), old, dry_run=dry_run))
    show(done, REBUILT, as_json, "No subjects.")
    return all(each["done"] for each in done)


def _counted(steps: Iterator[Replayed], advance: Any) -> Iterator[Replayed]:
    for each in steps:
        advance(1)
        yield each


def _shown(each: Replayed) -> dict[str, Any]:
    dispatched = each.outcome == Outcome.DISPATCHED
    return {
        "receipt": each.replay_of,
        "ref": each.reference_number,
        "event": each.event_type,
        "was": each.outcome_before,
        "now": f"{each.outcome}, {each.reason}" if dispatched else each.outcome,
        "order": each.order_number,
    }
