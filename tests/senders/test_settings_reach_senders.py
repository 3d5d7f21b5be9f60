"""What is set reaches the sender that it is for: through `load` and the senders' own declarations."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json

import pytest
from databases import FIELD_KEYS

from freshness.field_keys import FieldKeys
from freshness.settings import load
from receiver.senders import SENDERS
from receiver.senders.proofs import Knock
from receiver.senders.sender import Sender

BODY = b'{"a":1}'
NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def declared(name: str, environ: dict[str, str]) -> Sender:
    (found,) = [sender for each in SENDERS if (sender := each(load({"FIELD_KEYS": FIELD_KEYS} | environ))).name == name]
    return found


def is_proved(sender: Sender, headers: dict[str, str], query: str = "", at: dt.datetime = NOW) -> bool:
    assert sender.proof is not None
    named = [(name.lower(), value) for name, value in headers.items()]
    return sender.proof.refuses(Knock("POST", sender.path, query, named, at.timestamp(), BODY)) is None


def signature(algorithm: str, encoding: str) -> str:
    digest = hmac.digest(b"secret", BODY, algorithm)
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def aws(region: str, service: str) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("POST", f"https://h{declared('maxwell', {}).path}", data=BODY)
    signer = SigV4Auth(Credentials("id", "secret"), service, region)
    request.context["timestamp"] = NOW.strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)
    signed = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    signer._inject_signature_to_request(request, signed)
    return {"host": "h", **dict(request.headers)}


MMI, MAXWELL, AWS = {"MMI_SECRET": "secret"}, {"MAXWELL_HMAC_SECRET": "secret"}, {"MAXWELL_AWS_KEYS": "id:secret"}


@pytest.mark.parametrize(
    ("sender", "environ", "more", "headers"),
    [
        ("mmi", MMI, {"MMI_SIGNATURE_HEADER": "X-Other"}, {"X-Other": signature("sha256", "hex")}),
        ("mmi", MMI, {"MMI_SIGNATURE_ALGORITHM": "sha512"}, {"X-MMI-Signature": signature("sha512", "hex")}),
        ("mmi", MMI, {"MMI_SIGNATURE_ENCODING": "base64"}, {"X-MMI-Signature": signature("sha256", "base64")}),
        ("maxwell", MAXWELL, {"MAXWELL_SIGNATURE_HEADER": "X-Other"}, {"X-Other": signature("sha256", "hex")}),
        (
            "maxwell", MAXWELL, {"MAXWELL_SIGNATURE_ENCODING": "base64"},
            {"X-Maxwell-Signature": signature("sha256", "base64")},
        ),
        ("maxwell", {"MAXWELL_API_KEY": "key"}, {"MAXWELL_API_KEY_HEADER": "X-Other"}, {"X-Other": "key"}),
        ("maxwell", AWS, {"MAXWELL_AWS_REGION": "eu-west-1"}, aws("eu-west-1", "execute-api")),
        ("maxwell", AWS, {"MAXWELL_AWS_SERVICE": "lambda"}, aws("us-east-1", "lambda")),
    ],
)  # fmt: skip
def test_how_a_sender_proves_itself_is_as_it_is_set(
    sender: str, environ: dict[str, str], more: dict[str, str], headers: dict[str, str]
):
    assert is_proved(declared(sender, environ | more), headers)
    assert not is_proved(declared(sender, environ), headers), "else the setting would change nothing"


@pytest.mark.parametrize(("window", "late_s", "proved"), [({}, 299, True), ({}, 301, False), (
    {"MAXWELL_AWS_WINDOW": "20"}, 21, False), ({"MAXWELL_AWS_WINDOW": "400"}, 399, True)])  # fmt: skip
def test_a_signatures_window_is_as_it_is_set(window: dict[str, str], late_s: int, proved: bool):
    at = NOW + dt.timedelta(seconds=late_s)
    assert is_proved(declared("maxwell", AWS | window), aws("us-east-1", "execute-api"), at=at) is proved


@pytest.mark.parametrize(("more", "lifetime_s"), [({}, 3600), ({"MAXWELL_OAUTH_LIFETIME": "61"}, 61)])
def test_a_tokens_lifetime_is_as_it_is_set(more: dict[str, str], lifetime_s: int):
    sender = declared("maxwell", {"MAXWELL_OAUTH_CLIENT_ID": "c", "MAXWELL_OAUTH_CLIENT_SECRET": "s"} | more)
    (tokens,) = sender.proof.proofs  # type: ignore[union-attr]
    token = {"Authorization": f"Bearer {tokens.issue(NOW.timestamp())}"}

    assert is_proved(sender, token, at=NOW + dt.timedelta(seconds=lifetime_s - 1))
    assert not is_proved(sender, token, at=NOW + dt.timedelta(seconds=lifetime_s))


@pytest.mark.parametrize(("zone", "hour"), [({}, "10:00"), ({"MMI_ZONE": "America/New_York"}, "15:00")])
def test_mmis_zone_is_as_it_is_set(zone: dict[str, str], hour: str):
    said = json.dumps({"type": "Lender", "nmls": 1, "timestamp": "2026-01-02 10:00:00"}).encode()

    (sent,) = declared("mmi", MMI | zone).entries(said, NOW, FieldKeys(load({"FIELD_KEYS": FIELD_KEYS}).field_keys))

    assert sent.key == f"2026-01-02T{hour}:00.000000+00:00"


def test_one_of_collateralxps_two_secrets_is_enough_if_only_that_is_set():
    by_url, by_bearer = {"COLLATERALXP_URL_SECRET": "u"}, {"COLLATERALXP_TOKEN": "t"}
    bearer = {"Authorization": "Bearer t"}

    assert is_proved(declared("collateralxp", by_url), {}, "secret=u")
    assert not is_proved(declared("collateralxp", by_url), bearer)
    assert is_proved(declared("collateralxp", by_bearer), bearer)
    assert not is_proved(declared("collateralxp", by_bearer), {}, "secret=u")
    both = declared("collateralxp", by_url | by_bearer)
    assert is_proved(both, bearer, "secret=u")
    assert not is_proved(both, {}, "secret=u")
    assert declared("collateralxp", {}).proof is None
