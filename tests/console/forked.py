"""Commands as processes of their own that need not import anything: forked from one that has it all imported.

A start of Python and its imports cost a command 30 times what it does. What a start itself brings along (`python -m
console`, a module that lacks an import, a signal) is for tests that start one.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from console.cli import main
from console.commands import COMMANDS

WITHIN_S = 60.0
_OUT, _ERR = 1, 2

#: What commands import only when they run.
_LATE = ["console.backlog", "console.doctor.examining", "console.doctor.refused", "console.redriving"]
_LATE += ["console.replaying", "console.story", "jobs.house", "jobs.log", "rich.console", "rich.progress", "rich.table"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["console.cli", *(f"console.commands.{each}" for each, _ in COMMANDS.values()), *_LATE])


def freshness(*args: str, env: Mapping[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `freshness <args>` to its end, in this environment and no other."""
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        process = _context.Process(target=_become, args=(args, dict(env), cwd, out, err))
        process.start()
        process.join(WITHIN_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["freshness", *args], WITHIN_S, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(args, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))


def _become(args: tuple[str, ...], env: dict[str, str], cwd: Path | None, out: Path, err: Path) -> None:
    for path, number in ((out, _OUT), (err, _ERR)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd or os.getcwd())
    sys.argv = ["freshness", *args]
    main(args)
