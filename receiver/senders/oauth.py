"""OAuth2 where we are asked for the token: client credentials (RFC 6749, 4.4) for a sender that fetches one from us.

A token is its end, a random number, and an HMAC of both under a key derived from the client's secret: any receiver
issues and believes it, and nothing is kept. With the secret every token of it ends.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote_plus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..bodies import LARGEST_CALL, read
from ..errors import TooMuch
from ..problems import Problem, proved
from .proofs import Knock

_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class IssuedTokens:
    """Tokens that we issue to one client, and believe until they end."""

    client_id: str
    client_secret: str = field(repr=False)
    lifetime_s: int = 3600
    needs_body: bool = False

    def issue(self, at: float) -> str:
        """A new token."""
        said = f"{int(at) + self.lifetime_s}.{secrets.token_urlsafe(12)}"
        return f"{said}.{self._signed(said)}"

    def refuses(self, knock: Knock) -> str | None:
        """None for a token of ours that has not ended."""
        scheme, _, token = (knock.header("authorization") or "").partition(" ")
        said, _, signature = token.strip().rpartition(".")
        if scheme.lower() != "bearer":
            return "no access token came"
        if not hmac.compare_digest(signature.encode("latin-1", "replace"), self._signed(said).encode()):
            return "an access token that is none of ours came"
        return None if knock.at < int(said.partition(".")[0]) else "an access token that has ended came"

    def knows(self, *clients: tuple[str, str]) -> bool:
        """Whether one of these, each an id and a secret, is the client; all are compared, in constant time."""
        known = False
        for client_id, client_secret in clients:
            right_id = hmac.compare_digest(client_id.encode(), self.client_id.encode())
            known |= hmac.compare_digest(client_secret.encode(), self.client_secret.encode()) & right_id
        return known

    def _signed(self, said: str) -> str:
        key = hmac.digest(self.client_secret.encode(), b"access token", "sha256")
        return (
            base64.urlsafe_b64encode(hmac.digest(key, said.encode("latin-1", "replace"), "sha256")).decode().rstrip("=")
        )


class NoToken(Problem):
    """No token is issued. Raised like every refusal, so that it is counted against its address; answered as RFC 6749
    has it (5.2)."""

    def response(self) -> Response:
        """The error's name alone."""
        return JSONResponse({"error": self.detail}, self.status, {**_NO_STORE, **self.headers})


def token_route(path: str, tokens: IssuedTokens | None, clock: Callable[[], float] = time.time) -> Route:
    """Where the client fetches its token; 404 without a client configured."""

    async def post(request: Request) -> Response:
        if tokens is None:
            raise Problem(404, "no client is configured for this route")
        try:
            form = parse_qs((await read(request, LARGEST_CALL)).decode("latin-1"), keep_blank_values=True)
        except TooMuch as error:
            raise Problem(413, str(error)) from None
        if not tokens.knows(*_client(request, form)):
            raise NoToken(401, "invalid_client", {"WWW-Authenticate": "Basic"})
        proved(request.scope)
        if form.get("grant_type") != ["client_credentials"]:
            raise NoToken(400, "unsupported_grant_type")
        token = {"access_token": tokens.issue(clock()), "token_type": "Bearer", "expires_in": tokens.lifetime_s}
        return JSONResponse(token, headers=_NO_STORE)

    return Route(path, post, methods=["POST"])


def _client(request: Request, form: dict[str, list[str]]) -> Sequence[tuple[str, str]]:
    """Who asks: by HTTP Basic, coded as OAuth2 has it, or as it is, as many a client sends it; or in the form."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(coded.strip(), validate=True).decode("latin-1").partition(":")
        except (binascii.Error, ValueError):
            return ()
        return (name, secret), (unquote_plus(name), unquote_plus(secret))
    return ((form.get("client_id", [""])[0], form.get("client_secret", [""])[0]),)
