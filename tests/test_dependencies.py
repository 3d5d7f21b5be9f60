"""The locks hold what `pyproject.toml` asks for, each file by its hash; the linter looks for what is insecure."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", re.MULTILINE)


def wanted(*extras: str) -> list[Requirement]:
    own = [each for name in extras for each in EXTRAS[name] if not each.startswith("mlm-freshness")]
    return [Requirement(each) for each in (*PROJECT["project"]["dependencies"], *own)]


def locked(name: str) -> dict[str, set[str]]:
    """The versions of each package; several where they depend on the version of Python."""
    found: dict[str, set[str]] = {}
    for package, version in LOCKED.findall((ROOT / "requirements" / name).read_text("utf-8")):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


@pytest.mark.parametrize(("lock", "extras"), [("run.txt", ("otel",)), ("dev.txt", ("otel", "up", "dev"))])
def test_a_lock_has_all_that_is_asked_for_in_a_version_that_will_do(lock: str, extras: tuple[str, ...]):
    held = locked(lock)
    for each in wanted(*extras):
        versions = held.get(canonicalize_name(each.name))
        assert versions, f"{each.name} is missing: make lock"
        assert all(each.specifier.contains(version) for version in versions), f"{each}: make lock"


def test_what_builds_a_package_is_locked_too():
    held = locked("build.txt")
    for each in map(Requirement, PROJECT["build-system"]["requires"]):
        assert all(each.specifier.contains(version) for version in held[canonicalize_name(each.name)]), "make lock"


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", "build.txt"])
def test_every_package_is_locked_by_hash(lock: str):
    text = (ROOT / "requirements" / lock).read_text("utf-8")
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n\n")[2] or text)
    bare = [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]
    assert bare == []
    assert text.count("--hash=sha256:") >= 2 * len(locked(lock))


def test_what_runs_is_the_same_in_both():
    run, dev = locked("run.txt"), locked("dev.txt")
    assert {name: dev.get(name) for name in run} == run


def test_ruffs_security_rules_are_on_but_in_tests_and_benchmarks():
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    off = {where for where, rules in lint["per-file-ignores"].items() if "S" in rules}
    assert off == {"tests/**", "benchmarks/**"}
