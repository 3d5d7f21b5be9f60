"""`freshness receiver` as a process of its own, to be stopped and killed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from forked import Forked
from running_receiver import MLM_TOKEN, OPEN, WEBHOOK

from console.cli import main

WITHIN_S = 60.0


def listen(*options: str) -> None:
    """`freshness receiver` at a free port."""
    main(["receiver", "--port", "0", *options])


@dataclass
class Process:
    """One that listens."""

    forked: Forked
    port: int

    def post(self, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {MLM_TOKEN}"}
        return httpx.post(f"http://127.0.0.1:{self.port}{WEBHOOK}", json=body, headers=headers, timeout=30)

    def end(self, signum: int) -> int:
        self.forked.send_signal(signum)
        return self.ended()

    def ended(self) -> int:
        return self.forked.wait(WITHIN_S)


@contextlib.contextmanager
def receiver_process(
    settings: Mapping[str, str], target: Callable[..., None] = listen, *args: str
) -> Iterator[Process]:
    """Run one with these settings until the block ends; then it is killed, unless it has ended."""
    environ = {**os.environ, **OPEN, "REDIS_URL": os.environ["MLM_TEST_REDIS_URL"], **settings}
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        forked = Forked(target, *args, env=environ, err=log)
        try:
            yield Process(forked, port_of(forked, log))
        finally:
            forked.kill()
            forked.wait()


def port_of(forked: Forked, log: Path) -> int:
    """The port it listens at, as it logs it."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        ended = forked.poll() is not None
        for line in log.read_text("utf-8").splitlines(keepends=True) if log.exists() else ():
            said = json.loads(line) if line.startswith("{") and line.endswith("\n") else {}
            if said.get("event") == "receiver.listening":
                return int(said["port"])
        assert not ended, "it ended before it listened"
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.01)
