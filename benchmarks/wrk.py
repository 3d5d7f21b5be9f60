"""wrk, which sends a closed loop: each connection its next request once the last is answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .processes import done

_SCRIPT = Path(__file__).with_suffix(".lua")
#: Later than that is an error.
_ANSWERED_WITHIN_S = 20


def install() -> None:
    """Bring it here from Debian, once.

    Raises:
        RuntimeError: it is not here and cannot be had.
    """
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        done(["apt-get", "update", "-qq"], env)
        done(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk"], env)
    else:
        raise RuntimeError("wrk is not here; Debian's package of that name has it (apt-get install wrk)")


def version() -> str:
    """What it calls itself."""
    said = subprocess.run(["wrk", "--version"], capture_output=True, text=True, check=False).stdout  # it exits with 1
    return " ".join(said.split()[:2])


def run(requests: Path, first: int, port: int, connections: int, seconds: int) -> dict[str, Any]:
    """What came of so many seconds of the requests in this file, from this byte of it on: as `wrk.lua` says it.

    Raises:
        RuntimeError: wrk failed.
    """
    argv = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    argv += ["--timeout", f"{_ANSWERED_WITHIN_S}s", "--script", str(_SCRIPT), f"http://127.0.0.1:{port}"]
    said = done([*argv, "--", str(requests), str(first)])
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told
