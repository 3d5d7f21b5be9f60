"""The samples of the senders' guides, sent to a running instance as their senders would send them.

They stand in `samples/`, a folder a sender: `….json` is to land; `….as-it-stands.txt` is the guide's own text where
that is no JSON, and is to be refused with the place where it stops being it.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from sqlalchemy import Engine

from freshness.settings import Settings

from .errors import NotReached

SAMPLES = Path(__file__).parent / "samples"
SENDERS = ("mmi", "collateralxp", "showmojo")
AS_IT_STANDS = ".as-it-stands"

_NEWEST = "SELECT coalesce(max(id), 0) FROM mlm_webhook_receipts"
_SINCE = """
SELECT outcome, reason, subject, rows_changed FROM mlm_webhook_receipts WHERE id > %(newest)s AND sender = %(sender)s
ORDER BY id
"""


@dataclass(frozen=True)
class Sample:
    """One sample: whose, its name, its text."""

    sender: str
    name: str
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether it is to land, not to be refused."""
        return AS_IT_STANDS not in self.name


def samples(senders: Sequence[str] = SENDERS) -> list[Sample]:
    """All samples of these senders, in the order of their guides."""
    paths = [path for sender in senders for path in sorted((SAMPLES / sender).iterdir())]
    return [
        Sample(path.parent.name, path.stem, path.read_bytes())
        for path in paths
        if path.suffix == ".json" or AS_IT_STANDS in path.name
    ]


def send(engine: Engine, settings: Settings, url: str, wanted: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Send each, and tell what came of it: the answer, and what its receipt says. `as_meant`: it landed, or was no
    JSON and was refused as that.

    Raises:
        NotReached: nobody answers there.
    """
    with httpx.Client(trust_env=False, timeout=30) as client:
        for sample in wanted:
            with engine.connect() as conn:
                newest = conn.exec_driver_sql(_NEWEST).scalar_one()
            try:
                answer = client.post(
                    url + _path(settings, sample), content=sample.body, headers=_proof(settings, sample)
                )
            except httpx.HTTPError as error:
                raise NotReached(url, type(error).__name__) from None
            with engine.connect() as conn:
                found = conn.exec_driver_sql(_SINCE, {"newest": newest, "sender": sample.sender}).mappings().all()
            receipt = dict(found[0]) if found else {}
            told = answer.json() if answer.headers.get("content-type", "").endswith("json") else {}
            landed = receipt.get("outcome") in ("applied", "duplicate", "older")
            refused = answer.status_code == 400 and "position" in told
            yield {
                "sender": sample.sender,
                "sample": sample.name,
                "status": answer.status_code,
                "position": told.get("position"),
                "outcome": receipt.get("outcome"),
                "subject": receipt.get("subject"),
                "rows": receipt.get("rows_changed"),
                "reason": receipt.get("reason") or told.get("detail"),
                "as_meant": landed if sample.is_json else refused,
            }


def configured(settings: Settings) -> dict[str, bool]:
    """Whether each sender has a secret, by its name: one without has no route."""
    return {
        "mmi": bool(settings.mmi_secret),
        "collateralxp": bool(settings.collateralxp_url_secret or settings.collateralxp_token),
        "showmojo": bool(settings.showmojo_token),
    }


def _path(settings: Settings, sample: Sample) -> str:
    path = f"/api/v1/senders/{sample.sender}/webhook"
    if sample.sender == "collateralxp" and settings.collateralxp_url_secret:
        return f"{path}?secret={quote(settings.collateralxp_url_secret[0], safe='')}"
    return path


def _proof(settings: Settings, sample: Sample) -> dict[str, str]:
    """The headers that prove it, by what is configured."""
    headers = {"Content-Type": "application/json"}
    tokens = {"collateralxp": settings.collateralxp_token, "showmojo": settings.showmojo_token}.get(sample.sender)
    if tokens:
        headers["Authorization"] = f"Bearer {tokens[0]}"
    if sample.sender == "mmi" and settings.mmi_secret:
        digest = hmac.digest(settings.mmi_secret[0].encode(), sample.body, settings.mmi_signature_algorithm)
        text = digest.hex() if settings.mmi_signature_encoding == "hex" else base64.b64encode(digest).decode()
        headers[settings.mmi_signature_header] = text
    return headers
