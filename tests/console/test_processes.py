"""The supervisor, over real processes and real signals."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from console.errors import ChildFailed
from console.processes import Child, Supervisor

FOREVER = "import signal; signal.pause()"


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def eventually(holds: Callable[[], object], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Is it there, and not only a zombie that waits for a parent to look?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_lines_carry_their_childs_name_and_structured_ones_pass_as_they_are() -> None:
    out = io.StringIO()
    said = python("import sys; print('hello'); print('{\"a\":1}'); print('oh', file=sys.stderr); " + FOREVER)
    with Supervisor([Child("teller", said)], out=out):
        eventually(lambda: out.getvalue().count("\n") == 3)
    assert out.getvalue().splitlines() == ["teller | hello", '{"a":1}', "teller | oh"]


def test_a_child_starts_only_once_the_one_before_it_is_ready(tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    first = Child("first", python(f"open({str(flag)!r}, 'w'); {FOREVER}"), ready=flag.exists)
    second = Child("second", python(f"import os; print(os.path.exists({str(flag)!r})); {FOREVER}"))
    out = io.StringIO()
    with Supervisor([first, second], out=out):
        eventually(out.getvalue)
    assert out.getvalue() == "second | True\n"


def test_a_child_that_ends_before_it_is_ready_fails_the_start_and_ends_those_before_it() -> None:
    out = io.StringIO()
    steady = Child("steady", python(f"import os; print(os.getpid()); {FOREVER}"), ready=lambda: "\n" in out.getvalue())
    broken = Child("broken", python("raise SystemExit(2)"), ready=lambda: False)
    with pytest.raises(ChildFailed, match="broken ended with exit code 2"), Supervisor([steady, broken], out=out):
        pass
    assert not runs(int(re.search(r"steady \| (\d+)", out.getvalue())[1]))


def test_a_child_that_never_gets_ready_fails_the_start() -> None:
    silent = Child("silent", python(FOREVER), ready=lambda: False, ready_within_s=0.2)
    with pytest.raises(ChildFailed, match=r"silent kept silent for 0\.2 s"), Supervisor([silent], out=io.StringIO()):
        pass


def test_a_child_that_is_killed_is_started_again() -> None:
    out = io.StringIO()
    with Supervisor([Child("phoenix", python(f"print('up'); {FOREVER}"))], out=out) as house:
        eventually(lambda: "phoenix | up" in out.getvalue())
        first = house.process_ids()["phoenix"]
        os.kill(first, signal.SIGKILL)
        eventually(lambda: out.getvalue().count("phoenix | up") == 2)
        assert house.process_ids()["phoenix"] != first
    assert "phoenix | was ended by SIGKILL; starts again in 0.2 s" in out.getvalue()


def test_what_a_killed_child_leaves_behind_is_killed_too() -> None:
    out = io.StringIO()
    parent = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {FOREVER!r}]).pid); {FOREVER}"
    with Supervisor([Child("parent", python(parent))], out=out) as house:
        eventually(lambda: "\n" in out.getvalue())
        grandchild = int(re.search(r"parent \| (\d+)", out.getvalue())[1])
        os.kill(house.process_ids()["parent"], signal.SIGKILL)
        eventually(lambda: not runs(grandchild))


def test_children_are_ended_in_reverse_order() -> None:
    out = io.StringIO()
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit())); print('up'); "
    names = ["one", "two", "three"]
    with Supervisor([Child(name, python(code + FOREVER)) for name in names], out=out):
        eventually(lambda: out.getvalue().count("up") == 3)
    eventually(lambda: out.getvalue().count("bye") == 3)
    assert re.findall(r"(\w+) \| bye", out.getvalue()) == ["three", "two", "one"]


def test_a_child_deaf_to_sigterm_is_killed_once_its_grace_is_over() -> None:
    out = io.StringIO()
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); "
    with Supervisor([Child("rock", python(f"{code}\nwhile True: signal.pause()"))], grace_s=0.2, out=out) as house:
        eventually(lambda: "deaf" in out.getvalue())
        pid = house.process_ids()["rock"]
    assert not runs(pid)


def test_stop_ends_a_wait_in_another_thread_and_comes_between_two_starts() -> None:
    out = io.StringIO()
    with Supervisor([Child("flapping", python("raise SystemExit(1)"))], out=out) as house:
        eventually(lambda: "starts again" in out.getvalue())
        waiter = threading.Thread(target=house.wait)
        waiter.start()
        house.stop()
        waiter.join(15)
        assert not waiter.is_alive()
        assert house.process_ids() == {}


HOUSE = """
import sys
from console.processes import Child, Supervisor, ended_by_signals
code = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
with ended_by_signals() as ended, Supervisor([Child(name, [sys.executable, "-c", code]) for name in "ab"]) as house:
    house.wait()
print("ended by", ended.by.name)
"""


@pytest.fixture
def house() -> subprocess.Popen[str]:
    with subprocess.Popen([sys.executable, "-c", HOUSE], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_house_in_good_order(house: subprocess.Popen[str], signum: signal.Signals) -> None:
    pids = [int(house.stdout.readline().split("|")[1]) for _ in "ab"]
    house.send_signal(signum)
    rest, _ = house.communicate(timeout=30)
    assert (rest, house.returncode) == (f"ended by {signum.name}\n", 0)
    assert not any(map(runs, pids))


def test_children_die_with_a_house_that_is_killed(house: subprocess.Popen[str]) -> None:
    pids = [int(house.stdout.readline().split("|")[1]) for _ in "ab"]
    assert all(map(runs, pids))
    house.kill()
    for pid in pids:
        eventually(lambda pid=pid: not runs(pid))
