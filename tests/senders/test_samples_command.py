"""`freshness samples`, as an operator runs it against a running instance."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import sqlalchemy as sa
from deliveries import OPEN, rows
from running_receiver import Receiver


def samples(engine: sa.Engine, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], **OPEN, "DATABASE_URL": engine.url.render_as_string(False), **more}
    environ["DATABASE_URL"] = environ["DATABASE_URL"].replace("postgresql+psycopg", "postgresql")
    argv = [sys.executable, "-m", "console", "samples", *arguments]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)


def test_every_sample_is_sent_and_what_landed_is_told(served: Receiver, engine: sa.Engine):
    done = samples(engine, "--url", served.url, "--json")

    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert len(told) == 34 + 7
    assert sum(each["status"] == 400 and each["position"] is not None for each in told) == 7
    assert sum(each["outcome"] == "applied" for each in told) == 34
    assert len(rows(engine, "mlm_webhook_receipts")) == 34

    again = samples(engine, "mmi", "--url", served.url)
    assert again.returncode == 0
    assert "duplicate" in again.stdout
    assert "All 5 as they should be." in again.stdout


def test_with_another_secret_it_fails_and_says_which(served: Receiver, engine: sa.Engine):
    done = samples(engine, "showmojo", "--url", served.url, SHOWMOJO_TOKEN="another")

    assert done.returncode == 1
    assert "a wrong bearer token came" in done.stdout
    assert "Not as it should be: showmojo 01-event" in done.stdout


def test_a_sender_without_a_secret_is_skipped_and_that_is_said(served: Receiver, engine: sa.Engine):
    done = samples(engine, "--url", served.url, MMI_SECRET="", COLLATERALXP_URL_SECRET="", COLLATERALXP_TOKEN="")

    said = done.stdout + done.stderr
    assert (done.returncode, "404" in said) == (0, False), said
    assert "Skipped mmi: it has no secret here." in said
    assert "Skipped collateralxp: it has no secret here." in said
    assert {each["sender"] for each in rows(engine, "mlm_webhook_receipts")} == {"showmojo"}


def test_nobody_there_is_one_line(engine: sa.Engine):
    done = samples(engine, "--url", "http://127.0.0.1:9")

    assert done.returncode == 1
    assert done.stderr == "freshness: http://127.0.0.1:9 cannot be reached (ConnectError)\n"
