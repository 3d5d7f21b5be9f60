"""The processes as deploy/compose.yaml starts them, confined as it confines them: nobody, nothing to write to but /tmp.

No container engine is needed for that: a mount namespace of their own with a read-only root, another user, no
capabilities, none to be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from promised import ROOT

from console.laptop import _free_port, answers
from console.scratch import reachable_by_others, scratch

SERVICES = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"]
USER = "10001"
MLM = {
    "MLM_LOAN_SERVICE_URL": "http://127.0.0.1:9/los/webservice/Loan.asmx",
    "MLM_TOKEN_URL": "http://127.0.0.1:9/oauth/token",
    "MLM_CLIENT_ID": "us",
    "MLM_CLIENT_SECRET": "ours",
}
#: Everything read-only, but one directory, which the caller has made; then another user, for good.
CONFINE = 'mount -o remount,bind,ro / && mount -t tmpfs -o uid=$0,mode=0700 tmpfs "$1" && cd / && shift && exec "$@"'

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up"),
    pytest.mark.skipif(not all(map(shutil.which, ("unshare", "setpriv"))), reason="needs util-linux"),
    pytest.mark.skipif(
        not (reachable_by_others(ROOT) and reachable_by_others(Path(sys.executable))),
        reason="the clone, or its Python, lies where no other user can read it",
    ),
]

Confined = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def writable() -> Iterator[Path]:
    with scratch() as directory:
        (directory / "tmp").mkdir()
        yield directory / "tmp"


@pytest.fixture
def confined(environment: Mapping[str, str], writable: Path) -> Iterator[Confined]:
    """Starts a service's command, with these settings beside the usual ones."""
    started = []

    def start(name: str, **settings: str) -> subprocess.Popen[bytes]:
        args = [each.replace("/tmp", str(writable)) for each in SERVICES[name]["command"]]
        argv = f"setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs --bounding-set -all".split()
        argv += ["--inh-caps", "-all", sys.executable, "-P", "-m", "console", *args]
        bare = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        env = {**bare, "TMPDIR": str(writable), **environment, **MLM, **settings}
        started.append(subprocess.Popen(["unshare", "--mount", "sh", "-c", CONFINE, USER, writable, *argv], env=env))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_receiver_takes_deliveries(confined: Confined, writable: Path) -> None:
    port = _free_port("127.0.0.1")
    process = confined("receiver", HOST="127.0.0.1", PORT=str(port), SPOOL_DIR=f"{writable}/spool")

    _until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), process)

    _is_nobody(process)


@pytest.mark.parametrize("name", ["worker-prompt", "worker-hydrate", "scheduler"])
def test_a_process_without_a_port_works_and_shows_it(confined: Confined, writable: Path, name: str) -> None:
    process = confined(name)

    _until((Path(f"/proc/{process.pid}/root") / f"{writable}/alive".lstrip("/")).exists, process)

    _is_nobody(process)


def _until(holds: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < ends, "it did not come to work"
        time.sleep(0.05)


def _is_nobody(process: subprocess.Popen[bytes]) -> None:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if ":\t" in line
    )
    mounts = [line.split() for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines()]

    assert set(status["Uid"].split()) == {USER}
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert [each[5].split(",")[0] for each in mounts if each[4] == "/"] == ["ro"]
