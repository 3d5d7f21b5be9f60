"""BullMQ 6, its debounce: of jobs for one key that come within the delay of each other, the last is run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from ..processes import PLACE, done

VERSION = "6.7.0"
PACKAGES = (f"bullmq@{VERSION}", "ioredis@5.9.2")
LABEL = "BullMQ's debounce"

#: How long a key must be quiet before its job is run, and how many jobs are added at once.
DELAY_MS, AT_ONCE = 500, 50

_HOME = PLACE / "bullmq"


def install() -> None:
    """Bring it here from npm, once.

    Raises:
        RuntimeError: there is no node, or npm failed.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise RuntimeError("BullMQ needs Node.js and npm")
    stamp = _HOME / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        _HOME.mkdir(parents=True, exist_ok=True)
        done(["npm", "install", "--prefix", str(_HOME), "--no-audit", "--no-fund", "--no-save", *PACKAGES])
        stamp.write_text(" ".join(PACKAGES))


def debounced(redis_url: str, keys: int, saves: int) -> tuple[int, float, float]:
    """Add so many jobs for each of so many keys: runs, seconds until all are added, and from then to the last run.

    Raises:
        RuntimeError: for a key, the last job's data was not the last that was run with.
    """
    env = {**os.environ, "NODE_PATH": str(_HOME / "node_modules"), "REDIS_URL": redis_url, "NODE_ENV": "production"}
    numbers = [str(each) for each in (keys, saves, DELAY_MS, AT_ONCE)]
    told = json.loads(done(["node", str(Path(__file__).with_suffix(".cjs")), *numbers], env))
    if set(told["last"]) != {saves - 1} or len(told["last"]) != keys:
        raise RuntimeError(f"the last change was not the last that was run with, for some of {keys} keys")
    return told["runs"], told["adding_s"], told["running_s"]


def told() -> str:
    """What runs, for the document."""
    return f"BullMQ {VERSION}, deduplication with a delay of {DELAY_MS} ms, extended and replaced"
