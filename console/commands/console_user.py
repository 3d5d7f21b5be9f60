"""`freshness console-user`: an entry of CONSOLE_USERS, with the hash of a password that is typed in."""

from __future__ import annotations

import sys

import click

from console.output import json_option, lines
from freshness.passwords import hashed


@click.command(
    epilog="\b\nExamples:\n  freshness console-user ann\n  freshness console-user joe --role operator >> console_users"
)
@click.argument("name")
@click.option("--role", type=click.Choice(["reader", "operator"]), default="reader", show_default=True)
@json_option
def command(name: str, role: str, as_json: bool) -> None:
    """Ask for a password and print NAME's entry for CONSOLE_USERS, or for the file that CONSOLE_USERS_FILE names.

    The password is read from the terminal, or as one line from standard input; only its scrypt hash is printed. Readers
    look, operators act too. Entries stand by comma, or one a line.
    """
    if not name.isprintable() or not name.strip() or len(name) > 60 or set(name) & set(":,\n"):
        raise click.BadParameter(f"{name!r} is no name: printable, at most 60 characters, neither colon nor comma")
    password = click.prompt("Password", hide_input=True, confirmation_prompt=sys.stdin.isatty(), err=True)
    entry = f"{name}:{role}:{hashed(password)}"
    if as_json:
        lines([{"name": name, "role": role, "entry": entry}])
    else:
        click.echo(entry)
