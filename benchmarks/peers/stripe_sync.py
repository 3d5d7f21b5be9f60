"""stripe-sync-engine 0.48.5: webhooks into rows, guarded by the event's stamp; it takes one event a request."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..load import request
from ..processes import PLACE, done, listens, running

VERSION = "0.48.5"
PACKAGES = (f"@supabase/stripe-sync-engine@{VERSION}", "stripe@23.1.0", "fastify@5.12.8")
SECRET = "whsec_benchmark"  # a signature has to be made with something

#: Tried on two cores: one process and two, 5 to 32 connections. These, its defaults, did best when the machine was less
#: busy; under more load the order of the variants changed.
PROCESSES, CONNECTIONS = 1, 10

_HOME = PLACE / "stripe"
_EVENT = {
    "id": "evt_%", "object": "event", "api_version": "2025-06-30.basil", "livemode": False, "pending_webhooks": 0,
    "request": {"id": None, "idempotency_key": None}, "type": "customer.updated",
}  # fmt: skip
_CUSTOMER: dict[str, object] = {
    "object": "customer", "address": None, "balance": 0, "created": 1700000000, "currency": "usd",
    "default_source": None,
    "delinquent": False, "description": None, "discount": None, "email": None, "invoice_prefix": "ABCDEF",
    "invoice_settings": {
        "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
    },
    "livemode": False, "metadata": {}, "name": None, "next_invoice_sequence": 1, "phone": None, "preferred_locales": [],
    "shipping": None, "tax_exempt": "none", "test_clock": None,
}  # fmt: skip


def install() -> None:
    """Bring it here from npm, once.

    Raises:
        RuntimeError: there is no node, or npm failed.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise RuntimeError("stripe-sync-engine needs Node.js and npm")
    stamp = _HOME / "installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        _HOME.mkdir(parents=True, exist_ok=True)
        done(["npm", "install", "--prefix", str(_HOME), "--no-audit", "--no-fund", "--no-save", *PACKAGES])
        stamp.write_text(" ".join(PACKAGES))


@contextmanager
def serving(database_url: str, port: int, log: Path) -> Iterator[None]:
    """The peer, migrated and listening, for as long as the block runs."""
    env = {**os.environ, "NODE_PATH": str(_HOME / "node_modules"), "WEBHOOK_SECRET": SECRET, "NODE_ENV": "production"}
    script = str(Path(__file__).with_suffix(".cjs"))
    argv = ["node", script, database_url, str(port), str(CONNECTIONS), str(PROCESSES)]
    with running(argv, log, env, listens(port, "/health")):
        yield


def requests(port: int, changes: Iterator[tuple[int, dt.datetime]]) -> Iterator[bytes]:
    """One signed `customer.updated` a change: which customer, and since when it is so."""
    event = json.dumps(_EVENT, separators=(",", ":"))[:-1]
    customer = json.dumps(_CUSTOMER, separators=(",", ":"))[:-1]
    for place, (number, at) in enumerate(changes):
        head = event.replace("evt_%", f"evt_{place:012d}")
        body = f'{head},"created":{int(at.timestamp())},"data":{{"object":{customer},"id":"cus_{number:09d}"}}}}}}'
        yield request(port, "/webhooks", {"stripe-signature": signature(body, SECRET)}, body.encode())


def signature(body: str, secret: str) -> str:
    """The header by which Stripe's events are told from others."""
    now = int(time.time())
    made = hmac.new(secret.encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
    return f"t={now},v1={made}"


#: The customers that events are of, held at a stamp: what fresh files are to us.
FRESH = """
INSERT INTO stripe.customers (id, object, created, last_synced_at)
SELECT 'cus_' || lpad(n::text, 9, '0'), 'customer', 1700000000, %(held)s FROM generate_series(1, %(customers)s) n
ON CONFLICT (id) DO UPDATE SET last_synced_at = excluded.last_synced_at
"""
CHANGED = "SELECT count(*) FROM stripe.customers WHERE last_synced_at > %(held)s"
