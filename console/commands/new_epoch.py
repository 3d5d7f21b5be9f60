"""`freshness new-epoch`: files begin anew, after MLM was restored from a backup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from console.opening import open_house
from console.output import json_option, lines, progress, say
from console.parameters import ref
from console.processes import ended_by_signals
from freshness.errors import UnknownFile
from freshness.ledger import files, restores

if TYPE_CHECKING:
    from sqlalchemy import Engine


@click.command(epilog="\b\nExamples:\n  freshness new-epoch R000123 --yes\n  freshness new-epoch --all --yes")
@click.argument("refs", metavar="[REF]...", nargs=-1, type=ref)
@click.option("--all", "everything", is_flag=True, help="Every file that we have.")
@click.option("--yes", is_flag=True, help="Do it. Without this, nothing is done.")
@json_option
def command(refs: tuple[str, ...], everything: bool, yes: bool, as_json: bool) -> int:
    """Begin anew with files, because MLM was restored from a backup and shows older stamps than we hold.

    Nothing that we hold of them counts any more: they are stale until they have been read again, whole, and
    unconfirmed for up to MLM_READ_LAG more where something was told of them just before. That also
    happens by itself, some ten minutes after something asks for a file; this makes it happen now.
    """
    if everything == bool(refs):
        raise click.UsageError("name files, or say --all")
    if not yes:
        raise click.UsageError("this makes files stale until they have been read again; if you mean it, say --yes")
    house = open_house("DATABASE_URL", "REDIS_URL")
    begun = 0
    with ended_by_signals() as ended:
        ids = list(_all(house.engine) if everything else _named(house.engine, refs))
        with progress("Files", len(ids)) as advance:
            for file_id in ids:
                with house.engine.begin() as conn:
                    placed = restores.begin_anew(conn, house.rules, file_id)
                if not everything:
                    house.bell(placed.rings)  # of all files the sweep rings, as fast as MLM may be asked
                begun += 1
                advance(1)
    if as_json:
        lines([{"files": begun}])
    else:
        say(f"{begun} file{'' if begun == 1 else 's'} began anew, and {'is' if begun == 1 else 'are'} read again now.")
    return 1 if ended.by else 0


def _named(engine: Engine, refs: tuple[str, ...]) -> Iterator[int]:
    """The ids of these files, each once; none is touched if one is unknown."""
    with engine.begin() as conn:
        for each in dict.fromkeys(refs):
            found = files.find_by_ref(conn, each)
            if found is None:
                raise UnknownFile(None, each)
            yield found.id


def _all(engine: Engine) -> Iterator[int]:
    after = 0
    while True:
        with engine.begin() as conn:
            page = restores.file_ids(conn, after)
        if not page:
            return
        yield from page
        after = page[-1]
