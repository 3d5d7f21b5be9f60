"""Commands as processes of their own that need not import anything: forked from one that has it all imported.

A start of Python and its imports cost a command 30 times what it does. What a start itself brings along (`python -m
console`, a module that lacks an import) is for tests that start one; each command has one that does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from console.child import PR_SET_PDEATHSIG
from console.cli import main
from console.commands import COMMANDS

WITHIN_S = 60.0
_OUT, _ERR = 1, 2

#: What commands import only when they run.
_LATE = ["console.backlog", "console.doctor.examining", "console.doctor.refused", "console.redriving"]
_LATE += ["console.replaying", "console.story", "jobs.house", "jobs.log", "rich.console", "rich.progress", "rich.table"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["console.cli", *(f"console.commands.{each}" for each, _ in COMMANDS.values()), *_LATE])


class Forked:
    """A process that runs `target(*args)` and ends with what it returns or exits with; as `Popen` where both have it.

    It runs in this environment and no other, in a session of its own, and dies with us.
    """

    def __init__(
        self,
        target: Callable[..., Any],
        *args: Any,
        env: Mapping[str, str],
        out: Path | None = None,
        err: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Standard output and error go into these files; where one is not given, where ours goes."""
        self._process = _context.Process(target=_become, args=(target, args, dict(env), out, err, cwd))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, a signal that killed it negative; None while it runs."""
        return self._process.exitcode

    def wait(self, within_s: float = WITHIN_S) -> int:
        """Its exit code, once it has ended. Raises TimeoutExpired."""
        self._process.join(within_s)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, within_s)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(*args: str, env: Mapping[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `freshness <args>` to its end, in this environment and no other."""
    with tempfile.TemporaryDirectory() as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        process = Forked(main, args, env=env, out=out, err=err, cwd=cwd)
        try:
            code = process.wait()
        finally:
            process.kill()
        return subprocess.CompletedProcess(args, code, out.read_text("utf-8"), err.read_text("utf-8"))


def _become(
    target: Callable[..., Any],
    args: tuple[Any, ...],
    env: dict[str, str],
    out: Path | None,
    err: Path | None,
    cwd: Path | None,
) -> None:
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the forkserver ends with us
    for path, number in ((out, _OUT), (err, _ERR)):
        if path is not None:
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    sys.exit(target(*args))
