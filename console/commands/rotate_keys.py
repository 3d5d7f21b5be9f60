"""`freshness rotate-keys`: everything sealed anew with the newest key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from console import rotating
from console.opening import open_house
from console.output import json_option, lines, plain, progress, say, table
from console.processes import ended_by_signals
from console.rotating import Rotation, Standing

if TYPE_CHECKING:
    from freshness.field_keys import FieldKeys
    from freshness.ledger.rotation import Broken

#: Of rows that are named so many are shown; --json has all.
MOST_ROWS = 20


@click.command(epilog="\b\nExample:\n  freshness rotate-keys --dry-run && freshness rotate-keys")
@click.option("--dry-run", is_flag=True, help="Only say which key has sealed how much.")
@json_option
def command(dry_run: bool, as_json: bool) -> int:
    """Seal everything that is encrypted anew with the newest key of FIELD_KEYS, while everything goes on working.

    First add the new key behind the old one everywhere, so that all can read it, then put it in front everywhere, so
    that all write with it; then this; then take the old key away (docs/security.md). Broken off, the same command goes
    on with what is left. Exits 1 if anything is left: sealed with a key that FIELD_KEYS does not hold, written with an
    older one by a process that has not been restarted, or damaged, so that its own key does not open it.
    """
    house = open_house("DATABASE_URL", "FIELD_KEYS")
    keys, sealed = house.keys, 0
    with ended_by_signals() as ended:
        now = rotating.standing(house.engine)
        if dry_run:
            _show(now, keys, as_json)
            return 0
        with progress("Values", now.older(keys).total()) as advance:
            rotation = Rotation(house.engine, keys)
            for lot in rotation.run():
                sealed += lot.sealed
                advance(lot.sealed)
        now = rotating.standing(house.engine)
    if ended.by:
        click.echo(
            plain("Broken off, and nothing is lost by it. The same command goes on with what is left."), err=True
        )
        return 1
    _tell(now, keys, sealed, rotation.broken, as_json)
    return 1 if now.older(keys) or now.lost(keys) else 0


def _show(now: Standing, keys: FieldKeys, as_json: bool) -> None:
    rows = [
        {"key": key, "table": name, "values": n, "held": key in keys.ids, "newest": key == keys.newest}
        for name, used in now.tables.items()
        for key, n in sorted(used.items())
    ]
    if as_json:
        lines(rows)
    else:
        table(rows, ("key", "table", "values", "held", "newest"), empty="Nothing is sealed yet.")


def _tell(now: Standing, keys: FieldKeys, sealed: int, broken: Sequence[Broken], as_json: bool) -> None:
    sealed_by_older, lost = now.older(keys), now.lost(keys)
    spare = [key for key in keys.ids[1:] if key not in sealed_by_older]
    older = sealed_by_older - Counter(each.key for each in broken)
    if as_json:
        told = {"newest": keys.newest, "sealed": sealed, "older": older, "lost": lost, "needed_no_more": spare}
        lines([told | {"broken": [asdict(each) for each in broken]}])
        return
    say(f"Sealed {sealed} {_values(sealed)} anew with key {keys.newest}.")
    for key, n in sorted(older.items()):
        say(
            f"Still under key {key}: {n} {_values(n)}. Some process writes with it: restart all with {keys.newest} in "
            "front of FIELD_KEYS, then run this again."
        )
    for key, n in sorted(lost.items()):
        say(
            f"Sealed with key {key}, which FIELD_KEYS does not hold: {n} {_values(n)}. Put that key behind the others, "
            "then run this again. If it is lost: `freshness import --all` reads from MLM again what came from there."
        )
    for (key, name), rows in _places(broken).items():
        shown = ", ".join(rows[:MOST_ROWS]) + (", …" if len(rows) > MOST_ROWS else "")
        say(
            f"Naming key {key}, and not opening with it: {len(rows)} {_values(len(rows))} of {name} (ids {shown}). "
            "Changed since, or sealed with another key of that id. What came from MLM: empty the row's sealed columns "
            "and their digests, then `freshness import` its file."
        )
    if spare and not older:
        say(f"No value in the database needs {', '.join(spare)} any more (a spool that has not been emptied may).")


def _places(broken: Sequence[Broken]) -> dict[tuple[str, str], list[str]]:
    """The ids of rows, by key and by table."""
    found: dict[tuple[str, str], list[str]] = {}
    for each in broken:
        found.setdefault((each.key, each.table), []).append(each.row)
    return found


def _values(number: int) -> str:
    return "value" if number == 1 else "values"
