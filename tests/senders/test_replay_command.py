"""`freshness replay` of another sender's receipt: its subject rebuilt, or told not to be whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import sqlalchemy as sa
from databases import emptied_redis
from deliveries import OPEN, row, rows
from test_order import mmi, one_by_one


def replay(engine: sa.Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = engine.url.set(drivername="postgresql").render_as_string(False)
    environ = {"PATH": os.environ["PATH"], **OPEN, "DATABASE_URL": url, "REDIS_URL": emptied_redis()}
    argv = [sys.executable, "-m", "console", "replay", *arguments]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)


def test_a_receipts_subject_is_rebuilt_once_however_many_receipts_of_it_are_named(engine: sa.Engine):
    one_by_one(engine, "mmi", [mmi("1", 1), mmi("1", 2), mmi("2", 1)])
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE mmi_loan_officers SET company = 'spoilt'")
    ids = [str(each["id"]) for each in rows(engine, "mlm_webhook_receipts", subject="loan_officer 1")]

    done = replay(engine, *ids, "--json")

    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, told["subject"], told["done"], told["applied"]) == (0, "loan_officer 1", True, 2)
    assert row(engine, "mmi_loan_officers", nmls="1")["company"] == "company 2"
    assert row(engine, "mmi_loan_officers", nmls="2")["company"] == "spoilt"


def test_one_that_is_not_whole_is_told_and_the_others_are_rebuilt(engine: sa.Engine):
    one_by_one(engine, "mmi", [mmi("1", 1), mmi("2", 1)])
    with engine.begin() as conn:
        of_one = "SELECT body_id FROM mlm_webhook_receipts WHERE subject = 'loan_officer 1'"
        conn.exec_driver_sql(f"DELETE FROM sender_bodies WHERE id = ({of_one})")

    done = replay(engine, "--sender", "mmi", "--json")

    told = {each["subject"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert told["loan_officer 1"]["why"] == "the history of loan_officer 1 is not whole: 1 of 1 entries were dropped"
    assert told["loan_officer 2"]["done"]


def test_options_without_a_sender_are_of_mlms_receipts(engine: sa.Engine):
    one_by_one(engine, "mmi", [mmi("1", 1)])

    done = replay(engine, "--since", "900d")

    assert (done.returncode, done.stdout) == (0, "No receipts.\n")
