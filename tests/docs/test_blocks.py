"""Every block of commands or code in the documents is run, or says why it is not."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import httpx
import pytest
import sqlalchemy as sa
import yaml
from blocks import ROOT, RUN, Block, blocks, inline_commands
from sqlalchemy.orm import Session
from the_reader import Reader

import freshness
from freshness.rules import Rules
from freshness.tables.portal import Borrower, Lead, Loan

PHP = shutil.which("php")
_CALLS = re.compile(r"freshness\('(\w+)', [\"']([^\"']+)[\"'](?:, (\[.*?\]))?\)")


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_a_block_is_of_a_language_that_is_run_or_shows_no_command(block: Block) -> None:
    if block.language:
        assert block.language in RUN
    else:
        assert not re.search(r"^(make|freshness|curl|docker|kubectl|pip) ", block.text, re.MULTILINE)


@pytest.mark.parametrize("block", [each for each in blocks() if each.said], ids=str)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    how, _, what = block.said.partition(": ")
    if how == "not run":
        assert len(what.split()) >= 4
    elif block.said != "dry run":
        path = re.fullmatch(r"run by (\S+)", block.said)
        assert path
        assert block.page.name in (ROOT / path[1]).read_text("utf-8"), "which should read this page"


@pytest.mark.parametrize("block", [each for each in blocks("sh") if each.said == "dry run"], ids=str)
def test_a_block_of_makes_names_targets_that_there_are(block: Block) -> None:
    for line in block.text.splitlines():
        _make(shlex.split(line, comments=True))


@pytest.mark.parametrize(("page", "command"), inline_commands("make"), ids=str)
def test_a_make_in_the_text_names_a_target_that_there_is(page: Path, command: str) -> None:
    _make(shlex.split(command.replace("…", "")))


@pytest.mark.parametrize(("page", "command"), inline_commands("freshness"), ids=str)
def test_a_command_in_the_text_is_one_that_there_is(page: Path, command: str) -> None:
    words = shlex.split(re.split("[…|>]", command)[0].replace("[", "").replace("]", ""))[1:]
    if words[-1:] != ["--help"]:
        words.append("--help")

    done = forked.run(*words, env={"PATH": os.environ["PATH"]})

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", [each for each in blocks("sh") if each.is_run], ids=str)
def test_a_block_of_commands_ends_well(block: Block, reader: Reader) -> None:
    if "jq " in block.text and shutil.which("jq") is None:
        pytest.skip("needs jq on PATH")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=reader.directory,
        env=reader.environ,
        input="a password of some length\n" * 5_000,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout or "export" in block.text


@pytest.fixture
def session(reader: Reader) -> Iterator[Session]:
    """A portal's session."""
    with Session(reader.laptop.house.engine) as session:
        yield session
    freshness.connect(Rules())


