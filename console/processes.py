"""Looking after the processes of `freshness up`: start in order, restart what ends, stop in reverse order.

    with ended_by_signals(), Supervisor([Child("receiver", [...]), Child("worker", [...])]) as house:
        house.wait()

Each child has a keeper, a thread that starts it, waits for its end and starts it again. The keeper outlives its
child, so the child dies with us however we die (`child`: the kernel binds that to the thread). What a child leaves
behind in its own process group when it ends is killed with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TextIO

from . import child
from .errors import ChildFailed

READY_POLL_S = 0.05
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
STEADY_S = 10.0  # a child that ran this long is restarted after the shortest pause again

#: Where our packages lie: the clone, or the directory that they are installed in.
HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Child:
    """A process to keep running.

    `env` is its whole environment, by default ours. `ready` says whether it does its work yet, and never raises;
    a child without one counts as ready once it is started.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    ready: Callable[[], bool] | None = None
    ready_within_s: float = 30.0


def of_ours(
    name: str,
    module: str,
    *arguments: str,
    environ: Mapping[str, str] = os.environ,
    ready: Callable[[], bool] | None = None,
) -> Child:
    """A child that runs a module of this very installation, which may be a clone that nobody has installed."""
    # -P: a package of the same name in the caller's directory is not ours.
    path = os.pathsep.join(filter(None, [str(HERE), environ.get("PYTHONPATH")]))
    environ = {**environ, "PYTHONPATH": path} if (HERE / "pyproject.toml").exists() else environ
    return Child(name, [sys.executable, "-P", "-m", module, *arguments], environ, ready, ready_within_s=60)


class Supervisor:
    """Keeps children running for as long as its block runs.

    Entering starts them in order, each after the one before it is ready. Leaving sends SIGTERM in reverse order,
    waiting for each `grace_s` at most and killing it then; a child started last is thus the first to go.
    """

    def __init__(self, children: Sequence[Child], grace_s: float = 10.0, out: TextIO | None = None) -> None:
        self._out = _Out(out or sys.stdout)
        self._keepers = [_Keeper(each, self._out) for each in children]
        self._grace_s = grace_s
        self._stopped = threading.Event()

    def __enter__(self) -> Supervisor:
        """Start all.

        Raises:
            ChildFailed: a child ended, or took too long, before it was ready. Those started before are stopped.
        """
        try:
            for keeper in self._keepers:
                keeper.begin()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> None:
        """Until `stop` is called by another thread, or an exception (`ended_by_signals`) ends the wait."""
        self._stopped.wait()

    def stop(self) -> None:
        """End all children. Returns when none runs."""
        for keeper in self._keepers:
            keeper.forget()
        for keeper in reversed(self._keepers):
            keeper.end(self._grace_s)
        self._stopped.set()

    def process_ids(self) -> dict[str, int]:
        """Who runs now, by name. A child between two starts is not in it."""
        return {keeper.child.name: pid for keeper in self._keepers if (pid := keeper.pid()) is not None}


class _Keeper:
    def __init__(self, child: Child, out: _Out) -> None:
        self.child = child
        self._out = out
        self._lock = threading.Lock()  # for _process, between its start, its end and a signal to it
        self._process: subprocess.Popen[str] | None = None
        self._first_end: int | None = None
        self._no_more = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keeper of {child.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + self.child.ready_within_s
        while self.child.ready is not None and not self.child.ready():
            if self._first_end is not None:
                raise ChildFailed(self.child.name, _how_it_ended(self._first_end))
            if time.monotonic() > deadline:
                raise ChildFailed(self.child.name, f"kept silent for {self.child.ready_within_s:g} s")
            time.sleep(READY_POLL_S)

    def forget(self) -> None:
        """Do not start it again."""
        self._no_more.set()

    def end(self, grace_s: float) -> None:
        if self._thread.ident is None:
            return
        self._signal(signal.SIGTERM)
        self._thread.join(grace_s)
        if self._thread.is_alive():
            self._out.say(self.child.name, f"still runs after {grace_s:g} s: killed")
            self._signal(signal.SIGKILL)
            self._thread.join()

    def pid(self) -> int | None:
        with self._lock:
            return self._process.pid if self._process else None

    def _signal(self, signum: signal.Signals) -> None:
        with self._lock:
            if self._process:
                self._process.send_signal(signum)

    def _keep(self) -> None:
        pause_s = FIRST_PAUSE_S
        while (process := self._start()) is not None:
            started = time.monotonic()
            code = self._wait(process)
            if self._first_end is None:
                self._first_end = code
            if self._no_more.is_set():
                return
            if time.monotonic() - started > STEADY_S:
                pause_s = FIRST_PAUSE_S
            self._out.say(self.child.name, f"{_how_it_ended(code)}; starts again in {pause_s:g} s")
            self._no_more.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _start(self) -> subprocess.Popen[str] | None:
        """A session of its own: Ctrl-C reaches us alone, and we stop the children in order."""
        with self._lock:
            if self._no_more.is_set():
                return None
            process = subprocess.Popen(  # noqa: S603  (the command lines of our own house)
                child.command(self.child.argv, signal.SIGTERM),
                env=self.child.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._process = process
        assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
        threading.Thread(target=self._out.copy, args=(self.child.name, process.stdout), daemon=True).start()
        return process

    def _wait(self, process: subprocess.Popen[str]) -> int:
        # While it is not reaped its number names nobody else, so the group to be killed is its own.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            with suppress(PermissionError):  # macOS, if the group is but this one, which has ended
                os.killpg(process.pid, signal.SIGKILL)
            self._process = None
            return process.wait()


class _Out:
    """Where the children's lines go, a whole line at a time: each with its child's name, but for a structured one."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def say(self, name: str, line: str) -> None:
        self._write(f"{name} | {line}\n")

    def copy(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                if line.startswith("{"):  # JSON for a log collector, which wants nothing before it
                    self._write(line)
                else:
                    self.say(name, line.rstrip("\n"))

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                self._out.write(text)
                self._out.flush()
            except (OSError, ValueError):
                pass  # nobody reads any more (a closed pipe); the children run on


class EndedBySignal(KeyboardInterrupt):
    """Raised in the main thread by `ended_by_signals`, so that every `with` on the way out cleans up.

    A Ctrl-C by its kind: psycopg then cancels the statement that it waits for. Of another kind the connection would
    stay in the midst of it, and its rollback raise in our place (measured).
    """


@dataclass
class Ended:
    """What ended the block: a signal, or nothing but itself."""

    by: signal.Signals | None = None


@contextmanager
def ended_by_signals() -> Iterator[Ended]:
    """Let SIGINT, SIGTERM and SIGHUP end the block from wherever it is; a second one does not disturb its cleanup.

    For the main thread. The block counts as done when a signal ended it; `Ended.by` tells which.
    """
    ended = Ended()

    def leave(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        ended.by = signal.Signals(number)
        raise EndedBySignal

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for each in before:
        signal.signal(each, leave)
    try:
        yield ended
    except EndedBySignal:
        pass
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _how_it_ended(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
