"""`freshness migrate`: the database brought up to date."""

from __future__ import annotations

import os

import click
from alembic.script import ScriptDirectory

from console.output import json_option, lines, say
from freshness.settings import load
from migrations.upgrade import alembic_config, upgrade


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Bring the database at DATABASE_URL up to date.

    Safe to run again, and beside another run of itself.
    """
    settings = load(os.environ)
    settings.need("DATABASE_URL")
    url = str(settings.database_url)
    upgrade(url)
    revision = ScriptDirectory.from_config(alembic_config(url)).get_current_head()
    if as_json:
        lines([{"revision": revision}])
    else:
        say(f"The database is up to date, at step {revision}.")
