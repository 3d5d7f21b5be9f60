"""`freshness receipts`: what MLM's webhooks came to."""

from __future__ import annotations

from typing import Any

import click

from console.cells import decision, second, served_after
from console.opening import open_house
from console.output import json_option, show
from console.parameters import ref, when
from freshness.guard import Outcome
from freshness.ledger import receipts
from freshness.ledger.receipts import Filter
from freshness.sending import Landing

OUTCOMES = list(dict.fromkeys([*(each.value for each in Outcome), *(each.value for each in Landing)]))

#: What fits on 80 columns; --json has every column.
COLUMNS = ("id", "received", "ref", "event", "decision", "served", "rows")


@click.command(
    epilog="\b\nExamples:\n"
    "  freshness receipts --ref R000123\n"
    "  freshness receipts --since 2h --outcome held\n"
    "  freshness receipts --unserved --json"
)
@click.option("--ref", "reference", metavar="REF", type=ref, help="Of this file only.")
@click.option("--number", help="Of this loan number only.")
@click.option("--outcome", metavar="OUTCOME", type=click.Choice(OUTCOMES), help=f"One of {', '.join(OUTCOMES)}.")
@click.option("--event", help="Of this event only, such as Modified.")
@click.option("--sender", help="Of this sender only: mlm, mmi, maxwell, collateralxp, showmojo.")
@click.option("--subject", help="Of this subject only, as in `lender 3029`.")
@click.option("--since", metavar="WHEN", type=when, help="Received then or later.")
@click.option("--until", metavar="WHEN", type=when, help="Received before then.")
@click.option("--unserved", is_flag=True, help="Only those whose order is not served yet.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
def command(as_json: bool, **wanted: Any) -> None:
    """List receipts of webhooks, newest first: what came, what was decided, when it was served.

    WHEN is a moment in UTC (2026-11-20, 2026-11-20T13:04) or how long ago (2h, 3d). `served` is how long after its
    receipt every part of the file had been read, `rows` how many rows changed by it. Among millions, --number and
    --event want --since beside them.
    """
    house = open_house("DATABASE_URL")
    with house.engine.begin() as conn:
        found = receipts.listed(conn, Filter(**wanted))
    show(found if as_json else map(_shown, found), COLUMNS, as_json, "No receipts.")


def _shown(receipt: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": receipt["id"],
        "received": second(receipt["received_at"]),
        "ref": receipt["reference_number"] or receipt["subject"],
        "event": receipt["event_type"],
        "decision": decision(receipt),
        "served": served_after(receipt),
        "rows": receipt["rows_changed"],
    }
