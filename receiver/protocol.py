"""HTTP as uvicorn speaks it, but with an end to what a client may send, and to how long it may take.

Uvicorn holds what it has read of a head, however much (measured), and waits for the rest of a request as long as the
client likes: a few thousand connections that send a byte a minute each keep everybody else out. Here a head has a
largest size and a time to arrive in, and so has a body, and a connection that has said nothing yet.
"""

from __future__ import annotations

import asyncio
import time

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEEP_ALIVE_S = 75  # longer than the 60 s that load balancers keep a connection, or they meet a closed one

#: So many seconds a request's head may take from its first byte on, and its body from the head's end on. 5 MiB, the
#: most that is taken, then need 90 kB a second.
HEAD_WITHIN_S, BODY_WITHIN_S = 10.0, 60.0

#: A request's line and headers may have so many bytes and lines.
LARGEST_HEAD, MOST_HEADERS = 64 * 1024, 100

#: What arrived of a head that has no end yet is counted too: well above the 256 KiB that arrive at once.
LARGEST_UNENDED = 512 * 1024

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large"
_TOO_LATE = b"HTTP/1.1 408 Request Timeout"
_CLOSE = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class TooLarge(Exception):
    """A head has more than it may have. Of this connection no more is read."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _in_head = False
    _unended = 0
    _head = 0
    _lines = 0
    #: When what we wait for has to be here, by the monotonic clock; None: it is we who are waited for.
    _due: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there."""
        super().connection_made(transport)
        self._due = time.monotonic() + KEEP_ALIVE_S

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; close a connection whose head goes on too long."""
        if self.cycle is None or self.cycle.response_complete:
            self._due = self._due or time.monotonic() + HEAD_WITHIN_S
        super().data_received(data)
        if self._in_head:
            self._unended += len(data)
            if self._unended > LARGEST_UNENDED:
                self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._unended, self._head, self._lines = True, 0, 0, 0
        self._due = time.monotonic() + HEAD_WITHIN_S
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its first line."""
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._lines += 1
        self._take(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._in_head = False
        self._due = time.monotonic() + BODY_WITHIN_S
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is here as a whole; if it was answered before that, the next one may come."""
        self._due = time.monotonic() + KEEP_ALIVE_S if self.cycle.response_complete else None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or too much of it."""
        if self._is_too_large():
            self._end(_TOO_LARGE)
        else:
            super().send_400_response(msg)

    def end_if_late(self, now: float) -> None:
        """End the connection if what its client is to send is overdue. While we ourselves stop reading it is not."""
        if self._due is None or now < self._due:
            return
        if self.flow.read_paused:
            self._due = now + BODY_WITHIN_S
        else:
            self._end(_TOO_LATE)

    def _take(self, length: int) -> None:
        self._head += length
        if self._is_too_large():
            raise TooLarge

    def _is_too_large(self) -> bool:
        return self._head > LARGEST_HEAD or self._lines > MOST_HEADERS

    def _end(self, answer: bytes) -> None:
        """Close the connection, with this answer if none has begun."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(answer + _CLOSE)
        self.transport.close()
