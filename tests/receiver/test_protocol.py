"""What a client may send, and how long it may take: on real sockets, against the real server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from running_receiver import MLM_TOKEN, WEBHOOK, Receiver

from receiver import protocol

HEAD = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MLM_TOKEN}\r\n".encode()
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def connected(served: Receiver) -> Iterator[socket.socket]:
    at = urlsplit(served.url)
    with socket.create_connection((at.hostname, at.port), timeout=30) as client:
        yield client


def until_closed(client: socket.socket) -> bytes:
    """What comes until the server ends the connection. Fails if it does not within the socket's timeout."""
    said = b""
    try:
        while piece := client.recv(65_536):
            said += piece
    except ConnectionError:
        pass
    return said


def until_silent(client: socket.socket) -> None:
    while client.recv(65_536):
        pass


def answer(client: socket.socket) -> bytes:
    said = b""
    while b"\r\n\r\n" not in said:
        said += client.recv(65_536)
    return said


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, served: Receiver) -> Receiver:
    """A receiver whose patience is over soon."""
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.5)
    monkeypatch.setattr(protocol, "BODY_WITHIN_S", 0.5)
    monkeypatch.setattr(protocol, "KEEP_ALIVE_S", 1.0)
    return served


class Dripping:
    """Sends one byte after the other, for as long as somebody listens."""

    def __init__(self, client: socket.socket, byte: bytes) -> None:
        self._client, self._byte = client, byte
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._drip)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _drip(self) -> None:
        while not self._stopped.wait(0.1):
            try:
                self._client.sendall(self._byte)
            except OSError:
                return


def test_a_head_that_comes_a_byte_at_a_time_is_cut_off(impatient: Receiver):
    with connected(impatient) as client:
        client.sendall(HEAD + b"X-Slow: ")
        with Dripping(client, b"a"):
            assert until_closed(client).startswith(b"HTTP/1.1 408 ")
    assert impatient.get("/healthz").status_code == 200


def test_a_body_that_comes_a_byte_at_a_time_is_cut_off_and_nothing_of_it_is_taken(impatient: Receiver):
    with connected(impatient) as client:
        client.sendall(HEAD + b"Content-Length: 100000\r\n\r\n[")
        with Dripping(client, b" "):
            assert until_closed(client).startswith(b"HTTP/1.1 408 ")
    assert impatient.rows("SELECT FROM mlm_webhook_receipts") == []


def test_what_goes_on_after_a_refusal_is_cut_off(impatient: Receiver):
    """The answer is there at once: 401. The body that was announced never ends."""
    with connected(impatient) as client:
        client.sendall(HEAD.replace(MLM_TOKEN.encode(), b"wrong") + b"Content-Length: 100000\r\n\r\n")
        assert answer(client).startswith(b"HTTP/1.1 401 ")
        with Dripping(client, b" "):
            until_closed(client)


@pytest.mark.parametrize("said", [b"", b"\r\n"], ids=["nothing", "empty lines"])
def test_a_connection_that_begins_no_request_is_ended(impatient: Receiver, said: bytes):
    with connected(impatient) as client, Dripping(client, said):
        until_closed(client)


def test_empty_lines_between_requests_keep_no_connection(impatient: Receiver):
    with connected(impatient) as client:
        client.sendall(ALIVE)
        assert answer(client).startswith(b"HTTP/1.1 200 ")
        with Dripping(client, b"\r\n"):
            until_closed(client)


def test_many_slow_clients_keep_nobody_out(impatient: Receiver):
    with connected(impatient) as first:
        others = [socket.create_connection(first.getpeername()) for _ in range(300)]
        for each in others:
            each.sendall(HEAD)
        assert impatient.get("/healthz").status_code == 200
        for each in others:
            each.settimeout(30)
            assert until_closed(each).startswith(b"HTTP/1.1 408 ")
            each.close()


def test_a_client_that_is_slow_but_in_time_is_served(served: Receiver):
    with connected(served) as client:
        for byte in ALIVE:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        assert answer(client).startswith(b"HTTP/1.1 200 ")


def test_an_open_stream_is_not_taken_for_a_client_that_is_late(impatient: Receiver):
    with connected(impatient) as client:
        client.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer from-portal\r\n\r\n")
        assert answer(client).startswith(b"HTTP/1.1 200 ")
        client.settimeout(2.5)  # longer than any patience here
        with pytest.raises(TimeoutError):
            until_silent(client)


@pytest.mark.parametrize(
    "more",
    [
        b"X-Long: " + b"a" * protocol.LARGEST_HEAD + b"\r\n",
        b"".join(b"X-%d: a\r\n" % n for n in range(protocol.MOST_HEADERS + 1)),
    ],
    ids=["long", "many"],
)
def test_headers_that_are_too_much_are_refused_as_that(served: Receiver, more: bytes):
    with connected(served) as client:
        client.sendall(HEAD + more + b"\r\n")
        assert until_closed(client).startswith(b"HTTP/1.1 431 ")


def test_a_line_that_is_too_long_is_refused_as_that(served: Receiver):
    with connected(served) as client:
        client.sendall(b"GET /" + b"a" * protocol.LARGEST_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert until_closed(client).startswith(b"HTTP/1.1 431 ")


def test_one_header_without_an_end_is_refused_before_it_fills_the_memory(served: Receiver):
    sent = 0
    with connected(served) as client:
        client.sendall(HEAD + b"X-Long: ")
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:
                sent += client.send(b"a" * 65_536)
    assert sent < 64 << 20


def test_what_is_no_http_is_refused(served: Receiver):
    with connected(served) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert until_closed(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/no/such/route", "/metrics", WEBHOOK])
def test_every_answer_has_the_headers_that_keep_browsers_from_mischief(served: Receiver, path: str):
    headers = served.get(path, token=None).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "server" not in headers
