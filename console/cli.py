"""The command `freshness`.

Exit codes: 0 done, 1 failed, 2 wrong use, which a missing or wrong setting is. What can be expected to go wrong (a
setting, no connection, a file that is not there, MLM away) is one line on standard error; a traceback means a bug.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from .commands import COMMANDS
from .output import plain

DONE, FAILED, WRONG_USE = 0, 1, 2

#: What is expected to go wrong, by module and class, the special before the general. By name, because a class need
#: not be imported to find out that nothing of its kind was raised.
EXPECTED: tuple[tuple[str, str, int], ...] = (
    ("freshness.errors", "SettingError", WRONG_USE),
    ("freshness.errors", "FreshnessError", FAILED),
    ("mlm_client.errors", "MlmError", FAILED),
    ("hydrators.errors", "HydrateError", FAILED),
    ("jobs.errors", "JobsError", FAILED),
    ("receiver.errors", "ReceiverError", FAILED),
    ("console.errors", "ConsoleError", FAILED),
    ("redis.exceptions", "ConnectionError", FAILED),
    ("redis.exceptions", "TimeoutError", FAILED),
    ("sqlalchemy.exc", "TimeoutError", FAILED),
    ("psycopg", "OperationalError", FAILED),
    ("psycopg.errors", "UndefinedTable", FAILED),
    ("psycopg.errors", "InsufficientPrivilege", FAILED),
)


class Commands(click.Group):
    """Commands that are imported when they run, and listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"console.commands.{COMMANDS[cmd_name][0]}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What a shell may complete to, from the table's own lines: pressing Tab imports no command."""
        found = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, from the table's own lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlm-freshness")
def freshness() -> None:
    """Keep a portal's copy of MLM loans and leads fresh, and say so only when it is.

    Settings come from the environment (DATABASE_URL, MLM_TOKEN_URL, …; the README lists them).
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. A command returns None, or its exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would be all that a process has in its hands, on a disk
    try:
        code = freshness.main(argv, prog_name="freshness", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(FAILED)
    except BrokenPipeError:  # whoever read us (`| head`) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        line, code = expected
        click.echo(f"freshness: {line}", err=True)
        sys.exit(code)
    sys.exit(code if isinstance(code, int) else DONE)


def _expected(error: Exception) -> tuple[str, int] | None:
    """The line to show and the exit code; None if nobody expected this."""
    error = getattr(error, "orig", None) or error  # SQLAlchemy's wrapping quotes the statement and its parameters
    for module, name, code in EXPECTED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return _line(error, name, module), code
    return None


def _line(error: Exception, name: str, module: str) -> str:
    if name == "UndefinedTable":
        return "the database lacks a table; `freshness migrate` brings it up to date"
    if name == "InsufficientPrivilege":
        return f"PostgreSQL: {plain(str(error).splitlines()[0])}; docs/security.md says which role this is for"
    first = plain((str(error) or type(error).__name__).splitlines()[0])
    places = {"redis.exceptions": "Redis: ", "sqlalchemy.exc": "PostgreSQL: ", "psycopg": "PostgreSQL: "}
    return places.get(module, "") + first
