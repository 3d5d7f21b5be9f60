"""`freshness migrate`: the database brought up to date, or back to an older step."""

from __future__ import annotations

import os

import click

from console.errors import UnknownStep
from console.output import json_option, lines, say
from freshness.settings import load
from jobs import log
from migrations.upgrade import downgrade, losses, step_of, steps, upgrade


@click.command(
    epilog="\b\nExamples:\n  freshness migrate\n  freshness migrate --to 0011\n  freshness migrate --to 0009 --yes"
)
@click.option("--to", "wanted", metavar="REVISION", help="This step, forward or back, instead of the newest.")
@click.option("--yes", is_flag=True, help="Go back though rows are lost by it.")
@json_option
def command(wanted: str | None, yes: bool, as_json: bool) -> None:
    """Bring the database at DATABASE_URL up to date, or with --to to another step.

    Safe to run again, and beside another run of itself. Before a step back, the processes go back to the version that
    the step belongs to. Some steps back lose rows; which is said first, and nothing is done without --yes.
    """
    settings = load(os.environ)
    settings.need("DATABASE_URL")
    url, known = str(settings.database_url), steps()
    step = wanted or known[-1]
    if step not in known:
        raise click.BadParameter(
            f"there is no step {step!r}; there are {known[0]}, {known[1]} to {known[-1]}", param_hint="--to"
        )
    log.configure("migrate")
    now = step_of(url)
    if now not in known:
        raise UnknownStep(now, known[-1])
    if known.index(step) < known.index(now):
        _warn(now, step, yes)
        downgrade(url, step)
    else:
        upgrade(url, step)
    if as_json:
        lines([{"revision": step}])
    elif step == known[-1]:
        say(f"The database is up to date, at step {step}.")
    else:
        say(f"The database is at step {step}; the newest is {known[-1]}.")


def _warn(now: str, step: str, yes: bool) -> None:
    """Say what going back from here to there loses.

    Raises:
        UsageError: something would be lost, and nobody has said that they mean it.
    """
    lost = [f"  below {each}: {what}" for each, what in losses(now, step)]
    if not lost:
        return
    told = "\n".join([f"going back from step {now} to {step} loses", *lost])
    if not yes:
        raise click.UsageError(f"{told}\nback up the database; then, if you mean it, say --yes")
    click.echo(f"Warning: {told}", err=True)
