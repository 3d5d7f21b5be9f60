"""Settings with every sender configured, and deliveries proved as each sender proves itself."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from databases import FIELD_KEYS
from running_receiver import Receiver

import console

SAMPLES = Path(console.__file__).parent / "samples"

OPEN = {
    "FIELD_KEYS": FIELD_KEYS,
    "MMI_SECRET": "from-mmi",
    "MAXWELL_HMAC_SECRET": "hmac-of-maxwell",
    "MAXWELL_BASIC": "maxwell:password",
    "MAXWELL_API_KEY": "key-of-maxwell",
    "MAXWELL_TOKEN": "bearer-of-maxwell",
    "MAXWELL_OAUTH_CLIENT_ID": "maxwell-client",
    "MAXWELL_OAUTH_CLIENT_SECRET": "client-secret",
    "MAXWELL_AWS_KEYS": "AKIDEXAMPLE:aws-secret",
    "COLLATERALXP_URL_SECRET": "in-the-url",
    "COLLATERALXP_TOKEN": "from-collateralxp",
    "SHOWMOJO_TOKEN": "from-showmojo",
}


def path(sender: str) -> str:
    return f"/api/v1/senders/{sender}/webhook" + ("?secret=in-the-url" if sender == "collateralxp" else "")


def proved(sender: str, body: bytes) -> dict[str, str]:
    """The headers that prove a body of this sender's."""
    match sender:
        case "mmi":
            return {"X-MMI-Signature": hmac.new(b"from-mmi", body, hashlib.sha256).hexdigest()}
        case "maxwell":
            return {"Authorization": "Bearer bearer-of-maxwell"}
        case _:
            return {"Authorization": f"Bearer from-{sender}"}


def send(served: Receiver, sender: str, body: Any, **headers: str) -> httpx.Response:
    """A delivery of this sender's, proved."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return served.post(path(sender), token=None, content=raw, headers=proved(sender, raw) | headers)


def sample(name: str) -> bytes:
    """A sample of the guides' own text: `mmi/02-lender.json`."""
    return (SAMPLES / name).read_bytes()


def row(engine: sa.Engine, table: str, **where: Any) -> dict[str, Any]:
    """The one row of a table that has these values."""
    (found,) = rows(engine, table, **where)
    return found


def rows(engine: sa.Engine, table: str, **where: Any) -> list[dict[str, Any]]:
    """The rows of a table that have these values, in the order in which they came."""
    named = " AND ".join(f"{name} = %({name})s" for name in where) or "true"
    query = f"SELECT * FROM {table} WHERE {named} ORDER BY id"
    with engine.connect() as conn:
        return [dict(each) for each in conn.exec_driver_sql(query, where).mappings()]


def receipts(engine: sa.Engine) -> list[tuple[str, str]]:
    """What became of all entries, in the order in which they came."""
    return [(each["outcome"], each["reason"]) for each in rows(engine, "mlm_webhook_receipts")]
