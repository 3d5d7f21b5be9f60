"""zeep's way to the wire: decides by HTTP status and content type what an answer is, before anybody parses it.

Of an HTML page zeep would make a fault without a status, of a text page an error that holds the whole page
(measured). So only XML comes through, with status 200, or 500 for a fault to be looked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import zeep

from .errors import (
    AccessDenied,
    MlmError,
    Outage,
    Rejected,
    SignInAgain,
    Throttled,
    TooLarge,
    UnreadableAnswer,
)
from .exchange import Exchange, Reply

# zeep logs whole envelopes there at DEBUG: borrowers, and the ticket.
logging.getLogger("zeep.transports").setLevel(logging.WARNING)

_XML = ("text/xml", "application/soap+xml", "application/xml")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the client: its operation, and when it must be over by the clock."""

    operation: str
    deadline: float


class MlmTransport(zeep.Transport):
    """What zeep needs, over an `Exchange`. Shared by all threads; each thread has its own call under way."""

    def __init__(self, exchange: Exchange) -> None:
        # Not super().__init__(): it opens a session of requests. zeep reads these two.
        self._close_session = False
        self.cache = None
        self._exchange = exchange
        self._thread = threading.local()

    @contextmanager
    def during(self, call: Call) -> Iterator[None]:
        """The post that zeep makes inside belongs to `call`."""
        self._thread.call = call
        try:
            yield
        finally:
            del self._thread.call

    def post(self, address: str, message: bytes, headers: Mapping[str, str]) -> Reply:
        """An answer that may be SOAP; any other is raised as what it means."""
        call: Call = self._thread.call
        reply = self._exchange.post(address, message, headers, call.deadline)
        if reply.status_code in (200, 500) and reply.media_type in _XML and reply.content.strip():
            return reply
        raise _by_status(reply.status_code, reply.headers)

    def _load_remote_data(self, url: str) -> bytes:
        """Nothing is ever loaded: our WSDL names no other document."""
        raise Rejected("the WSDL asks for another document")


def _by_status(status: int, headers: Mapping[str, str]) -> MlmError:
    """What an answer means that is not SOAP. What the service itself has not said is worth another try."""
    if status in (429, 503):
        return Throttled("MLM asks for fewer calls", status, _retry_after_s(headers))
    if status == 401:
        return SignInAgain("MLM refused the ticket", status)
    if status == 403:
        return AccessDenied("MLM denies access", status)
    if status == 413:
        return TooLarge("MLM finds the question too large", status)
    if status in (200, 201, 202, 204):
        return UnreadableAnswer("MLM answered with nothing, or with no XML", status)
    if status >= 500 or 300 <= status < 400 or status in (404, 408):
        return Outage("MLM does not answer at its address", status)
    return Rejected("MLM refuses the call", status)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks us to wait; a date counts from the answer's own `Date`. None if not readable."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal() and said.isascii():
        return float(said[:9])
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())
