"""The log: one JSON line an event, and no text of an exception in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import logging, structlog
from jobs.log import configure
configure("worker")
log = structlog.get_logger("ours")

def careless():
    raise ValueError("Jane Roe 123-45-6789")

with structlog.contextvars.bound_contextvars(file_id=7):
    log.info("job.done", concern="fees")
try:
    try:
        careless()
    except ValueError as error:
        raise RuntimeError("Jane Roe 123-45-6789") from error
except RuntimeError:
    log.exception("ours.failed")
    logging.getLogger("dramatiq.worker").error("theirs failed", exc_info=True)
logging.getLogger("zeep.transports").debug("<Envelope>Jane Roe 123-45-6789</Envelope>")
logging.getLogger("httpx").info("HTTP Request: POST https://mlm.example/")
"""


def test_a_line_is_json_with_ids_and_an_exception_is_its_types_and_places() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )

    assert "123-45-6789" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["job.done", "ours.failed", "theirs failed"]
    assert (lines[0]["file_id"], lines[0]["process"], lines[0]["level"]) == (7, "worker", "info")
    for failed in lines[1:]:
        assert [each.split(" at ")[0] for each in failed["exception"]] == ["RuntimeError", "ValueError"]
