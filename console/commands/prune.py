"""`freshness prune-webhook-receipts`: old receipts and trails dropped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict

import click

from console.opening import open_house
from console.output import json_option, lines, say
from console.parameters import age
from freshness.ledger import pruning


@click.command(epilog="\b\nExample:\n  freshness prune-webhook-receipts --older-than 30d")
@click.option("--older-than", metavar="AGE", type=age, default="90d", show_default=True, help="Such as 90d, 12h, 2w.")
@json_option
def command(older_than: dt.timedelta, as_json: bool) -> None:
    """Drop webhook receipts that are older than this, and the trails beside them: runs, orders, own writes, refusals.

    A receipt whose order is not served stays, however old. Whole weeks go at once; one that is in use at the moment, or
    has very many unserved receipts, stays and is named. Who did what in the web console stays for 400 days. The
    scheduler does this weekly, at 90 days and whole weeks.
    """
    house = open_house("DATABASE_URL")
    pruned = pruning.prune(house.engine.begin, older_than)
    if as_json:
        lines([asdict(pruned)])
        return
    rest = {name.replace("_", " "): n for name, n in asdict(pruned).items() if not name.startswith("weeks_")}
    beside = ", ".join(f"{name} {n}" for name, n in rest.items())
    say(f"Dropped {_weeks(pruned.weeks_dropped)} of receipts; beside them: {beside}.")
    if pruned.weeks_in_use:
        say(f"In use just now, to be dropped by another run: {', '.join(pruned.weeks_in_use)}.")
    if pruned.weeks_unserved:
        say(f"Kept for their unserved receipts (freshness receipts --unserved): {', '.join(pruned.weeks_unserved)}.")


def _weeks(names: Sequence[str]) -> str:
    return f"{len(names)} whole week{'' if len(names) == 1 else 's'}"
