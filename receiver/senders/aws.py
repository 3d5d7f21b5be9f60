"""AWS signature version 4, verified as AWS has published it ("Create a signed AWS API request").

A signature says who signed (an access key's id), when, for which region and service, and covers method, path, query,
the headers that it names, and the body's SHA-256: a delivery that was changed, or is replayed once the clock's window
has passed, fails. Host and date must be among the headers signed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from .proofs import Knock

ALGORITHM = "AWS4-HMAC-SHA256"
_PARTS = re.compile(r"(Credential|SignedHeaders|Signature)=([^\s,]+)")
_DATE = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class AwsSignature:
    """The keys that may sign (id → secret), for this region and service, and the seconds that clocks may differ."""

    keys: Mapping[str, str] = field(repr=False)
    region: str
    service: str
    window_s: float
    needs_body: bool = True

    def refuses(self, knock: Knock) -> str | None:
        """None for a signature of this very request by one of the keys, made within the window."""
        scheme, _, parts = (knock.header("authorization") or "").partition(" ")
        said = dict(_PARTS.findall(parts))
        if scheme != ALGORITHM or len(said) != 3:
            return "no AWS signature came"
        key_id, _, scope = said["Credential"].partition("/")
        signed = said["SignedHeaders"].split(";")
        date = knock.header("x-amz-date") or ""
        if "host" not in signed or "x-amz-date" not in signed:
            return "an AWS signature that does not cover host and x-amz-date came"
        signed_at = _instant(date)
        if signed_at is None or abs(knock.at - signed_at) > self.window_s:
            return "an AWS signature from outside of the clock's window came"
        if scope != f"{date[:8]}/{self.region}/{self.service}/aws4_request":
            return "an AWS signature for another day, region or service came"
        digest = hashlib.sha256(knock.body).hexdigest()
        said_digest = (knock.header("x-amz-content-sha256") or digest).encode()  # of text only ASCII can be compared
        if not hmac.compare_digest(said_digest, digest.encode()):
            return "x-amz-content-sha256 is not this body's"
        headers = [" ".join(",".join(knock.all(name)).split()) for name in signed]
        request = "\n".join(
            [
                knock.method,
                _path(knock.path),
                _query(knock.query),
                *(f"{name}:{value}" for name, value in zip(signed, headers, strict=True)),
                "",
                said["SignedHeaders"],
                digest,
            ]
        )
        to_sign = "\n".join([ALGORITHM, date, scope, hashlib.sha256(request.encode("latin-1")).hexdigest()])
        secret = self.keys.get(key_id, "")
        expected = _signature(secret, date[:8], self.region, self.service, to_sign)
        proved = hmac.compare_digest(said["Signature"].encode(), expected.encode())
        return None if proved and key_id in self.keys else "a wrong AWS signature came"


def _signature(secret: str, day: str, region: str, service: str, to_sign: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def _instant(text: str) -> float | None:
    try:
        return dt.datetime.strptime(text, _DATE).replace(tzinfo=dt.UTC).timestamp()
    except ValueError:
        return None


def _path(path: str) -> str:
    """The path as it was sent, encoded once more: what every service but S3 signs."""
    return quote(path, safe="/~")


def _query(query: str) -> str:
    pairs = [each.partition("=")[::2] for each in query.split("&") if each]
    coded = [(quote(unquote(name), safe="~"), quote(unquote(value), safe="~")) for name, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(coded))