@pytest.mark.parametrize("block", [each for each in blocks("python") if each.is_run], ids=str)
def test_a_block_of_python_runs(
    block: Block, reader: Reader, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in reader.environ.items():
        monkeypatch.setenv(name, value)
    loan = session.scalars(sa.select(Loan).where(Loan.is_hydrated)).first()
    borrower = session.scalars(sa.select(Borrower).where(Borrower.loan_id == loan.id)).first()
    lead = session.scalars(sa.select(Lead)).first()
    portal = {"session": session, "loan": loan, "lead": lead, "borrower": borrower, "began": None, "change": None}

    exec(compile(block.text, str(block), "exec"), {**portal, "mlm": SimpleNamespace(save=_saver(reader))})


@pytest.mark.parametrize("page", sorted({each.page for each in blocks("http")}), ids=lambda page: page.name)
def test_a_pages_blocks_of_http_are_answered_in_turn_as_they_say(page: Path, reader: Reader) -> None:
    for block in (each for each in blocks("http") if each.page == page):
        asked, _, said = block.text.partition("HTTP/1.1 ")
        status, _, expected = said.partition("\n")

        answer = _ask(asked, reader)

        assert answer.status_code == int(status.split()[0]), f"{block}: {answer.text}"
        if expected.strip():
            _holds(json.loads(expected), answer.json())


def test_php_makes_the_calls_that_stand_there_in_plain_http() -> None:
    (php,) = blocks("php")
    plain = {_call(*_head(block.text), _body(block.text)) for block in blocks("http")}
    made = {
        _call(method, re.sub(r"\$file", "loans/R000001", re.sub(r"\$id", "7", path)), _php_keys(body))
        for method, path, body in _CALLS.findall(php.text)
    }

    assert len(made) == 3
    assert made <= plain


@pytest.mark.skipif(PHP is None, reason="needs php on PATH (Debian: apt-get install php-cli)")
@pytest.mark.parametrize("block", blocks("php"), ids=str)
def test_a_block_of_php_runs(block: Block, reader: Reader) -> None:
    program = reader.directory / "portal.php"
    program.write_text(block.text)

    done = subprocess.run([PHP, "-n", program], env=reader.environ, capture_output=True, text=True, check=False)

    outcome, state = done.stdout.split()
    assert outcome in ("capturing", "ordered")
    assert state in ("fresh", "unconfirmed", "stale")


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_block_of_yaml_names_what_there_is(block: Block, tmp_path: Path) -> None:
    shown = yaml.safe_load(block.text)
    if shown.get("kind") == "Kustomization":
        _build(block.text, tmp_path)
    else:
        assert all((ROOT / "deploy" / name).exists() for name in shown["rule_files"])
        assert set(shown) == {"scrape_configs", "rule_files"}


def _make(words: list[str]) -> None:
    if not words:
        return
    assert words[0] == "make"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _saver(reader: Reader) -> Any:
    """What a portal calls MLM with: any save will do."""

    def save(number: str, *change: object) -> None:
        files = httpx.get(f"{reader.laptop.sandbox_url}/api/files").json()["files"]
        (ref,) = [each["ref"] for each in files if number in each.values()]
        httpx.post(f"{reader.laptop.sandbox_url}/api/files/{ref}/touch/borrowers").raise_for_status()

    return save


def _ask(text: str, reader: Reader) -> httpx.Response:
    """Send a request as it stands there, `7` being the newest own write's id."""
    for name in ("PORTAL_API_TOKEN",):
        text = text.replace(f"${name}", reader.environ[name])
    head, _, body = text.partition("\n\n")
    first, *rest = head.splitlines()
    method, path = first.split()
    if "/own-writes/7/" in path:
        with reader.laptop.house.engine.begin() as conn:
            newest = conn.exec_driver_sql("SELECT max(id) FROM own_writes").scalar_one()
        path = path.replace("/7/", f"/{newest}/")
    headers = dict(line.split(": ", 1) for line in rest)
    return httpx.request(method, reader.laptop.receiver_url + path, headers=headers, content=body.strip())


def _holds(expected: dict[str, Any], answered: dict[str, Any]) -> None:
    """Every key is answered; words are of the words there are, numbers and states their own."""
    assert expected.keys() <= answered.keys()
    for key, value in expected.items():
        assert type(answered[key]) is type(value)


def _head(text: str) -> tuple[str, str]:
    method, path = text.splitlines()[0].split()
    return method, path


def _body(text: str) -> frozenset[str]:
    body = re.search(r"\n\n(\{.*?\})\n", text.partition("HTTP/1.1")[0])
    return frozenset(json.loads(body[1])) if body else frozenset()


def _php_keys(body: str) -> frozenset[str]:
    return frozenset(re.findall(r"'(\w+)' =>", body))


def _call(method: str, path: str, keys: frozenset[str]) -> tuple[str, str, frozenset[str]]:
    return method, path, keys


def _build(overlay: str, directory: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl on PATH")
    (directory / "overlay").mkdir()
    (directory / "overlay" / "kustomization.yaml").write_text(overlay)
    shutil.copytree(ROOT / "deploy", directory / "mlm-freshness" / "deploy", ignore=shutil.ignore_patterns("secrets"))
    build = ["kubectl", "kustomize", directory / "overlay"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "image: registry.example.com/mlm-freshness:" in done.stdout
