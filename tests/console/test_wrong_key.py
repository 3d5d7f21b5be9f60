"""A process with a wrong key of `FIELD_KEYS` does not begin: it would find all different and seal it anew."""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS
from from_outside import BARE, argv, one_line, rows, until

from console.doctor.examining import examine
from console.doctor.finding import Finding, State
from console.laptop import answers
from freshness.field_keys import FieldKeys
from freshness.ledger.body_keys import BodyKeys
from freshness.settings import load

RIGHT = FieldKeys(load({"FIELD_KEYS": FIELD_KEYS}).field_keys)
WRONG_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
WRONG = FieldKeys((bytes(32),))
ASSET = """
WITH file AS (INSERT INTO loans (mlm_reference_number) VALUES ('R000009') RETURNING id)
INSERT INTO assets (loan_id, lqb_id, account_number_encrypted) SELECT id, 'a-1', %(sealed)s FROM file
"""
PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")


@pytest.fixture
def settings(environment: dict[str, str], engine: sa.Engine) -> dict[str, str]:
    """Settings of any process, on a database with an account and a week's key sealed with the right key."""
    with engine.begin() as conn:
        conn.exec_driver_sql(ASSET, {"sealed": RIGHT.seal("0012345678")})
        BodyKeys(RIGHT).this_week(conn)
    mlm = dict.fromkeys(("MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL"), "http://127.0.0.1:9/")
    return environment | mlm | {"MLM_CLIENT_ID": "us", "MLM_CLIENT_SECRET": "hush", "PORT": "0"}


def ended(settings: dict[str, str], name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv(name), env=BARE | settings, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["worker", "receiver"])
def test_it_ends_with_a_line_that_names_the_keys_id_and_the_tables_and_no_key(settings: dict[str, str], name: str):
    done = ended(settings | {"FIELD_KEYS": WRONG_KEY}, name)
    assert (done.returncode, done.stdout) == (1, "")
    told = one_line(done.stderr)
    assert (
        f"FIELD_KEYS does not hold key {RIGHT.newest}, with which the newest values of assets, body_keys are sealed"
        in told
    )
    assert "FIELD_KEYS_LOST" in told
    assert WRONG_KEY not in told


@pytest.mark.parametrize(
    "keys",
    [
        {"FIELD_KEYS": f"{WRONG_KEY},{FIELD_KEYS}"},
        {"FIELD_KEYS": f"{FIELD_KEYS},{WRONG_KEY}"},
        {"FIELD_KEYS": WRONG_KEY, "FIELD_KEYS_LOST": RIGHT.newest.upper()},
    ],
    ids=["in front", "behind", "lost"],
)
def test_with_both_keys_or_one_that_is_named_as_lost_a_worker_begins(settings: dict[str, str], keys: dict[str, str]):
    with subprocess.Popen(argv("worker"), env=BARE | settings | keys, stderr=subprocess.PIPE) as worker:
        assert worker.stderr is not None
        assert any(b"worker.started" in line for line in worker.stderr)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0


def test_a_receiver_begins_without_postgresql(settings: dict[str, str]):
    """It has its spool; and no key of a week can be made without PostgreSQL."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = sa.make_url(settings["DATABASE_URL"]).set(port=9).render_as_string(hide_password=False)
    env = BARE | settings | {"DATABASE_URL": url, "PORT": str(port), "FIELD_KEYS": WRONG_KEY}
    with subprocess.Popen(argv("receiver"), env=env, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


def examined(settings: dict[str, str]) -> Finding:
    return next(each for _, part in examine(settings) for each in part if each.about == "sealed values")


def test_the_doctor_says_which_key_is_missing(settings: dict[str, str]):
    assert examined(settings).state is State.OK
    found = examined(settings | {"FIELD_KEYS": WRONG_KEY})
    assert (found.state, RIGHT.newest in found.what) == (State.FAIL, True)
    lost = examined(settings | {"FIELD_KEYS": WRONG_KEY, "FIELD_KEYS_LOST": RIGHT.newest})
    assert (lost.state, lost.do) == (State.WARN, "run: freshness import --all")


def test_the_statements_of_the_security_page_make_room_for_a_new_weeks_key(settings: dict[str, str], engine: sa.Engine):
    statements = re.findall(r"`(DELETE FROM [^`]+)`", PAGE)
    assert len(statements) == 2
    with engine.begin() as conn:
        for each in statements:
            conn.exec_driver_sql(each.replace("…", RIGHT.newest))
        week = BodyKeys(WRONG).this_week(conn)
    assert rows(engine, "SELECT encode(substr(key_encrypted, 2, 4), 'hex') FROM body_keys") == [(WRONG.newest,)]
    assert week.keys.open(week.seal("a body")) == "a body"
