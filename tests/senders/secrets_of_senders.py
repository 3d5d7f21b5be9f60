"""Settings with every sender configured, and deliveries proved as each sender proves itself."""

from __future__ import annotations

import hashlib
import hmac

from databases import FIELD_KEYS

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
