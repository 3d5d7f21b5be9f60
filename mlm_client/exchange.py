"""One HTTP exchange with MLM: streamed, capped, and over by a deadline. Every fault of the wire gets its name here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from .errors import MlmError, TimedOut, TooLarge, Unreachable, UnreadableAnswer
from .hardened import MAX_BYTES

Clock = Callable[[], float]

_ENCODINGS = ("", "identity", "gzip")


@dataclass(frozen=True)
class Timeouts:
    """Seconds for the connection, for each wait for bytes, and for a whole call of the client."""

    connect_s: float
    read_s: float
    whole_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer, with the four attributes that zeep reads of one."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    encoding: str | None = None

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case; empty where MLM names none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Exchange:
    """Posts to MLM over one pool of connections. Nothing is retried; no redirect takes the ticket along."""

    def __init__(self, http: httpx.Client, timeouts: Timeouts, clock: Clock, max_bytes: int = MAX_BYTES) -> None:
        self.timeouts = timeouts
        self.clock = clock
        self._http = http
        self._max_bytes = max_bytes

    def deadline(self) -> float:
        """When a call that begins now must be over, by the clock."""
        return self.clock() + self.timeouts.whole_s

    def post(self, url: str, content: bytes, headers: Mapping[str, str], deadline: float) -> Reply:
        """The answer, whatever its status.

        httpx knows no timeout for a whole call, so the deadline is looked at before every piece; a server that sends a
        few bytes at a time can outlast it by one `read_s` at most.
        """
        left = deadline - self.clock()
        if left <= 0:
            raise TimedOut("no time was left for the call")
        read = min(self.timeouts.read_s, left)
        timeout = httpx.Timeout(read, connect=min(self.timeouts.connect_s, left))
        error: MlmError
        try:
            with self._http.stream("POST", url, content=content, headers=dict(headers), timeout=timeout) as response:
                return Reply(
                    response.status_code,
                    response.headers,
                    self._body(response, deadline),
                    response.charset_encoding,
                )
        except httpx.ConnectTimeout:
            error = _unasked(TimedOut("no connection in time"))
        except httpx.TimeoutException:
            error = TimedOut("MLM did not answer in time")
        except httpx.DecodingError:
            error = UnreadableAnswer("the answer cannot be decompressed")
        except httpx.ConnectError:
            error = _unasked(Unreachable("no connection"))
        except httpx.TransportError:
            error = Unreachable("the connection broke")
        raise error  # outside the handler: httpx's errors hold the request, and so the secret or the ticket

    def _body(self, response: httpx.Response, deadline: float) -> bytes:
        if response.headers.get("content-encoding", "").lower() not in _ENCODINGS:
            raise UnreadableAnswer("the answer is compressed in a way we did not ask for")
        declared = response.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            raise TooLarge("the answer is larger than its cap", response.status_code)
        pieces, size = [], 0
        for piece in response.iter_bytes():
            size += len(piece)
            if size > self._max_bytes:
                raise TooLarge("the answer is larger than its cap", response.status_code)
            if self.clock() >= deadline:
                raise TimedOut("the whole call took too long")
            pieces.append(piece)
        return b"".join(pieces)


def _unasked(error: MlmError) -> MlmError:
    error.unasked = True
    return error


def pool(timeouts: Timeouts, connections: int = 64) -> httpx.Client:
    """The HTTP client of a process. Proxies of the environment are used, but never for this machine itself."""
    return httpx.Client(
        headers={"Accept-Encoding": "gzip", "User-Agent": "mlm-freshness"},
        follow_redirects=False,
        limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30),
        mounts={f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")},
        timeout=httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s),
    )
