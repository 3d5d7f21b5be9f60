"""`freshness console-user`: what it prints is an entry that signs its owner in, and nothing of the password."""

from __future__ import annotations

import subprocess

import pytest
import sqlalchemy as sa
from a_console import console
from from_outside import BARE, argv

from freshness import passwords
from freshness.settings import load


def run(*args: str, typed: str = "a long one\n") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv("console-user", *args), input=typed, env=BARE, capture_output=True, text=True, timeout=60
    )


def test_the_entry_it_prints_signs_in(engine: sa.Engine, environment: dict[str, str]) -> None:
    done = run("ann", "--role", "operator")
    assert done.returncode == 0
    assert "a long one" not in done.stdout + done.stderr
    (ann,) = load({"CONSOLE_USERS": done.stdout}).console_users
    assert (ann.name, ann.role) == ("ann", "operator")
    with console(engine, environment | {"CONSOLE_USERS": done.stdout}) as web:
        assert web.nobody().sign_in("ann", "a long one").status_code == 303


@pytest.mark.parametrize("name", ["a:b", "a,b", "", "x" * 61])
def test_a_name_that_would_break_the_setting_is_refused(name: str) -> None:
    assert run(name).returncode == 2


def test_entries_stand_by_comma_or_one_a_line() -> None:
    kept = passwords.hashed("x")
    for between in (",", "\n", " ,\n"):
        users = load({"CONSOLE_USERS": f"ann:reader:{kept}{between}joe:operator:{kept}"}).console_users
        assert [(user.name, user.is_operator) for user in users] == [("ann", False), ("joe", True)]


def test_two_hashes_of_one_password_differ_and_both_hold() -> None:
    one, other = passwords.hashed("x"), passwords.hashed("x")
    assert one != other
    assert all(passwords.matches("x", kept) and not passwords.matches("y", kept) for kept in (one, other))


@pytest.mark.parametrize(
    "kept", ["", "x", "scrypt.14.8.1.AAAA.AAAA", "scrypt.40.8.1.AAAAAAAAAAAAAAAA." + "A" * 43, "bcrypt.1.1.1.A.A"]
)
def test_what_is_no_hash_of_ours_or_would_cost_the_machine_is_refused(kept: str) -> None:
    with pytest.raises(ValueError, match="no hash of a password"):
        passwords.read(kept)
