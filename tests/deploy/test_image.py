"""The image, as far as it can be held to its word without building it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from forked import Forked
from promised import ROOT, complaint

from console.cli import main
from console.laptop import _free_port, answers

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _last(instruction: str) -> str:
    """What the last line of this kind says."""
    return re.findall(rf"^{instruction} +(.*)$", DOCKERFILE, re.MULTILINE)[-1]


def _environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV +(.*)$", DOCKERFILE.split("FROM")[-1], re.M))))


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_who_is_root() -> None:
    assert re.fullmatch(r"(\d+):\1", _last("USER"))
    assert int(_last("USER").split(":")[0]) >= 10_000


def test_the_image_is_built_from_every_package_and_lets_nothing_else_in() -> None:
    packages = {each.removesuffix("*") for each in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {each.split()[0] for each in re.findall(r"^COPY +(?!--from)(\w+ \w+)$", DOCKERFILE, re.MULTILINE)}
    let_in = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))

    assert copied == packages
    assert let_in == packages | {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements/build.txt",
        "requirements/run.txt",
    }
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"


def test_the_image_installs_what_is_locked_by_hash_and_us_as_it_is_written_down() -> None:
    written = re.findall(r"^(pip install .*)$", (ROOT / "requirements/README.md").read_text("utf-8"), re.MULTILINE)
    installed = re.findall(r"/opt/freshness/bin/(pip install .*?) *(?:&&.*)?$", DOCKERFILE, re.MULTILINE)

    assert installed == written


def test_the_image_keeps_nothing_that_it_was_built_with() -> None:
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements/build.txt").read_text("utf-8"), re.MULTILINE)
    (thrown_away,) = re.findall(r"pip uninstall --yes (.*)$", DOCKERFILE, re.MULTILINE)

    assert set(thrown_away.split()) == {*locked, "pip"}


def test_the_tests_run_on_what_is_locked_as_the_image_does() -> None:
    """`make venv` makes what they run on; it installs no package but by hash, and builds with what is locked."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "venv"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    installs = [line.partition(" install ")[2].split() for line in done.stdout.splitlines() if " install " in line]
    packages, ours = ([each for each in words if not each.startswith(("--q", "--disable"))] for words in installs)

    assert packages == ["--require-hashes", "--no-deps", "-r", "requirements/build.txt", "-r", "requirements/dev.txt"]
    assert ours == ["--no-deps", "--no-build-isolation", "--editable", "."]


def test_what_is_installed_has_the_packages_templates_scripts_and_samples() -> None:
    """Each kind of file that a package has beside modules is one that setuptools is told to take along."""
    taken = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    packages = [each.removesuffix("*") for each in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    files = [each for name in packages for each in (ROOT / name).rglob("*") if each.is_file()]
    # A process of another test may be writing its bytecode now, or have been killed at it.
    data = [each for each in files if each.suffix != ".py" and each.parent.name != "__pycache__"]

    assert len(data) > 40
    assert [each for each in data if not any(each.match(pattern) for pattern in taken)] == []


def test_the_image_starts_a_command_that_there_is() -> None:
    (entry,) = json.loads(_last("ENTRYPOINT"))

    assert entry in PROJECT["project"]["scripts"]
    assert not complaint(json.loads(_last("CMD")))


@pytest.fixture
def port(environment: Mapping[str, str], tmp_path: Path) -> int:
    port = _free_port("127.0.0.1")
    own = {"HOST": "127.0.0.1", "PORT": str(port), "SPOOL_DIR": str(tmp_path / "spool")}
    process = Forked(main, ("receiver",), env={**os.environ, **environment, **own}, err=tmp_path / "err")
    try:
        while not answers(f"http://127.0.0.1:{port}/readyz"):
            assert process.poll() is None, (tmp_path / "err").read_text()
        yield port
    finally:
        process.kill()


def test_the_health_check_holds_for_a_receiver_and_for_nothing_else(port: int) -> None:
    check = json.loads(re.search(r"^HEALTHCHECK .*?CMD +(\[.*\])$", DOCKERFILE, re.MULTILINE)[1])
    check[0] = sys.executable

    held = subprocess.run(check, env={"PORT": str(port)}, capture_output=True, check=False)
    failed = subprocess.run(check, env={"PORT": str(_free_port("127.0.0.1"))}, capture_output=True, check=False)

    assert held.returncode == 0
    assert failed.returncode != 0


def test_it_listens_where_it_says() -> None:
    assert _environment()["PORT"] == _last("EXPOSE")
    assert _environment()["HOST"] == "0.0.0.0"
