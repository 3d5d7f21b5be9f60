"""The sign of life of workers and schedulers, as a probe looks at it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from forked import Forked, run

from console.alive import beating
from console.cli import main

MLM = {
    "MLM_LOAN_SERVICE_URL": "http://127.0.0.1:9/los/webservice/Loan.asmx",
    "MLM_TOKEN_URL": "http://127.0.0.1:9/oauth/token",
    "MLM_CLIENT_ID": "us",
    "MLM_CLIENT_SECRET": "ours",
}


@pytest.mark.parametrize("kind", ["worker", "scheduler"])
def test_a_process_that_works_touches_its_file_again_and_again(
    kind: str, environment: Mapping[str, str], tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    process = Forked(
        main, (kind, "--alive", str(alive)), env={**os.environ, **environment, **MLM}, err=tmp_path / "err"
    )
    try:
        _await_touch_after(alive, 0)
        _await_touch_after(alive, alive.stat().st_mtime_ns)
    finally:
        process.kill()


def test_the_file_is_touched_though_the_beat_fails(tmp_path: Path) -> None:
    def beat() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        beating(tmp_path / "alive", beat)()

    assert (tmp_path / "alive").exists()


def test_a_worker_without_any_thread_is_wrong_use(environment: Mapping[str, str]) -> None:
    done = run("worker", "--threads", "0", "--prompt-threads", "0", env={**os.environ, **environment})

    assert done.returncode == 2
    assert "would do nothing" in done.stderr


def _await_touch_after(file: Path, when_ns: int) -> None:
    ends = time.monotonic() + 60
    while not file.exists() or file.stat().st_mtime_ns <= when_ns:
        assert time.monotonic() < ends, "it was not touched"
        time.sleep(0.01)
