"""`freshness receiver` as a process of its own, to be stopped and killed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from running_receiver import MLM_TOKEN, OPEN, WEBHOOK

WITHIN_S = 60.0
COMMAND = (sys.executable, "-m", "console", "receiver", "--port", "0")


@dataclass
class Process:
    """One that listens."""

    popen: subprocess.Popen[str]
    port: int

    def post(self, body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {MLM_TOKEN}"}
        return httpx.post(f"http://127.0.0.1:{self.port}{WEBHOOK}", json=body, headers=headers, timeout=30)

    def end(self, signum: int) -> int:
        self.popen.send_signal(signum)
        return self.popen.wait(WITHIN_S)


@contextlib.contextmanager
def receiver_process(settings: Mapping[str, str], argv: Sequence[str] = COMMAND) -> Iterator[Process]:
    """Run one with these settings until the block ends; then it is killed, unless it has ended."""
    environ = {**os.environ, **OPEN, "PYTHONPATH": os.pathsep.join(sys.path)}
    environ |= {"REDIS_URL": os.environ["MLM_TEST_REDIS_URL"], **settings}
    with subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True) as popen:
        try:
            yield Process(popen, _port(popen))
        finally:
            popen.kill()


def _port(popen: subprocess.Popen[str]) -> int:
    """The port it listens at; what it says afterwards is read and dropped."""
    assert popen.stderr is not None
    for line in popen.stderr:
        said = json.loads(line) if line.startswith("{") else {}
        if said.get("event") == "receiver.listening":
            threading.Thread(target=popen.stderr.read, daemon=True).start()
            return int(said["port"])
    raise AssertionError("it ended before it listened")
