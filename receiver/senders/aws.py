"""AWS signature version 4, verified as AWS has published it ("Create a signed AWS API request").

A signature says who signed (an access key's id), when, for which region and service, and covers method, path, query,
the headers that it names, and the body's SHA-256: a delivery that was changed fails, and so does one that is replayed:
within the clock's window since each signature proves one delivery, and after it since it has ended. Host and date must
be among the headers signed; the date is x-amz-date, else Date.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

from freshness.ledger.spent import Once

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
        dated_by = "x-amz-date" if knock.all("x-amz-date") else "date"
        if "host" not in signed or dated_by not in signed:
            return "an AWS signature that does not cover host and x-amz-date came"
        signed_at = _instant(knock.header(dated_by) or "")
        if signed_at is None or abs(knock.at - signed_at.timestamp()) > self.window_s:
            return "an AWS signature from outside of the clock's window came"
        date = signed_at.strftime(_DATE)
        if scope != f"{date[:8]}/{self.region}/{self.service}/aws4_request":
            return "an AWS signature for another day, region or service came"
        digest = hashlib.sha256(knock.body).hexdigest()
        said_digest = (knock.header("x-amz-content-sha256") or digest).encode()  # of text only ASCII can be compared
        if not hmac.compare_digest(said_digest, digest.encode()):
            return "x-amz-content-sha256 is not this body's"
        headers = [" ".join(",".join(knock.all(name)).split()) for name in signed]
        named = [f"{name}:{value}" for name, value in zip(signed, headers, strict=True)]
        secret, proved = self.keys.get(key_id, ""), False
        for query in _queries(knock.query):
            parts_signed = [knock.method, _path(knock.path), query, *named, "", said["SignedHeaders"], digest]
            request = hashlib.sha256("\n".join(parts_signed).encode("latin-1")).hexdigest()
            to_sign = "\n".join([ALGORITHM, date, scope, request])
            expected = _signature(secret, date[:8], self.region, self.service, to_sign)
            proved |= hmac.compare_digest(said["Signature"].encode(), expected.encode())
        return None if proved and key_id in self.keys else "a wrong AWS signature came"

    def once(self, knock: Knock) -> Once | None:
        """The signature, kept for twice the window: clocks differ, ours among themselves too."""
        signature = dict(_PARTS.findall(knock.header("authorization") or "")).get("Signature", "")
        ends_at = dt.datetime.fromtimestamp(knock.at, dt.UTC) + dt.timedelta(seconds=2 * self.window_s)
        return Once(hashlib.sha256(signature.encode()).digest(), ends_at)


def _signature(secret: str, day: str, region: str, service: str, to_sign: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def _instant(text: str) -> dt.datetime | None:
    """A date as AWS writes it, or as HTTP does."""
    try:
        return dt.datetime.strptime(text, _DATE).replace(tzinfo=dt.UTC)
    except ValueError:
        pass
    try:
        said = parsedate_to_datetime(text)
        return (said if said.tzinfo else said.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def _path(path: str) -> str:
    """The path as it was sent, encoded once more: what every service but S3 signs."""
    return quote(path, safe="/~")


def _queries(query: str) -> set[str]:
    """The query as it may have been signed: coded anew, as AWS has it; or as it was sent, as botocore signs a URL."""
    raw = [each.partition("=")[::2] for each in query.split("&") if each]
    coded = [(quote(unquote(name), safe="~"), quote(unquote(value), safe="~")) for name, value in raw]
    return {"&".join(f"{name}={value}" for name, value in sorted(pairs)) for pairs in (raw, coded)}
