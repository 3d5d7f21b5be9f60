"""`freshness samples`: the samples of the senders' guides, sent to a running instance."""

from __future__ import annotations

import click

from console.opening import open_house
from console.output import json_option, progress, say, show
from console.sampling import SENDERS

COLUMNS = ("sender", "sample", "status", "position", "outcome", "rows", "subject", "reason")


@click.command(
    epilog="\b\nExamples:\n  freshness samples\n  freshness samples showmojo --url https://portal.example.com --json"
)
@click.argument("senders", metavar="[SENDER]...", nargs=-1, type=click.Choice(SENDERS))
@click.option("--url", help="Where the instance listens; HOST and PORT by default.")
@json_option
def command(senders: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Send every sample of the senders' guides to a running instance, and print what landed.

    With the secrets of the environment, which must be the instance's, and against its database; the rows stay. A sender
    without a secret is skipped. Those that are no JSON are sent as they stand, to be refused with the byte at which
    they stop being it, and mended. Exits 1 if one did not land, or was not refused.
    """
    house = open_house("DATABASE_URL")
    from console import sampling

    settings = house.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    has = sampling.configured(settings)
    skipped = [name for name in senders or SENDERS if not has[name]]
    wanted = sampling.samples([name for name in senders or SENDERS if has[name]])
    with progress("Samples", len(wanted)) as advance:
        done = []
        for each in sampling.send(
            house.engine, settings, (url or f"http://{host}:{settings.port}").rstrip("/"), wanted
        ):
            done.append(each)
            advance(1)
    show(done, COLUMNS, as_json)
    amiss = [f"{each['sender']} {each['sample']}" for each in done if not each["as_meant"]]
    for name in skipped:
        click.echo(f"Skipped {name}: it has no secret here.", err=True)
    if not as_json:
        say(f"Not as it should be: {', '.join(amiss)}." if amiss else f"All {len(done)} as they should be.")
    return 1 if amiss else 0
