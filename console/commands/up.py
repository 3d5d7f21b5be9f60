"""`freshness up`: the whole product on this machine, and `--demo`: a day in its life."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import sys
import threading
import time
from collections import deque

import click

from console import importing
from console.laptop import WORKERS, Laptop, running
from console.output import json_option, lines, plain, progress, say
from console.processes import ended_by_signals
from freshness.settings import SETTINGS
from jobs import log

#: What was made up and is told to scripts.
MADE_UP = ("DATABASE_URL", "REDIS_URL", "PORTAL_API_TOKEN", "CONSOLE_PASSWORD")

SOME_COLUMNS = "SELECT mlm_reference_number, status, loan_amount, ltv, hydrated_at FROM loans"


@click.command()
@click.option("--demo", is_flag=True, help="Act out a day in its life, and end: 0 only if every step held.")
@json_option
def command(demo: bool, as_json: bool) -> int:
    """Run the whole product on this machine until Ctrl-C, with whatever the settings leave out.

    Without DATABASE_URL and REDIS_URL it brings PostgreSQL and Redis along, without MLM's settings an MLM with 25
    made-up files, and takes it all away again. The demo brings everything of its own: it uses no setting.
    """
    return _act_out(as_json) if demo else _stay(as_json)


def _stay(as_json: bool) -> int:
    out = ForPeople(show=True)
    with ended_by_signals(), running(os.environ, out) as laptop:
        log.configure("up")
        if laptop.sandbox_url:
            _import(laptop)
        if as_json:
            lines([_places(laptop)])
        else:
            say(_page(laptop))
        threading.Event().wait()
    return 0


def _import(laptop: Laptop) -> None:
    """The sandbox begins anew with each start, and so does our copy of it."""
    engine, files, served = laptop.house.engine, laptop.sandbox_files(), 0
    with progress("Files", len(files)) as advance:
        for reached in importing.follow(engine, laptop.house.bell, importing.begin(engine, files).run):
            advance(reached.served - served)
            served = reached.served


def _act_out(as_json: bool) -> int:
    from console.demo import day

    ours = {name for each in SETTINGS for name in (each.name, f"{each.name}_FILE")}
    left_alone = sorted(ours & os.environ.keys())
    environ = {name: value for name, value in os.environ.items() if name not in ours} | day.SETTINGS
    if not as_json:
        say("A day in the life of 25 files. " + " ".join(f"{name}={value}" for name, value in day.SETTINGS.items()))
        if left_alone:
            say(f"Set in the environment and left alone: {', '.join(left_alone)}.")
    out, began, held = ForPeople(show=False), time.monotonic(), False
    with ended_by_signals() as ended:
        try:
            with running(environ, out, any_port=True) as laptop:
                log.configure("up")
                if not as_json:
                    say(f"\n{_what_runs(laptop)}\n  Started in {time.monotonic() - began:.1f} s.")
                held = day.act(laptop, as_json)
        finally:
            if not held and not ended.by:
                for line in out.last:
                    click.echo(line, err=True)
    if ended.by and not held:
        click.echo("Broken off.", err=True)
    return 0 if held else 1


def _what_runs(laptop: Laptop) -> str:
    mlm = "" if laptop.sandbox_url else str(laptop.settings.mlm_loan_service_url)
    rows = [("servers", each) for each in laptop.servers.describe()]
    rows.append(("MLM", mlm or f"a sandbox with made-up files on {laptop.sandbox_url}"))
    rows.append(("receiver", f"{laptop.receiver_url}, its API described at {laptop.receiver_url}/openapi.json"))
    rows.append(("console", f"{laptop.receiver_url}/console/{_signing_in(laptop)}"))
    rows.append(("jobs", f"{WORKERS} workers, 1 scheduler"))
    return "\n".join(f"  {name:<10}{what}" for name, what in rows)


def _signing_in(laptop: Laptop) -> str:
    password = laptop.made_up.get("CONSOLE_PASSWORD")
    return f", sign in as admin with {password}" if password else ""


def _places(laptop: Laptop) -> dict[str, str | None]:
    """Where everything is; the settings among it that were made up, by their names."""
    made_up = {name: laptop.made_up.get(name) for name in MADE_UP}
    return {
        "receiver": laptop.receiver_url,
        "console": f"{laptop.receiver_url}/console/",
        "sandbox": laptop.sandbox_url,
        **made_up,
    }


def _page(laptop: Laptop) -> str:
    """What runs where, and lines to copy."""
    shown = [name for name in ("DATABASE_URL", "REDIS_URL", "PORTAL_API_TOKEN") if name in laptop.made_up]
    exports = "".join(f"  export {name}={shlex.quote(laptop.made_up[name])}\n" for name in shown)
    told = "\n\n".join(f"  # {what}\n  {line}" for what, line in [*_first_tries(laptop), *_tries(laptop)])
    return (
        f"\nEverything runs. Ctrl-C ends it, and takes away what it brought.\n\n{_what_runs(laptop)}\n\n"
        f"Try it, in another terminal:\n\n{exports}\n{told}\n"
    )


def _first_tries(laptop: Laptop) -> list[tuple[str, str]]:
    """What brings something to look at."""
    if laptop.sandbox_url:
        edited = f"curl -X POST {laptop.sandbox_url}/api/files/{_ref(laptop)}/touch/assets"
        return [
            ("Somebody edits an asset of a file in MLM", edited),
            ("What else MLM can be made to do", f"curl {laptop.sandbox_url}/api/knobs/help"),
        ]
    webhook = "Where MLM is to send what changes, with a bearer of MLM_WEBHOOK_TOKEN"
    if not laptop.settings.mlm_webhook_token:
        webhook += " (which is not set: it answers 404)"
    return [
        ("Bring a file in, by its sLRefNm", f"{_program()} import REF"),
        (webhook, f"{laptop.receiver_url}/api/v1/loans/mlm/webhook"),
    ]


def _tries(laptop: Laptop) -> list[tuple[str, str]]:
    ref, api = _ref(laptop), f"{laptop.receiver_url}/api/v1"
    bearer = '-H "Authorization: Bearer $PORTAL_API_TOKEN"'
    return [
        ("Is our copy of it fresh, as of when, and if not, why?", f"curl {bearer} {api}/loans/{ref}/freshness"),
        ("What portal pages hear (leave it open, and edit something)", f"curl -N {bearer} {api}/events"),
        ("The tables that a portal reads", f"{_psql(laptop)} \"$DATABASE_URL\" -c '{SOME_COLUMNS}'"),
        ("What the webhooks came to", f"{_program()} receipts"),
        ("How everything stands, for Prometheus", f"curl {laptop.receiver_url}/metrics"),
        ("The story of one file", f"{_program()} explain {ref}"),
    ]


def _ref(laptop: Laptop) -> str:
    return laptop.sandbox_files()[0] if laptop.sandbox_url else "REF"


def _program() -> str:
    """How `freshness` is called here."""
    if shutil.which("freshness"):
        return "freshness"
    called = os.path.abspath(sys.argv[0])
    return shlex.quote(called) if called.endswith("freshness") else f"{shlex.quote(sys.executable)} -m console"


def _psql(laptop: Laptop) -> str:
    """The psql on PATH, or the one that came with the server."""
    ours = laptop.servers.postgresql and laptop.servers.postgresql.program.path.with_name("psql")
    return shlex.quote(str(ours)) if ours and ours.exists() and not shutil.which("psql") else "psql"


class ForPeople(io.StringIO):
    """Where the processes' lines go: of their JSON, people see warnings and worse, a line each; all other lines whole.

    `show=False` shows nothing. `last` keeps the newest of what is or would be shown.
    """

    def __init__(self, show: bool) -> None:
        super().__init__()
        self._show = show
        self.last: deque[str] = deque(maxlen=30)

    def write(self, line: str) -> int:
        """Take one whole line."""
        if shown := _for_people(line):
            self.last.append(shown)
            if self._show:
                click.echo(shown, err=True)
        return len(line)


def _for_people(line: str) -> str:
    try:
        told = json.loads(line)
    except ValueError:
        return plain(line.rstrip("\n"))
    if not isinstance(told, dict) or told.get("level") in (None, "debug", "info"):
        return ""
    rest = {
        name: value for name, value in told.items() if name not in ("level", "process", "event", "timestamp", "logger")
    }
    more = " ".join(f"{name}={value}" for name, value in rest.items())
    return plain(f"{told.get('process')} | {told['level']}: {told.get('event')} {more}")
