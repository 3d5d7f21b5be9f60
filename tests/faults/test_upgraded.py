"""What a rolling upgrade begins with, and when its deliveries were too slow; no host is needed for either."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from . import on_hosts
from .on_hosts import faults, slowed, upgraded_from

#: When the upgrade begins and ends, in a load of ten deliveries a second from 0 s on.
UPGRADING, SINCE = 30.0, 60.0
SENT = [each / 10 for each in range(600)]


@pytest.mark.parametrize(("slow_s", "within"), [(0.19, True), (0.21, False)])
def test_deliveries_may_take_twice_as_long_while_an_upgrade_runs_and_no_longer(slow_s: float, within: bool) -> None:
    delivered = [(at, 0.1 if at < UPGRADING else slow_s) for at in SENT]

    assert slowed(delivered, 0.0, UPGRADING, SINCE)[1] is within


def test_what_was_slow_before_or_after_the_upgrade_is_not_held_against_it() -> None:
    delivered = [(at, 0.1) for at in SENT] + [(-1.0, 9.0)] * 100 + [(SINCE, 9.0)] * 100

    assert slowed(delivered, 0.0, UPGRADING, SINCE) == ("p99 100 ms, 1.0 × the 100 ms before", True)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of three commits, whose second brought the newest migration."""
    monkeypatch.setattr(on_hosts, "ROOT", tmp_path)
    _git(tmp_path, "init", "--quiet")
    for step in ("0001_one", "0002_two"):
        (tmp_path / on_hosts.STEPS).mkdir(parents=True, exist_ok=True)
        (tmp_path / on_hosts.STEPS / f"{step}.py").touch()
        _commit(tmp_path, step)
    (tmp_path / on_hosts.STEPS / "0002_two.py").write_text("# better said")
    _commit(tmp_path, "changed, not new")
    return tmp_path


def test_without_a_release_it_begins_with_the_commit_before_the_newest_migration(clone: Path) -> None:
    old = upgraded_from()

    assert old is not None
    assert _git(clone, "log", "-1", "--format=%s", old) == "0001_one"
    assert f"`{old}`" in faults(old)[1].struck


def test_it_begins_with_the_newest_release_if_there_is_one(clone: Path) -> None:
    for tag in ("v0.9.0", "v0.10.0"):
        _git(clone, "tag", tag)

    assert upgraded_from() == "v0.10.0"


def test_a_clone_that_does_not_reach_back_says_that_the_same_code_runs_on_both_sides(
    clone: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shallow, nothing = tmp_path_factory.mktemp("shallow"), tmp_path_factory.mktemp("nothing")
    _git(shallow, "clone", "--quiet", "--depth=1", f"file://{clone}", ".")

    for directory in (shallow, nothing):
        monkeypatch.setattr(on_hosts, "ROOT", directory)
        assert upgraded_from() is None
    assert "the same code" in faults(None)[1].struck


def _commit(directory: Path, subject: str) -> None:
    _git(directory, "add", ".")
    _git(directory, "-c", "user.name=us", "-c", "user.email=us@example.com", "commit", "--quiet", "-m", subject)


def _git(directory: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=directory, check=True, capture_output=True, text=True).stdout.strip()
