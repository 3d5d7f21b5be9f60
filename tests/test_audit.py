"""`make audit`: what is known is an error, so is what cannot be understood; that nobody answers is said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FAKE = """
import json, sys
out, err, code = json.load(open({said!r}))
print(out)
print(err, file=sys.stderr)
sys.exit(code)
"""

CLEAN = {"name": "fine", "version": "1", "vulns": []}
HOLE = {"name": "leaky", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "unheard-of", "skip_reason": "Dependency not found on PyPI and could not be audited: unheard-of (1)"}
#: The end of what pip-audit 2.9 says without a network, as seen.
NO_NETWORK = (
    "Traceback (most recent call last):\n  File …, in send\n    raise ProxyError(e, request=request)\n"
    "requests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries exceeded with url: /x"
)
TIMED_OUT = "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\nERROR:pip_audit._cli:Tip: …"
BAD_CERTIFICATE = "requests.exceptions.SSLError: HTTPSConnectionPool(host='pypi.org'): certificate verify failed"


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def audit(tmp_path: Path, out: str, err: str = "", code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the audit with a pip-audit that says this."""
    package = tmp_path / "pip_audit"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "said.json").write_text(json.dumps([out, err, code]))
    (package / "__main__.py").write_text(FAKE.format(said=str(tmp_path / "said.json")))
    return subprocess.run(
        [sys.executable, ROOT / "requirements" / "audit.py"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), **env},
        capture_output=True,
        text=True,
    )


def test_no_known_vulnerability_is_good_news_even_where_an_audit_is_required(tmp_path: Path):
    done = audit(tmp_path, report(CLEAN, CLEAN), AUDIT="required")
    assert (done.returncode, done.stderr) == (0, "")
    assert "run.txt: 2 of 2 packages audited" in done.stdout


def test_a_known_vulnerability_is_named_with_where_it_is_mended(tmp_path: Path):
    done = audit(tmp_path, report(CLEAN, HOLE, SKIPPED), code=1)
    assert done.returncode == 1
    assert "leaky 2: PYSEC-1, mended in 3" in done.stdout


@pytest.mark.parametrize(
    ("out", "err", "code"),
    [
        ("", "", 0),
        ("", "Traceback …\nKeyError: 'x'", 1),
        ("", BAD_CERTIFICATE, 1),
        ("Found 1 known vulnerability", "", 1),
        ("[]", "", 0),
        ("{}", "", 0),
        ('{"dependencies": ["leaky"]}', "", 0),
        (report(), "", 0),
        (report(CLEAN), "", 1),
        (report(HOLE), "", 0),
    ],
)
def test_what_is_no_audit_is_an_error(tmp_path: Path, out: str, err: str, code: int):
    done = audit(tmp_path, out, err, code)
    assert done.returncode == 1
    assert "THE AUDIT FAILED of run.txt: " in done.stderr


NOBODY = [("", NO_NETWORK, 1), ("", TIMED_OUT, 1), (report(CLEAN, SKIPPED), "", 0)]


@pytest.mark.parametrize(("out", "err", "code"), NOBODY)
def test_where_nobody_answers_it_says_that_no_audit_was_made(tmp_path: Path, out: str, err: str, code: int):
    done = audit(tmp_path, out, err, code)
    assert done.returncode == 0
    assert done.stderr.count("NO AUDIT WAS MADE of ") == 2


@pytest.mark.parametrize(("out", "err", "code"), NOBODY)
def test_where_an_audit_is_required_that_is_an_error(tmp_path: Path, out: str, err: str, code: int):
    assert audit(tmp_path, out, err, code, AUDIT="required").returncode == 1


def whole_run(tmp_path: Path, audit: str) -> subprocess.CompletedProcess[str]:
    """`.ci/run` where all that it calls does nothing, but for `make audit`, which does this."""
    (tmp_path / ".ci").mkdir()
    for place, program in (("make", f'case "$*" in *audit*) {audit} ;; esac'), (".ci/programs", ":")):
        (tmp_path / place).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / place).chmod(0o755)
    run = shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run([run], env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("run.txt: 2 of 2 packages audited", "== all held"),
        ("NO AUDIT WAS MADE of run.txt: x", "== all held, but no audit was made"),
    ],
)
def test_the_whole_run_does_not_call_itself_whole_without_an_audit(tmp_path: Path, said: str, last: str):
    done = whole_run(tmp_path, f'echo "{said}" >&2')
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, last)
    assert said in done.stdout


def test_the_whole_run_ends_with_an_audit_that_fails(tmp_path: Path):
    done = whole_run(tmp_path, "exit 2")
    assert done.returncode != 0
    assert "all held" not in done.stdout
