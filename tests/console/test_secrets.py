"""Secrets: from a file as well, and in no list of processes, no help, no error and no traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from from_outside import BARE, Run, argv, until

from console.commands import COMMANDS
from freshness.errors import SettingError
from freshness.settings import SETTINGS, Setting, Settings, check, load

SECRETS = [setting for setting in SETTINGS if setting.secret]
NAMED_SO = ("SECRET", "TOKEN", "PASSWORD", "KEYS", "DATABASE_URL", "REDIS_URL", "BASIC", "USERS", "API_KEY", "AWS_KEYS")
NO_SECRET = {"MLM_TOKEN_URL", "MLM_WEBHOOK_KEYS", "MAXWELL_API_KEY_HEADER"}

#: A value for each that it takes, with this in it.
PLANTED = "cGxhbnRlZC1zZWNyZXQ"
VALUES = {
    "DATABASE_URL": f"postgresql://somebody:{PLANTED}@127.0.0.1:9/nowhere",
    "CONSOLE_DATABASE_URL": f"postgresql://somebody:{PLANTED}@127.0.0.1:9/nowhere",
    "REDIS_URL": f"redis://:{PLANTED}@127.0.0.1:9/0",
    "FIELD_KEYS": f"{PLANTED}AAAAAAAAAAAAAAAAAAAAAAAA",
    "CONSOLE_USERS": f"ann:reader:scrypt.14.8.1.{PLANTED}.{'A' * 43}",
    "MAXWELL_AWS_KEYS": f"AKID:{PLANTED}",
    "MAXWELL_BASIC": f"maxwell:{PLANTED}",
}


def value_of(setting: Setting) -> str:
    return VALUES.get(setting.name, PLANTED)


@pytest.fixture
def planted() -> dict[str, str]:
    """Every secret set, and servers where nobody is."""
    named = {setting.name: value_of(setting) for setting in SECRETS}
    return named | {"MLM_LOAN_SERVICE_URL": "http://127.0.0.1:9/x", "MLM_TOKEN_URL": "http://127.0.0.1:9/t"}


def test_what_is_named_like_a_secret_is_one():
    likely = {setting.name for setting in SETTINGS if setting.name.endswith(NAMED_SO)} - NO_SECRET
    assert likely - {setting.name for setting in SECRETS} == set()


def test_what_is_a_secret_does_not_show_in_the_settings_repr(planted: dict[str, str]):
    assert PLANTED not in repr(load(planted))
    hidden = {field.name.upper() for field in fields(Settings) if not field.repr}
    assert {setting.name for setting in SECRETS} <= hidden


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_every_secret_can_come_from_a_file(setting: Setting, tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text(value_of(setting) + "\n")
    name = setting.name.lower()
    assert getattr(load({f"{setting.name}_FILE": str(file)}), name) == getattr(
        load({setting.name: value_of(setting)}), name
    )


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_a_file_that_cannot_be_read_is_named_and_nothing_else(setting: Setting, tmp_path: Path):
    with pytest.raises(SettingError, match=rf"^{setting.name}_FILE: cannot be read \(FileNotFoundError\)$"):
        load({f"{setting.name}_FILE": str(tmp_path / "missing")})


@pytest.mark.parametrize("setting", SECRETS, ids=lambda setting: setting.name)
def test_a_secret_that_cannot_be_understood_is_not_quoted(setting: Setting):
    (checked,) = [each for each in check({setting.name: f"{PLANTED}\x00://"}) if each.setting is setting]
    assert checked.shown is None
    assert PLANTED not in (checked.fault or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_shows_one(run: Run, planted: dict[str, str], name: str):
    done = run(name, "--help", **planted)
    assert done.returncode == 0
    assert PLANTED not in done.stdout + done.stderr


#: Each with what it needs to come as far as the servers that are not there.
AWAY = (
    ("receipts",),
    ("explain", "R000001"),
    ("refresh", "R000001"),
    ("migrate",),
    ("rotate-keys",),
    ("prune-webhook-receipts",),
    ("queues",),
    ("doctor",),
    ("import", "R000001"),
)


@pytest.mark.parametrize("arguments", AWAY, ids=lambda arguments: arguments[0])
def test_no_command_that_fails_shows_one(run: Run, planted: dict[str, str], arguments: tuple[str, ...]):
    done = run(*arguments, **planted)
    assert done.returncode != 0
    assert PLANTED not in done.stdout + done.stderr


CRASH = """
import os
from jobs import log
from jobs.house import House
from freshness.settings import load
log.configure("worker")
house = House(load(os.environ), "worker")
def deep(settings, secret):
    raise RuntimeError(f"what a library might say: {settings!r} {secret}")
import threading
thread = threading.Thread(target=deep, args=(house.settings, os.environ["MLM_CLIENT_SECRET"]))
thread.start()
thread.join()
deep(house.settings, os.environ["MLM_CLIENT_SECRET"])
"""


def test_a_process_that_crashes_says_where_and_nothing_that_was_in_its_hands(planted: dict[str, str]):
    done = subprocess.run(
        [sys.executable, "-c", CRASH], env=BARE | planted | {"PYTHONPATH": os.getcwd()}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError at") == 2
    assert PLANTED not in done.stderr


@pytest.mark.parametrize("name", ["receiver", "worker", "scheduler", "sandbox"])
def test_no_process_leaves_a_core_behind(environment: dict[str, str], name: str):
    """It is started where cores are allowed."""
    mlm = dict.fromkeys(("MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL"), "http://127.0.0.1:9/")
    env = BARE | environment | mlm | {"MLM_CLIENT_ID": "us", "MLM_CLIENT_SECRET": PLANTED, "PORT": "0"}
    program = [sys.executable, "-m", "console", name, *(["--port", "0"] if name == "sandbox" else [])]
    allowed = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)" && exec "$@"', "sh", *program]
    with subprocess.Popen(allowed, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            limits = Path(f"/proc/{process.pid}/limits")
            until(lambda: re.search(r"^Max core file size +0 +0 ", limits.read_text(), re.MULTILINE))
        finally:
            process.kill()


def _command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue


def test_no_secret_stands_in_the_list_of_processes(environment: dict[str, str]):
    """Of a process of ours while it runs, nor of the servers that `freshness up` and these tests start."""
    password = environment["DATABASE_URL"].partition("//")[2].partition("@")[0].partition(":")[2]
    redis_password = environment["REDIS_URL"].partition("//")[2].partition("@")[0].partition(":")[2]
    env = BARE | environment | {"PORT": "0", "PORTAL_API_TOKEN": PLANTED, "MLM_WEBHOOK_TOKEN": PLANTED}
    with subprocess.Popen(argv("receiver"), env=env, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            assert b"receiver.listening" in process.stderr.readline()
            lines = dict(_command_lines())
        finally:
            process.terminate()
    assert "receiver" in lines[process.pid]
    for secret in (PLANTED, password, redis_password, environment["FIELD_KEYS"]):
        assert secret
        assert [line for line in lines.values() if secret in line] == []
