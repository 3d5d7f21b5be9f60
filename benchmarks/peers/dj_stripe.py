"""dj-stripe 2.11: each request stored, its event processed in the same request."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..load import request
from ..processes import PLACE, done, listens, running
from .stripe_sync import signature

VERSION = "2.11.0"
PACKAGES = (f"dj-stripe=={VERSION}", "gunicorn==27.0.1", "psycopg[binary]==3.3.9")
SECRET = "whsec_benchmark"
ENDPOINT = uuid.UUID(int=1)

#: A process a core, eight threads in each, connections kept. Others that were tried differ by less than rounds do.
PROCESSES, THREADS = 2, 8

_HOME = PLACE / "djstripe"
_PYTHON = _HOME / "bin" / "python"
# Of a type that nothing is done about but to store it: the cheapest it has. A customer's would ask Stripe.
_EVENT = (
    '{"id":"evt_%s","object":"event","account":"acct_benchmark","api_version":"2025-06-30.basil","created":1700000000,'
    '"livemode":false,"pending_webhooks":0,"request":{"id":null,"idempotency_key":null},"type":"balance.available",'
    '"data":{"object":{"object":"balance","available":[{"amount":0,"currency":"usd","source_types":{"card":0}}],'
    '"livemode":false,"pending":[{"amount":0,"currency":"usd","source_types":{"card":0}}]}}}'
)


def install() -> None:
    """Bring it here from PyPI, into an environment of its own, once.

    Raises:
        RuntimeError: pip failed.
    """
    stamp = _HOME / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        done([sys.executable, "-m", "venv", "--clear", "--without-pip", str(_HOME)])
        pip = [sys.executable, "-m", "pip", "--python", str(_PYTHON)]
        done([*pip, "install", "--quiet", "--disable-pip-version-check", *PACKAGES])
        stamp.write_text(" ".join(PACKAGES))


@contextmanager
def serving(database_url: str, port: int, log: Path) -> Iterator[None]:
    """The peer, migrated and listening, for as long as the block runs."""
    site = Path(__file__).with_name("dj_stripe_site.py")
    env = {**os.environ, "DATABASE_URL": database_url, "WEBHOOK_SECRET": SECRET, "PYTHONDONTWRITEBYTECODE": "1"}
    done([str(_PYTHON), str(site), str(ENDPOINT)], env)
    argv = [
        str(_PYTHON), "-m", "gunicorn", "--workers", str(PROCESSES), "--worker-class", "gthread",
        "--threads", str(THREADS), "--keep-alive", "75", "--bind", f"127.0.0.1:{port}", "dj_stripe_site:application",
    ]  # fmt: skip
    with running(argv, log, env, listens(port), cwd=site.parent):
        yield


def requests(port: int, count: int) -> Iterator[bytes]:
    """So many signed events, each another. Their ids are new in every call."""
    run = uuid.uuid4().hex[:8]
    for number in range(count):
        body = _EVENT % f"{run}{number:09d}"
        headers = {"stripe-signature": signature(body, SECRET)}
        yield request(port, f"/stripe/webhook/{ENDPOINT}/", headers, body.encode())


STORED = "SELECT count(*) FROM djstripe_event"
