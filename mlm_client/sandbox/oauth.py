"""Signing in: POST /oauth/token with client credentials, and the tickets that it hands out (MLM's wire, §1.3)."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mlm_client.sandbox.calls import CallLog
from mlm_client.sandbox.knobs import Dials


class Tickets:
    """The tokens in force, each until its time is up. Safe from any thread."""

    def __init__(self, dials: Dials, client_id: str, client_secret: str) -> None:
        self._dials = dials
        self._client = (client_id.encode(), client_secret.encode())
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def knows(self, client_id: str, client_secret: str) -> bool:
        """Whether these are the credentials of the one client."""
        given = (client_id.encode(), client_secret.encode())
        same = [hmac.compare_digest(mine, theirs) for mine, theirs in zip(self._client, given, strict=True)]
        return all(same)

    def issue(self) -> str:
        """A new token, good for `token_life_s` from now."""
        token, now = secrets.token_urlsafe(24), time.monotonic()
        with self._lock:
            if len(self._until) > 1000:
                self._until = {each: until for each, until in self._until.items() if until > now}
            self._until[token] = now + self._dials.now.token_life_s
        return token

    def holds(self, ticket: str) -> bool:
        """Whether `sTicket` is `Bearer` with a token in force, and no knob refuses it this time."""
        kind, _, token = ticket.strip().partition(" ")
        with self._lock:
            good = kind == "Bearer" and self._until.get(token, 0.0) > time.monotonic()
        return good and not self._dials.strikes("ticket_refuse")

    def revoke(self) -> int:
        """End every token at once; how many there were."""
        with self._lock:
            count = len(self._until)
            self._until.clear()
            return count


def token_endpoint(tickets: Tickets, dials: Dials, calls: CallLog) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint: 200 with a token; 401 invalid_client; 400 for another grant (RFC 6749, §5.2)."""

    async def token(request: Request) -> Response:
        form = {key: values[-1] for key, values in parse_qs((await request.body()).decode("latin-1")).items()}
        good = tickets.knows(form.get("client_id", ""), form.get("client_secret", ""))
        if not good or dials.strikes("sign_in_refuse"):
            calls.signed_in(good=False)
            return JSONResponse({"error": "invalid_client"}, 401, {"Cache-Control": "no-store"})
        if form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        calls.signed_in(good=True)
        answer = {
            "access_token": tickets.issue(),
            "token_type": "Bearer",
            "expires_in": int(dials.now.token_life_s),
        }
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    return token
