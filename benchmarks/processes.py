"""Processes of a benchmark: started with their output in a file, ended with the block, whatever happens in it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
#: Where benchmarks keep what they install and write; not in the repository.
PLACE = ROOT / ".freshness" / "bench"

END_WITHIN_S = 20.0


@contextmanager
def running(
    argv: Sequence[str], log: Path, env: Mapping[str, str], ready: Callable[[], bool], cwd: Path = ROOT
) -> Iterator[int]:
    """A process for as long as the block runs; its id. The block begins once it is ready.

    Raises:
        RuntimeError: it ended, or was not ready within a minute; with the last lines of what it said.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env, cwd=cwd)
    try:
        deadline = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not come up: {tail(log)}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def done(argv: Sequence[str], env: Mapping[str, str] | None = None, given: str | None = None) -> str:
    """What a command printed.

    Raises:
        RuntimeError: it failed; with the last lines of what it said.
    """
    ran = subprocess.run(argv, env=env, input=given, capture_output=True, text=True, check=False, cwd=ROOT)
    if ran.returncode:
        raise RuntimeError(f"{' '.join(argv[:4])} … failed: {ran.stderr[-800:]}")
    return ran.stdout


def listens(port: int, path: str | None = None) -> Callable[[], bool]:
    """Whether somebody takes connections there; with a path, whether it is answered 200."""

    def look() -> bool:
        try:
            if path is None:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=2).status_code == 200
        except (OSError, httpx.HTTPError):
            return False

    return look


def says(log: Path, words: str) -> Callable[[], bool]:
    """Whether these words stand in a log."""
    return lambda: log.exists() and words in log.read_text(errors="replace")


def tail(log: Path) -> str:
    """The last lines of a log, as one."""
    return " / ".join(log.read_text(errors="replace").splitlines()[-8:]) if log.exists() else "it said nothing"
