"""Commands as an operator meets them: run on a test's servers, from outside, and what they print."""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from freshness.ledger import batches
from freshness.ledger.batches import Entry
from freshness.rules import Rules

T = TypeVar("T")
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
RULES = Rules(resolution_s=0.004)
SEEDED, NEWER = "2026-11-01T10:00:00Z", "2026-11-01T11:00:00Z"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Run = Callable[..., subprocess.CompletedProcess[str]]


def argv(*args: str) -> list[str]:
    return [sys.executable, "-m", "console", *args]


def entry(ref: str | None, stamp: str | None, event: str = "Modified", fault: str | None = None) -> Entry:
    return Entry(ref, "2026110001", event, stamp, fault)


def receive(engine: sa.Engine, *entries: Entry, ago: dt.timedelta | None = None) -> None:
    with engine.begin() as conn:
        if ago is not None:
            then = dt.datetime.now(dt.UTC) - ago
            conn.exec_driver_sql("SELECT set_config('mlm.now', %(then)s, true)", {"then": then.isoformat()})
        batches.receive(conn, RULES, entries)


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text.strip()


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def until(look: Callable[[], T | None], within_s: float = 30.0) -> T:
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def rows(engine: sa.Engine, query: str) -> Sequence[sa.Row[Any]]:
    with engine.begin() as conn:
        return conn.exec_driver_sql(query).all()


def on_a_terminal(environment: dict[str, str], *args: str, code: int = 0) -> str:
    """What a command prints on a terminal of 80 columns, and that it exits with this code."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    env = BARE | environment | {"TERM": "xterm"}
    with subprocess.Popen(argv(*args), env=env, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        shown = b""
        while piece := _read(ours):
            shown += piece
        assert process.wait(30) == code, shown
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other end is closed
        return b""
