"""`freshness refresh`: a file ordered to be read again."""

from __future__ import annotations

import click

from console.opening import open_house
from console.output import json_option, lines, say
from console.parameters import ref
from freshness.errors import UnknownFile
from freshness.ledger import files
from freshness.ledger.files import FileRef


@click.command(epilog="\b\nExample:\n  freshness refresh R000123")
@click.argument("ref", type=ref)
@json_option
def command(ref: str, as_json: bool) -> None:
    """Order a file that we have to be read from MLM again, whole, now.

    It does not wait for that; `freshness explain REF` tells how it goes. `freshness import REF` waits, and takes files
    that we do not have yet.
    """
    house = open_house("DATABASE_URL", "REDIS_URL")
    with house.engine.begin() as conn:
        found = files.find_by_ref(conn, ref)
        if found is None:
            raise UnknownFile(None, ref)
        kind: files.Kind = "lead" if found.kind == "lead" else "loan"
        placed = files.refresh(conn, house.rules, FileRef(kind, ref))
    house.bell(placed.rings)
    if as_json:
        lines([{"ref": ref, "order": placed.number}])
    else:
        say(f"Ordered {ref} (order {placed.number}).")
