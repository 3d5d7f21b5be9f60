"""The way to the sandbox without a socket: its own service answers, and a lot strikes calls as a network would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import parse_qs

import httpx

from mlm_client.sandbox.calls import Call
from mlm_client.sandbox.faults import Asked, Reply, struck
from mlm_client.sandbox.server import LOAN_PATH, Sandbox

BASE_URL = "http://mlm.invalid"


class Wire(httpx.BaseTransport):
    """httpx's way to one sandbox at a time. `point` is called as a request leaves, and again before it is answered."""

    def __init__(self, point: Callable[[str], None], pass_time: Callable[[float], None]) -> None:
        self.sandbox: Sandbox | None = None
        self._point = point
        self._pass_time = pass_time
        #: Whether an answer of this file may come from a replica behind.
        self.may_be_behind: Callable[[str], bool] = lambda ref: False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as MLM would; a call that it leaves hanging takes all of its time."""
        assert self.sandbox is not None
        body = b"".join(_pieces(request))
        if request.url.path != LOAN_PATH:
            # No point here: one thread of a process signs in, the others wait for it, and not in PostgreSQL.
            return self._told(request, self._reply(self.sandbox, request, body))
        self._point("asks MLM")
        reply = self._reply(self.sandbox, request, body)
        self._point("MLM has answered")
        return self._told(request, reply)

    def _told(self, request: httpx.Request, reply: Reply) -> httpx.Response:
        if reply.broken == "hang":
            self._pass_time(float(request.extensions["timeout"]["read"]))
            raise httpx.ReadTimeout("hang", request=request)
        if reply.broken == "reset":
            raise httpx.ReadError("reset", request=request)
        if reply.broken == "half":
            raise httpx.RemoteProtocolError("half", request=request)
        headers = {"content-type": reply.content_type} | {k.decode(): v.decode() for k, v in reply.headers}
        return httpx.Response(reply.status, headers=headers, content=reply.body)

    def _reply(self, sandbox: Sandbox, request: httpx.Request, body: bytes) -> Reply:
        if outage := sandbox.dials.now.outage:
            return struck(outage, Asked(), "", sandbox.dials.now)
        if request.url.path != LOAN_PATH:
            return _sign_in(sandbox, body)
        with sandbox.calls.call() as call:
            return self._answer(sandbox, body, request.headers.get("soapaction"), call)

    def _answer(self, sandbox: Sandbox, body: bytes, action: str | None, call: Call) -> Reply:
        with suppress(StopIteration):
            ref = next(ref for ref in sandbox.store.refs(deleted=True) if f">{ref}<".encode() in body)
            if self.may_be_behind(ref):
                sandbox.dials.patch(replica_next=1)
        try:
            return sandbox.service.answer(body, action, call)
        finally:
            sandbox.dials.patch(replica_next=0)


def _sign_in(sandbox: Sandbox, body: bytes) -> Reply:
    form = {key: values[-1] for key, values in parse_qs(body.decode()).items()}
    if not sandbox.tickets.knows(form.get("client_id", ""), form.get("client_secret", "")):
        return Reply(401, "application/json", b'{"error": "invalid_client"}')
    token = sandbox.tickets.issue()
    text = f'{{"access_token": "{token}", "token_type": "Bearer", "expires_in": {int(sandbox.dials.now.token_life_s)}}}'
    return Reply(200, "application/json", text.encode())


def _pieces(request: httpx.Request) -> Iterator[bytes]:
    assert isinstance(request.stream, httpx.SyncByteStream)
    yield from request.stream
