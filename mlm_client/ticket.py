"""The ticket: OAuth2 client credentials turned into the `sTicket` of every SOAP body (docs/mlm-wire.md, §1.3)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

from .errors import MlmError, Outage, SignInFailed, Throttled, TimedOut, UnreadableAnswer
from .exchange import Exchange, Reply

#: A ticket is renewed this long before it runs out, or in the last tenth of a shorter life.
RENEW_EARLY_S = 300.0
#: Life of a ticket whose answer names none. MLM's is 14,400 s (seen).
ASSUMED_LIFE_S = 900.0
#: A refused sign-in is not tried again for this long, twice as long after each further one, up to the second.
REFUSED_PAUSE_S, LONGEST_PAUSE_S = 30.0, 600.0
#: A sign-in that failed for any other reason; also the least time between two tickets given up as refused.
FAILED_PAUSE_S = 1.0
#: Bytes of the token service's answer. MLM's tickets have some thousand.
MAX_BYTES = 64 * 1024

_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


@dataclass(frozen=True, eq=False)
class Ticket:
    """What goes into `sTicket`, and when it must be renewed and is spent, by the clock."""

    text: str = field(repr=False)
    renew_at: float
    expires_at: float


class Tickets:
    """The ticket of one client, shared by its threads; one of them at a time signs in.

    A failed sign-in is remembered for a while and raised to all who ask: 16 threads with a wrong secret make one
    attempt, not 16, since accounts lock. Memory is per process.
    """

    def __init__(self, exchange: Exchange, token_url: str, client_id: str, client_secret: str) -> None:
        self._exchange = exchange
        self._clock = exchange.clock
        self._url = token_url
        self._form = urlencode(
            {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        ).encode()
        self._signing_in = threading.Lock()
        self._ticket: Ticket | None = None
        self._failure: tuple[type[MlmError], str, int | None] | None = None
        self._rest_until = 0.0
        self._refusals = 0
        self._given_up_at: float | None = None

    def current(self, deadline: float) -> Ticket:
        """A ticket that is good now. While one thread renews it early, the others go on with the old one.

        Raises `SignInFailed` if MLM refuses the credentials, a `Retry` if the token service does not answer.
        """
        ticket = self._ticket
        now = self._clock()
        if ticket is not None and now < ticket.renew_at:
            return ticket
        spare = ticket if ticket is not None and now < ticket.expires_at else None
        with self._turn(0.0 if spare else max(deadline - now, 0.0)) as ours:
            if ours:
                return self._renewed(deadline)
        if spare is not None:
            return spare
        raise TimedOut("another thread's sign-in took too long")

    def refused(self, ticket: Ticket) -> None:
        """MLM refused this ticket: the next one who asks signs in again, unless somebody has since.

        At most one ticket a second is given up so; MLM refusing good tickets must not become a storm of sign-ins.
        """
        with self._turn(-1.0):
            now = self._clock()
            if self._ticket is not ticket:
                return
            if self._given_up_at is None or now - self._given_up_at >= FAILED_PAUSE_S:
                self._given_up_at = now
                self._ticket = None

    @contextmanager
    def _turn(self, wait_s: float) -> Iterator[bool]:
        """Whether it is our turn to change the ticket; -1 waits as long as it takes."""
        ours = self._signing_in.acquire(blocking=wait_s != 0.0, timeout=wait_s if wait_s != 0.0 else -1)
        try:
            yield ours
        finally:
            if ours:
                self._signing_in.release()

    def _renewed(self, deadline: float) -> Ticket:
        now = self._clock()
        ticket = self._ticket
        if ticket is not None and now < ticket.renew_at:
            return ticket
        if self._failure is None or now >= self._rest_until:
            self._sign_in(now, deadline)
        if self._ticket is not None and now < self._ticket.expires_at:
            return self._ticket
        kind, why, status = self._failure or (Outage, "no sign-in yet", None)
        raise kind(why, status)

    def _sign_in(self, now: float, deadline: float) -> None:
        """One attempt; leaves a new ticket, or a failure and the time until which it stands."""
        try:
            reply = self._exchange.post(self._url, self._form, _FORM, deadline)
            self._ticket = _ticket(reply, now)
            self._failure, self._refusals = None, 0
        except SignInFailed as failure:
            self._failure = (type(failure), failure.why, failure.status)
            self._rest_until = self._clock() + min(REFUSED_PAUSE_S * 2**self._refusals, LONGEST_PAUSE_S)
            self._refusals = min(self._refusals + 1, 10)
        except MlmError as failure:
            self._failure = (type(failure), failure.why, failure.status)
            self._rest_until = self._clock() + FAILED_PAUSE_S


def _ticket(reply: Reply, asked_at: float) -> Ticket:
    status = reply.status_code
    if status in (429, 503):
        raise Throttled("the token service asks for fewer calls", status)
    if status in (400, 401, 403):
        raise SignInFailed("MLM refuses the client id and secret", status)
    if status != 200:
        raise Outage("the token service does not answer", status)
    if len(reply.content) > MAX_BYTES:
        raise UnreadableAnswer("the token service answered with more than a token", status)
    try:
        said = json.loads(reply.content)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and "error" in said:
        raise SignInFailed("MLM refuses the client id and secret", status)
    token = said.get("access_token") if isinstance(said, dict) else None
    if not isinstance(token, str) or not token.strip() or not token.isprintable():
        raise UnreadableAnswer("the token service answered without a token", status)
    life_s = _life(said.get("expires_in"))
    early_s = min(RENEW_EARLY_S, life_s / 10)
    return Ticket(f"Bearer {token.strip()}", asked_at + life_s - early_s, asked_at + life_s)


def _life(said: object) -> float:
    """Seconds from when we asked, so that a slow answer makes the ticket older and never younger."""
    try:
        life_s = float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return ASSUMED_LIFE_S
    return life_s if 0 < life_s <= 86_400 else ASSUMED_LIFE_S
