"""`freshness doctor`: whether everything that freshness needs is there and in order."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict

import click

from console.opening import open_house
from console.output import cell, json_option, lines, say
from freshness.ledger import deliveries, receipts

#: So many of the newest refused deliveries are looked at.
MOST_DELIVERIES = 200


@click.command(
    epilog="\b\nExamples:\n  freshness doctor\n  freshness doctor --last-delivery\n  freshness doctor --json"
)
@click.option("--last-delivery", is_flag=True, help="Show the newest webhook deliveries that were refused, and why.")
@json_option
def command(last_delivery: bool, as_json: bool) -> int:
    """Look whether everything is in order: settings, PostgreSQL, Redis, MLM, what runs and what waits.

    Each line is ok, warn (look at it) or fail (mend it), and says what to do. Exits 1 if one fails. MLM is signed in
    to once, and asked for the stamp of one file that we have; nothing is changed. Secrets are never shown.
    """
    if last_delivery:
        _last_deliveries(as_json)
        return 0
    from console.doctor.examining import examine
    from console.doctor.finding import State, tell
    from jobs import log

    log.configure("console")
    count: Counter[State] = Counter()
    for title, findings in examine(os.environ):
        count.update(each.state for each in findings)
        if as_json:
            lines(asdict(each) for each in findings)
        else:
            tell(title, findings)
    if not as_json:
        say(f"\n{count[State.OK]} ok, {count[State.WARN]} to look at, {count[State.FAIL]} to mend.")
    return 1 if count[State.FAIL] else 0


def _last_deliveries(as_json: bool) -> None:
    house = open_house("DATABASE_URL")
    with house.engine.begin() as conn:
        refusals = deliveries.last_refusals(conn, MOST_DELIVERIES)
        newest = receipts.newest_at(conn)
    if as_json:
        lines(refusals)
        return
    from console.doctor import refused

    refused.tell(refusals, house.settings)
    if not refusals:
        say("No delivery was refused.")
    say(f"The newest entry that was taken came at {cell(newest)}." if newest else "None was ever taken.")
