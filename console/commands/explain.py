"""`freshness explain`: why a file is stale, on one screen."""

from __future__ import annotations

from dataclasses import asdict

import click

from console.opening import open_house
from console.output import json_option, lines
from console.parameters import ref
from freshness.ledger import calibration, status, workers


@click.command(epilog="\b\nExample:\n  freshness explain R000123")
@click.argument("ref", type=ref)
@json_option
def command(ref: str, as_json: bool) -> None:
    """Say why a file is stale, on one screen; or that it is fresh, and as of which stamp of MLM's.

    Then each of its concerns, and what happened to it lately: orders, runs of slices, receipts, own writes. --json
    is what GET /api/v1/…/freshness answers, with these trails beside it, whether stamps are calibrated, and the
    circuit, which is open while MLM is away (null if Redis cannot be asked).
    """
    house = open_house("DATABASE_URL")
    with house.engine.begin() as conn:
        found = status.freshness_of(conn, house.rules, ref)
        story = status.story_of(conn, ref)
        living = workers.living(conn)
        calibrated = calibration.calibration_of(conn).holds
    from console import away

    circuit, unknown = away.look(house.settings)
    if as_json:
        beside = {"calibrated": calibrated, "circuit": asdict(circuit) if circuit else None}
        lines([{**asdict(found), **story, **beside}])
        return
    from console.story import tell

    tell(found, story, living, calibrated, away.told(circuit, unknown))
