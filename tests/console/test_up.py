"""`freshness up` as its users meet it: a process of its own, started, used, ended, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from forked import run

from console.demo.comparing import TABLE_OF, differences
from console.laptop import SANDBOX_PORT, kept_key, key_at
from freshness.field_keys import FieldKeys
from freshness.ledger.files import import_file
from freshness.settings import load
from migrations.upgrade import driver_url

CLONE = Path(__file__).parents[2]
KEY = "dGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgb25seSwgMzI="
BARE = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(CLONE)}


def command(*args: str) -> list[str]:
    return [sys.executable, "-P", "-m", "console", "up", *args]


def refused(tmp_path: Path, **settings: str) -> tuple[int, str]:
    """How it ends, and its one line, where it must not start at all."""
    done = run("up", env=BARE | settings, cwd=tmp_path)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def eventually(holds: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def descendants(pid: int) -> set[int]:
    """Every process below this one."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    while more := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= more
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def scratch_directories(pids: set[int]) -> set[Path]:
    """The temporary directories that the servers among these processes run in."""
    found = set()
    for pid in pids:
        try:
            found |= {each for each in Path(f"/proc/{pid}/cwd").readlink().parents if "mlm-freshness-" in each.name}
        except OSError:
            continue
    return found


@contextmanager
def up(cwd: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`freshness up`, once it says where everything is."""
    process = subprocess.Popen(
        command("--json"), env=BARE | {"PORT": "0"} | settings, cwd=cwd, text=True, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"ended with {process.wait()}"
        yield process, json.loads(line)
    finally:
        process.terminate()
        process.wait(60)


def test_it_runs_answers_follows_mlm_and_takes_everything_away_again(tmp_path: Path) -> None:
    with up(tmp_path, FIELD_KEYS=KEY) as (process, places):
        children = descendants(process.pid)
        directories = scratch_directories(children)
        assert directories
        assert not places["sandbox"].endswith(f":{SANDBOX_PORT}"), "a house with PORT=0 wishes for no port"
        assert httpx.get(f"{places['receiver']}/readyz").json()["status"] == "ok"
        bearer = {"Authorization": f"Bearer {places['PORTAL_API_TOKEN']}"}
        url, touched = f"{places['receiver']}/api/v1/loans/R000001/freshness", f"{places['sandbox']}/api/files/R000001"
        assert httpx.get(url, headers=bearer).json()["ref"] == "R000001"
        stamp = httpx.post(f"{touched}/touch/assets").json()["stamp"]

        def held() -> str:
            told = httpx.get(url, headers=bearer).json()
            return told["state"] == "fresh" and told["mark"] >= stamp[:19]

        eventually(held)
        engine = sa.create_engine(driver_url(places["DATABASE_URL"]))
        check_comparing(engine, FieldKeys(load({"FIELD_KEYS": KEY}).field_keys), httpx.get(touched).json())
        engine.dispose()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert [pid for pid in children if runs(pid)] == []
    assert [path for path in directories if path.exists()] == []
    assert list(tmp_path.iterdir()) == []


def check_comparing(engine: sa.Engine, keys: FieldKeys, file: dict[str, Any]) -> None:
    """The demo's eyes: nothing differs, and a change in any table, a row too many, one too few, is seen."""
    with engine.connect() as conn:
        assert differences(conn, keys, file) == []
        changes = {
            "UPDATE loans SET ltv = ltv + 0.001 WHERE id = %(loan)s": "ltv",
            "UPDATE borrowers SET position = position + 1 WHERE loan_id = %(loan)s": "position",
            "UPDATE borrowers SET ssn_encrypted = NULL WHERE loan_id = %(loan)s": "ssn_encrypted",
            "UPDATE borrowers SET ssn_index = 'x' WHERE loan_id = %(loan)s": "ssn_index",
            "UPDATE assets SET account_number_last4 = '' WHERE loan_id = %(loan)s": "account_number_last4",
            "UPDATE assets SET borrower_id = NULL WHERE loan_id = %(loan)s": "borrower_id",
            "UPDATE liabilities SET balance = NULL WHERE loan_id = %(loan)s": "balance",
            "UPDATE employments SET is_self_employed = NOT is_self_employed WHERE loan_id = %(loan)s": (
                "is_self_employed"
            ),
            "UPDATE incomes SET employment_id = NULL WHERE loan_id = %(loan)s": "employment_id",
            "UPDATE conditions SET due_date = due_date + 1, description = 'x' WHERE loan_id = %(loan)s": "description",
            "UPDATE fees SET lqb_id = lqb_id || 'x' WHERE loan_id = %(loan)s": None,
            "UPDATE loans SET deleted_at = mlm_now() WHERE id = %(loan)s": "deleted_at",
            **{f"DELETE FROM {table} WHERE loan_id = %(loan)s": None for table in TABLE_OF.values()},
        }
        loan = conn.exec_driver_sql("SELECT id FROM loans WHERE mlm_reference_number = 'R000001'").scalar_one()
        conn.rollback()
        for change, column in changes.items():
            rows = conn.exec_driver_sql(change, {"loan": loan}).rowcount
            seen = differences(conn, keys, file)
            assert not rows or column in {each.column for each in seen}, change
            conn.rollback()
        gone = [each for each in differences(conn, keys, {**file, "deleted": True}) if each.column == "deleted_at"]
        assert gone, "a file deleted in MLM is no equal of one that is here"


@pytest.mark.slow  # the whole product once more; test_processes and test_embedded hold it of their own children
def test_when_it_is_killed_everything_ends_with_it(tmp_path: Path, database_url: str, redis_url: str) -> None:
    with up(tmp_path, FIELD_KEYS=KEY, DATABASE_URL=database_url, REDIS_URL=redis_url) as (process, places):
        assert places["DATABASE_URL"] is None, "the password of a given database is not printed"
        children = descendants(process.pid)
        assert len(children) >= 5
        process.kill()
        process.wait()
    eventually(lambda: not any(runs(pid) for pid in children))


def test_it_does_not_hold_somebodys_files_against_the_sandbox(
    tmp_path: Path, database_url: str, redis_url: str, engine: sa.Engine
) -> None:
    with engine.begin() as conn:
        import_file(conn, "LENDERS-OWN")
    code, line = refused(tmp_path, FIELD_KEYS=KEY, PORT="0", DATABASE_URL=database_url, REDIS_URL=redis_url)
    assert (code, line.split(": ")[1]) == (2, "DATABASE_URL")
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM file_freshness").scalar_one() == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"PORT": "eighty"}, "PORT"),
        ({"MLM_QUIET": "-1"}, "MLM_QUIET"),
        ({"FIELD_KEYS": "c2hvcnQ="}, "FIELD_KEYS"),
        ({"MLM_LOAN_SERVICE_URL": "https://mlm.example/Loan.asmx"}, "MLM_TOKEN_URL"),
        ({"DATABASE_URL": "postgresql://127.0.0.1/x", "XDG_CACHE_HOME": "/dev/null"}, "FIELD_KEYS"),
        ({"MLM_NAMES": "/no/such/file.toml"}, "MLM_NAMES"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(tmp_path: Path, settings: dict[str, str], named: str) -> None:
    code, line = refused(tmp_path, **settings)
    assert code == 2
    assert line.startswith(f"freshness: {named}: ")


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refused(tmp_path, PORT=str(port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in line


def test_the_key_of_a_database_that_is_kept_is_the_same_at_every_start_and_nobody_elses(tmp_path: Path) -> None:
    path = kept_key({"XDG_CACHE_HOME": str(tmp_path / "cache")})
    first = key_at(path)
    assert key_at(path) == first
    assert load({"FIELD_KEYS": first}).field_keys
    assert path.is_relative_to(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow  # MLM is asked twice, a minute apart, before a deleted file is purged
def test_the_demo_holds_every_step_whatever_is_set(tmp_path: Path) -> None:
    settings = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/not-ours", "PORT": "eighty", "MLM_QUIET": "9999"}
    done = subprocess.run(
        command("--demo", "--json"), env=BARE | settings, cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["story"] for each in told if not each["held"]] == []
    assert done.returncode == 0, done.stderr
    assert [each["step"] for each in told] == list(range(1, 12))
    assert list(tmp_path.iterdir()) == []
