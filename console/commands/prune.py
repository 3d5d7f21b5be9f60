"""`freshness prune-webhook-receipts`: old receipts and trails dropped."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict

import click

from console.opening import open_house
from console.output import json_option, lines, say
from console.parameters import age
from freshness.ledger import receipts


@click.command(epilog="\b\nExample:\n  freshness prune-webhook-receipts --older-than 30d")
@click.option("--older-than", metavar="AGE", type=age, default="90d", show_default=True, help="Such as 90d, 12h, 2w.")
@json_option
def command(older_than: dt.timedelta, as_json: bool) -> None:
    """Drop webhook receipts that are older than this, and the trails beside them: runs, orders, own writes, refusals.

    A receipt whose order is not served stays, however old. The scheduler does this weekly, at 90 days.
    """
    house = open_house("DATABASE_URL")
    with house.engine.begin() as conn:
        pruned = receipts.prune(conn, older_than)
    if as_json:
        lines([asdict(pruned)])
        return
    weeks = f"{len(pruned.weeks_dropped)} whole week{'' if len(pruned.weeks_dropped) == 1 else 's'} of receipts"
    rest = {name.replace("_", " "): n for name, n in asdict(pruned).items() if name != "weeks_dropped"}
    say(f"Dropped {weeks}; beside them: {', '.join(f'{name} {n}' for name, n in rest.items())}.")
