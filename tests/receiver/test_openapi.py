"""`openapi.json` is true: schemathesis sends what it describes, and much that it does not, to the real receiver.

Left out is the one route whose answer does not end, the stream of events; `test_event_streams` has it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from databases import FIELD_KEYS
from running_receiver import receiver

from receiver import events

TOKEN = "one-for-all"
OPEN = {
    "FIELD_KEYS": FIELD_KEYS,
    "MAXWELL_OAUTH_CLIENT_ID": "maxwell",
    "MAXWELL_OAUTH_CLIENT_SECRET": TOKEN,
    **dict.fromkeys(
        (
            "MLM_WEBHOOK_TOKEN", "PORTAL_API_TOKEN", "METRICS_TOKEN", "MMI_SECRET", "MAXWELL_TOKEN",
            "COLLATERALXP_TOKEN", "SHOWMOJO_TOKEN",
        ),
        TOKEN,
    ),
}  # fmt: skip
EXAMPLES = 12

_COUNTS = re.compile(r"(\d+) generated, (\d+) passed")
_OPERATIONS = re.compile(r"(\d+) selected / (\d+) total")


def test_schemathesis_finds_nothing_that_openapi_json_does_not_say(
    engine: sa.Engine, redis_url: str, tmp_path: Path
) -> None:
    with receiver(engine, OPEN, redis_url) as served:
        served.seed("R000123")
        argv = [
            str(Path(sys.executable).with_name("schemathesis")), "--config-file",
            str(Path(__file__).with_name("schemathesis.toml")), "--no-color", "run", f"{served.url}/openapi.json",
            "--header", f"Authorization: Bearer {TOKEN}", "--checks", "all", "--seed", "1",
            "--generation-deterministic", "--max-examples", str(EXAMPLES), "--exclude-path", events.PATH,
            "--request-timeout", "30",
        ]  # fmt: skip
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    (generated, passed), (selected, whole) = _COUNTS.findall(done.stdout)[0], _OPERATIONS.findall(done.stdout)[0]
    assert (passed, int(selected)) == (generated, int(whole) - 1)
