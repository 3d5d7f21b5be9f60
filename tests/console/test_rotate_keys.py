"""`freshness rotate-keys`: says which key has sealed what, seals anew, goes on after a kill, and says what is left."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from subprocess import PIPE, Popen

import sqlalchemy as sa
from from_outside import BARE, Run, argv, objects, on_a_terminal, rows, until

from console.rotating import Rotation
from freshness.field_keys import FieldKeys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
BEFORE, AFTER = FieldKeys((OLD,)), FieldKeys((NEW,))
ADD = """
WITH file AS (INSERT INTO loans (mlm_reference_number) VALUES ('R000009') RETURNING id)
INSERT INTO assets (loan_id, lqb_id, account_number_encrypted, account_number_index)
SELECT file.id, 'a-' || n, %(sealed)s, %(index)s FROM file, generate_series(1, %(number)s) n
"""
LEFT = "SELECT count(*) FROM assets WHERE encode(substr(account_number_encrypted, 2, 4), 'hex') = '{}'"


def text(*keys: bytes) -> str:
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)


def fill(engine: sa.Engine, number: int) -> None:
    with engine.begin() as conn:
        values = {"sealed": BEFORE.seal("0012345678"), "index": BEFORE.index("0012345678"), "number": number}
        conn.exec_driver_sql(ADD, values)


def left(engine: sa.Engine) -> int:
    return rows(engine, LEFT.format(BEFORE.newest))[0][0]


def test_it_seals_everything_anew_and_names_the_key_that_is_needed_no_more(start: Run, engine: sa.Engine):
    fill(engine, 3)
    (told,) = objects(start("rotate-keys", "--json", FIELD_KEYS=text(NEW, OLD)))
    assert told == {
        "newest": AFTER.newest, "sealed": 3, "older": {}, "lost": {}, "needed_no_more": [BEFORE.newest],
        "broken": [],
    }  # fmt: skip
    assert {AFTER.open(row[0]) for row in rows(engine, "SELECT account_number_encrypted FROM assets")} == {"0012345678"}


def test_a_dry_run_says_which_key_has_sealed_what_and_changes_nothing(run: Run, engine: sa.Engine):
    fill(engine, 2)
    (told,) = objects(run("rotate-keys", "--dry-run", "--json", FIELD_KEYS=text(NEW, OLD)))
    assert told == {"key": BEFORE.newest, "table": "assets", "values": 2, "held": True, "newest": False}
    assert left(engine) == 2


def test_killed_and_started_again_it_goes_on_with_what_is_left(
    environment: dict[str, str], run: Run, engine: sa.Engine
):
    fill(engine, 20_000)
    keys = {"FIELD_KEYS": text(NEW, OLD)}
    with Popen(argv("rotate-keys"), env=BARE | environment | keys, stdout=PIPE, stderr=PIPE) as process:
        until(lambda: left(engine) < 20_000)
        process.kill()
    remaining = left(engine)
    assert 0 < remaining < 20_000
    (told,) = objects(run("rotate-keys", "--json", **keys))
    assert (told["sealed"], left(engine)) == (remaining, 0)


def test_on_a_terminal_it_shows_how_far_it_is(environment: dict[str, str], engine: sa.Engine):
    fill(engine, 2)
    shown = on_a_terminal(environment | {"FIELD_KEYS": text(NEW, OLD)}, "rotate-keys")
    assert "2/2" in shown
    assert f"Sealed 2 values anew with key {AFTER.newest}." in shown


def test_what_a_lost_key_has_sealed_is_an_error_that_names_the_key_and_shows_none(run: Run, engine: sa.Engine):
    fill(engine, 2)
    done = run("rotate-keys", FIELD_KEYS=text(NEW))
    assert done.returncode == 1
    assert f"Sealed with key {BEFORE.newest}, which FIELD_KEYS does not hold: 2 values." in done.stdout
    assert text(NEW) not in done.stdout + done.stderr


DAMAGE = """
UPDATE assets SET account_number_encrypted = overlay(account_number_encrypted PLACING '\\xffffffff' FROM 20)
WHERE lqb_id = 'a-2'
"""


def damaged(engine: sa.Engine) -> str:
    """The id of one of three rows, of whose value a byte was changed."""
    fill(engine, 3)
    with engine.begin() as conn:
        conn.exec_driver_sql(DAMAGE)
    return str(rows(engine, "SELECT id FROM assets WHERE lqb_id = 'a-2'")[0][0])


def test_a_value_that_its_own_key_does_not_open_is_told_by_its_place_and_not_tried_for_ever(
    run: Run, engine: sa.Engine
):
    """The advice for one that is written under an older key all the time would not help."""
    row = damaged(engine)
    done = run("rotate-keys", FIELD_KEYS=text(NEW, OLD))
    assert done.returncode == 1
    assert "Sealed 2 values anew" in done.stdout
    assert f"Naming key {BEFORE.newest}, and not opening with it: 1 value of assets (ids {row})." in done.stdout
    assert "Still under key" not in done.stdout
    assert "needs" not in done.stdout, "its key is not said to be needed no more"


def test_for_scripts_it_is_apart_from_what_is_older_and_what_is_lost(run: Run, engine: sa.Engine):
    row = damaged(engine)
    done = run("rotate-keys", "--json", FIELD_KEYS=text(NEW, OLD))
    told = json.loads(done.stdout)
    assert (done.returncode, told["sealed"], told["older"], told["lost"]) == (1, 2, {}, {})
    assert told["broken"] == [{"table": "assets", "column": "account_number", "row": row, "key": BEFORE.newest}]


def test_a_rotation_looks_at_it_once_and_ends(engine: sa.Engine):
    damaged(engine)
    rotation = Rotation(engine, FieldKeys((NEW, OLD)))
    assert sum(1 for lot in rotation.run() if lot.table == "assets") == 1
    assert [each.table for each in rotation.broken] == ["assets"]


def test_without_keys_it_is_wrong_use(run: Run):
    done = run("rotate-keys", FIELD_KEYS="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "FIELD_KEYS" in done.stderr


def test_the_command_of_the_security_page_makes_a_key_that_can_be_used(run: Run, engine: sa.Engine):
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text("utf-8")
    (command,) = [line for line in page.splitlines() if line.startswith("python3 -c")]
    made = subprocess.run(["sh", "-c", command], env=BARE, capture_output=True, text=True, check=True).stdout.strip()
    fill(engine, 1)
    (told,) = objects(run("rotate-keys", "--json", FIELD_KEYS=f"{made},{text(OLD)}"))
    assert told["sealed"] == 1
