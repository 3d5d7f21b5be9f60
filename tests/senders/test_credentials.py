"""Every kind of credential: right it is taken; wrong, missing, ended or of another delivery it is refused with 401."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import Callable

import httpx
import pytest
import sqlalchemy as sa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from deliveries import OPEN, path, proved, rows, sample, send
from running_receiver import Receiver, receiver

from receiver.senders.aws import AwsSignature
from receiver.senders.oauth import IssuedTokens
from receiver.senders.proofs import Knock, Signature

BODY = json.dumps({"event": "application.created", "loanFileId": "lf-1", "borrowerEmail": "a@example.com"}).encode()
PATH = path("maxwell")
TOKEN_PATH = "/api/v1/senders/maxwell/token"


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def hmac_of(body: bytes, secret: str = "hmac-of-maxwell") -> dict[str, str]:
    return {"X-Maxwell-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def aws(url: str, body: bytes, *, secret: str = "aws-secret", key: str = "AKIDEXAMPLE", region: str = "us-east-1",
        service: str = "execute-api", at: str | None = None, **more: str) -> dict[str, str]:  # fmt: skip
    """The headers that botocore signs a request with."""
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json"} | more)
    signer = SigV4Auth(Credentials(key, secret), service, region)
    if at is None:
        signer.add_auth(request)
    else:
        request.context["timestamp"] = at
        signer._modify_request_before_signing(request)
        canonical = signer.canonical_request(request)
        signer._inject_signature_to_request(
            request, signer.signature(signer.string_to_sign(request, canonical), request)
        )
    return dict(request.headers)


RIGHT: dict[str, Callable[[str], dict[str, str]]] = {
    "hmac": lambda _: hmac_of(BODY),
    "hmac with its algorithm before it": lambda _: {
        "X-Maxwell-Signature": "sha256=" + hmac_of(BODY)["X-Maxwell-Signature"]
    },
    "basic": lambda _: basic("maxwell:password"),
    "api key": lambda _: {"X-API-Key": "key-of-maxwell"},
    "bearer": lambda _: {"Authorization": "Bearer bearer-of-maxwell"},
    "aws": lambda url: aws(url, BODY),
}

WRONG: dict[str, Callable[[str], dict[str, str]]] = {
    "nothing": lambda _: {},
    "hmac under another secret": lambda _: hmac_of(BODY, "another"),
    "hmac of another body": lambda _: hmac_of(BODY + b" "),
    "hmac that is no hex": lambda _: {"X-Maxwell-Signature": "zz"},
    "hmac cut short": lambda _: {"X-Maxwell-Signature": hmac_of(BODY)["X-Maxwell-Signature"][:62]},
    "an empty hmac": lambda _: {"X-Maxwell-Signature": ""},
    "a wrong password": lambda _: basic("maxwell:passwore"),
    "another user": lambda _: basic("maxwelk:password"),
    "basic that is no base64": lambda _: {"Authorization": "Basic ???"},
    "a wrong api key": lambda _: {"X-API-Key": "key-of-maxwelk"},
    "a wrong bearer": lambda _: {"Authorization": "Bearer bearer-of-maxwelk"},
    "a bearer without its scheme": lambda _: {"Authorization": "bearer-of-maxwell"},
    "the oauth client's secret as a token": lambda _: {"Authorization": "Bearer client-secret"},
    "a made-up access token": lambda _: {"Authorization": "Bearer 9999999999.abc.AAAA"},
    "aws by another secret": lambda url: aws(url, BODY, secret="another"),
    "aws by an unknown key": lambda url: aws(url, BODY, key="AKIDOTHER"),
    "aws for another region": lambda url: aws(url, BODY, region="eu-west-1"),
    "aws for another service": lambda url: aws(url, BODY, service="s3"),
    "aws of another body": lambda url: aws(url, BODY + b" "),
    "aws of another path": lambda url: aws(url + "/more", BODY),
    "aws of another query": lambda url: aws(url + "?a=1", BODY),
    "aws from an hour ago, replayed": lambda url: aws(url, BODY, at=_stamp(-3600)),
    "aws from an hour ahead": lambda url: aws(url, BODY, at=_stamp(3600)),
}


#: Headers are latin-1, so any byte can come where a secret or a digest is to stand.
ODD = "\xe9\xff"
NOT_ASCII: dict[str, Callable[[str], dict[str, str]]] = {
    "hmac": lambda _: {"X-Maxwell-Signature": ODD},
    "hmac with its algorithm before it": lambda _: {"X-Maxwell-Signature": f"sha256={ODD}"},
    "basic": lambda _: {"Authorization": f"Basic {ODD}"},
    "basic whose pair is not ascii": lambda _: basic(ODD),
    "api key": lambda _: {"X-API-Key": ODD},
    "bearer": lambda _: {"Authorization": f"Bearer {ODD}"},
    "access token": lambda _: {"Authorization": f"Bearer {ODD}.{ODD}.{ODD}"},
    "access token's end": lambda _: {"Authorization": f"Bearer {ODD}.abc.AAAA"},
    "aws body's digest": lambda url: aws(url, BODY) | {"X-Amz-Content-SHA256": ODD},
    "aws date": lambda url: aws(url, BODY) | {"X-Amz-Date": ODD},
    **{
        f"aws {part}": lambda url, part=part: _with(aws(url, BODY), part)
        for part in ("Credential=", "SignedHeaders=", "Signature=")
    },
}


def _with(headers: dict[str, str], part: str) -> dict[str, str]:
    """These headers with something odd at the beginning of a part of the signature."""
    return headers | {"Authorization": headers["Authorization"].replace(part, f"{part}{ODD}")}


def _stamp(later_s: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + later_s))


def deliver(served: Receiver, headers: dict[str, str], body: bytes = BODY) -> httpx.Response:
    return served.post(PATH, token=None, content=body, headers={"Content-Type": "application/json"} | headers)


@pytest.mark.parametrize("kind", RIGHT)
def test_each_of_maxwells_ways_is_taken(served: Receiver, kind: str):
    assert deliver(served, RIGHT[kind](served.url + PATH)).status_code == 200


@pytest.mark.parametrize("kind", WRONG)
def test_what_does_not_prove_it_is_refused_and_leaves_nothing_but_that(served: Receiver, engine: sa.Engine, kind: str):
    answer = deliver(served, WRONG[kind](served.url + PATH))

    assert answer.status_code == 401, answer.text
    assert rows(engine, "mlm_webhook_receipts") == rows(engine, "maxwell_applications") == []
    (refused,) = rows(engine, "refused_deliveries")
    assert (refused["path"], refused["status"], refused["keys"]) == (PATH, 401, None)
    assert "password" not in refused["reason"].replace("user and password", "").replace("user or password", "")


@pytest.mark.parametrize("kind", NOT_ASCII)
def test_what_is_not_ascii_is_refused_like_anything_else_and_leaves_its_row(
    served: Receiver, engine: sa.Engine, kind: str
):
    odd = {name: value.encode("latin-1") for name, value in NOT_ASCII[kind](served.url + PATH).items()}
    assert deliver(served, odd).status_code == 401
    assert [each["status"] for each in rows(engine, "refused_deliveries")] == [401]


@pytest.mark.parametrize("sender", ["mmi", "collateralxp", "showmojo"])
@pytest.mark.parametrize("query", ["", "?secret=%FF%E9"])
def test_nor_is_it_an_error_at_another_senders_door(served: Receiver, sender: str, query: str):
    odd = ODD.encode("latin-1")
    headers = {"X-MMI-Signature": odd, "Authorization": b"Bearer " + odd}
    url = f"/api/v1/senders/{sender}/webhook{query}"
    assert served.post(url, token=None, content=b"{}", headers=headers).status_code == 401


@pytest.mark.parametrize("secret", [ODD, "%FF", "\u20ac"])
def test_nor_for_who_asks_for_a_token(served: Receiver, secret: str):
    form = {"grant_type": "client_credentials", "client_id": secret, "client_secret": secret}
    assert httpx.post(served.url + TOKEN_PATH, data=form).status_code == 401
    assert httpx.post(served.url + TOKEN_PATH, data=form, auth=(secret, secret)).status_code == 401
    odd = {"Authorization": f"Basic {ODD}".encode("latin-1")}
    assert httpx.post(served.url + TOKEN_PATH, content=b"\xff=\xe9", headers=odd).status_code == 401


def test_an_address_that_guesses_the_clients_secret_is_told_429_and_who_knows_it_gets_a_token(engine: sa.Engine):
    right = {"grant_type": "client_credentials", "client_id": "maxwell-client", "client_secret": "client-secret"}
    with receiver(engine, OPEN | {"REFUSALS_A_MINUTE": "3"}) as running:

        def status(**wrong: str) -> int:
            return httpx.post(running.url + TOKEN_PATH, data=right | wrong).status_code

        assert [status(client_secret=f"guess-{n}") for n in range(4)] == [401, 401, 401, 429]
        assert [status(), status(grant_type="password")] == [200, 400]


@pytest.mark.parametrize("sender", ["mmi", "maxwell"])
def test_a_body_changed_by_one_byte_fails_its_signature(served: Receiver, sender: str):
    body = sample("mmi/02-lender.json") if sender == "mmi" else BODY
    headers = proved("mmi", body) if sender == "mmi" else hmac_of(body)
    for place in range(0, len(body), 7):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert served.post(path(sender), token=None, content=changed, headers=headers).status_code == 401


def test_an_aws_signature_covers_every_byte_of_the_body(served: Receiver):
    headers = aws(served.url + PATH, BODY)
    assert deliver(served, headers).status_code == 200
    for place in range(0, len(BODY), 7):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert deliver(served, headers, changed).status_code == 401


@pytest.mark.parametrize("dated", [{}, {"Date": "replaced"}], ids=["x-amz-date", "date"])
@pytest.mark.parametrize(
    "query", ["", "?b=2&a=1&a=0", "?q=a%20b%2Fc&empty=&x=%C3%A9~", "?q=a+b&x=%c3%a9&raw=a:b/c,d", "?a=%7E&lone"]
)
def test_our_verifying_agrees_with_botocores_signing(query: str, dated: dict[str, str]):
    """Whatever way the query is coded: botocore signs that of a URL as it is. And with the one date or the other."""
    url = f"https://example.com/api/v1/senders/maxwell/web%20hook{query}"
    signed = aws(url, BODY, at="20261120T010203Z", **dated)
    headers = [("host", "example.com"), *((name.lower(), value) for name, value in signed.items())]
    knock = Knock("POST", "/api/v1/senders/maxwell/web%20hook", query[1:], headers, 1795136530.0, BODY)
    proof = AwsSignature({"AKIDEXAMPLE": "aws-secret"}, "us-east-1", "execute-api", 300)

    assert proof.refuses(knock) is None
    assert proof.refuses(Knock("PUT", knock.path, knock.query, headers, knock.at, BODY)) is not None
    assert proof.refuses(Knock("POST", knock.path, knock.query, headers, knock.at + 301, BODY)) is not None
    assert proof.refuses(Knock("POST", knock.path, knock.query + "&c=d", headers, knock.at, BODY)) is not None
    assert ("date" in signed or "Date" in signed) == bool(dated)


def test_the_query_may_be_signed_as_it_is_coded_anew():
    """As AWS has it, and as botocore signs parameters that it is handed."""
    request = AWSRequest("POST", "https://example.com/x", data=BODY, params={"q": "a b/c", "e": "é"})
    SigV4Auth(Credentials("AKIDEXAMPLE", "aws-secret"), "execute-api", "us-east-1").add_auth(request)
    headers = [("host", "example.com"), *((name.lower(), value) for name, value in request.headers.items())]
    proof = AwsSignature({"AKIDEXAMPLE": "aws-secret"}, "us-east-1", "execute-api", 300)

    for sent in ("q=a%20b/c&e=%c3%a9", "e=%C3%A9&q=a%20b%2Fc"):
        assert proof.refuses(Knock("POST", "/x", sent, headers, time.time(), BODY)) is None
    assert proof.refuses(Knock("POST", "/x", "e=%C3%A9&q=a%20b%2Fd", headers, time.time(), BODY)) is not None


@pytest.mark.parametrize("coded", [True, False])
@pytest.mark.parametrize("secret", ["a+b%2Bc", "100%", "a b"])
def test_a_clients_secret_is_taken_coded_or_as_it_is(engine: sa.Engine, secret: str, coded: bool):
    with receiver(engine, OPEN | {"MAXWELL_OAUTH_CLIENT_SECRET": secret}) as running:
        said = urllib.parse.quote_plus(secret) if coded else secret
        for given, status in ((said, 200), (said + "x", 401)):
            form = {"grant_type": "client_credentials"}
            answer = httpx.post(running.url + TOKEN_PATH, data=form, headers=basic(f"maxwell-client:{given}"))
            assert answer.status_code == status


def test_maxwell_fetches_a_token_and_delivers_with_it(served: Receiver):
    form = {"grant_type": "client_credentials", "client_id": "maxwell-client", "client_secret": "client-secret"}
    answer = httpx.post(served.url + TOKEN_PATH, data=form)
    assert (answer.status_code, answer.json()["token_type"], answer.json()["expires_in"]) == (200, "Bearer", 3600)
    assert answer.headers["cache-control"] == "no-store"

    assert deliver(served, {"Authorization": f"Bearer {answer.json()['access_token']}"}).status_code == 200

    by_basic = httpx.post(served.url + TOKEN_PATH, data={"grant_type": "client_credentials"},
                          auth=("maxwell-client", "client-secret"))  # fmt: skip
    assert deliver(served, {"Authorization": f"Bearer {by_basic.json()['access_token']}"}).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "status", "error"),
    [
        ({"client_id": "", "client_secret": ""}, 401, "invalid_client"),
        ({"client_secret": "x"}, 401, "invalid_client"),
        ({"client_id": "x"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
def test_nobody_else_gets_a_token(served: Receiver, wrong: dict[str, str], status: int, error: str):
    right = {"grant_type": "client_credentials", "client_id": "maxwell-client", "client_secret": "client-secret"}

    answer = httpx.post(served.url + TOKEN_PATH, data=right | wrong)

    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_a_token_ends_and_one_of_another_secret_is_none_of_ours():
    tokens, other = IssuedTokens("c", "one", 3600), IssuedTokens("c", "two", 3600)

    def knock(token: str, at: float) -> Knock:
        return Knock("POST", PATH, "", [("authorization", f"Bearer {token}")], at)

    token = tokens.issue(1000.0)
    assert tokens.refuses(knock(token, 4599.0)) is None
    assert tokens.refuses(knock(token, 4600.0)) == "an access token that has ended came"
    assert tokens.refuses(knock("9" + token, 4599.0)) == "an access token that is none of ours came"
    assert other.refuses(knock(token, 1000.0)) == "an access token that is none of ours came"


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_mmis_signature_is_read_as_it_is_set(algorithm: str, encoding: str):
    digest = hmac.digest(b"s", BODY, algorithm)
    text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    proof = Signature("X-Any", ("older", "s"), algorithm, encoding)

    assert proof.refuses(Knock("POST", "/", "", [("x-any", text)], 0, BODY)) is None
    assert proof.refuses(Knock("POST", "/", "", [("x-any", text)], 0, BODY + b"x")) == "X-Any is not this body's"
    assert proof.refuses(Knock("POST", "/", "", [("x-any", text), ("x-any", text)], 0, BODY)) == "no X-Any came"


def test_collateralxp_needs_both_its_secrets(served: Receiver):
    body = sample("collateralxp/02-added.json")
    url, right = "/api/v1/senders/collateralxp/webhook", proved("collateralxp", body)

    def status(query: str, headers: dict[str, str]) -> int:
        return served.post(url + query, token=None, content=body, headers=headers).status_code

    assert status("?secret=in-the-url", right) == 200
    assert status("", right) == status("?secret=in-the-urk", right) == 401
    assert status("?secret=in-the-url&secret=in-the-url", right) == 401
    assert status("?secret=in-the-url", {}) == status("?secret=in-the-url", {"Authorization": "Bearer no"}) == 401


def test_showmojo_without_its_token_is_told_that_it_is_sent_over_https_only(served: Receiver, engine: sa.Engine):
    answer = served.post(path("showmojo"), token=None, content=sample("showmojo/01-event.json"))

    assert answer.status_code == 401
    assert "HTTPS addresses only" in answer.json()["detail"]
    assert "HTTPS addresses only" in rows(engine, "refused_deliveries")[0]["reason"]
    assert send(served, "showmojo", sample("showmojo/01-event.json"), Authorization="Bearer no").status_code == 401


@pytest.mark.parametrize("sender", ["mmi", "maxwell", "collateralxp", "showmojo"])
def test_a_sender_without_its_secret_answers_404(engine: sa.Engine, sender: str):
    names = tuple(name for name in OPEN if name.startswith(sender.upper()))
    with receiver(engine, {name: value for name, value in OPEN.items() if name not in names}) as running:
        assert send(running, sender, b"{}").status_code == 404
        assert httpx.get(running.url + path(sender)).status_code == 404
        if sender == "maxwell":
            assert httpx.post(running.url + TOKEN_PATH).status_code == 404


def test_a_larger_body_than_we_take_is_413(served: Receiver):
    assert send(served, "mmi", b'{"a":"' + b"x" * 5 * 1024 * 1024 + b'"}').status_code == 413
