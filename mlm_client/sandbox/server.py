"""The sandbox as a running server: in a thread of a test's process, or as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, request_response

from mlm_client.sandbox.api import Api
from mlm_client.sandbox.calls import CallLog
from mlm_client.sandbox.deliveries import Deliveries
from mlm_client.sandbox.endpoint import Away, LoanEndpoint, SandboxProtocol
from mlm_client.sandbox.files import Store
from mlm_client.sandbox.knobs import Dials, Knobs
from mlm_client.sandbox.making import Maker, file_set
from mlm_client.sandbox.oauth import Tickets, token_endpoint
from mlm_client.sandbox.soap import LoanService

LOAN_PATH = "/los/webservice/Loan.asmx"
EDOCS_PATH = "/los/webservice/EDocsService.asmx"
TOKEN_PATH = "/oauth/token"  # noqa: S105  a path
#: Credentials of the one client, unless others are given. A toy's, good for nothing else.
CLIENT_ID, CLIENT_SECRET = "sandbox", "sandbox-secret"


class Sandbox:
    """The parts of one MLM, not listening: `store`, `dials`, `maker`, `tickets`, `calls`, `deliveries`, `service`."""

    def __init__(
        self,
        files: int = 25,
        seed: int = 0,
        knobs: Knobs | None = None,
        webhook_url: str | None = None,
        webhook_token: str | None = None,
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """`files` files are there from the start, unannounced; `now_s` replaces MLM's clock (seconds since 1970)."""
        self.dials = Dials(knobs, seed)
        self.store = Store(self.dials, now_s)
        self.maker = Maker(seed)
        self.tickets = Tickets(self.dials, client_id, client_secret)
        self.calls = CallLog()
        self.deliveries = Deliveries(self.dials, webhook_url, webhook_token)
        self.service = LoanService(self.store, self.dials, self.tickets, self.calls, self.maker)
        self.store.listeners.append(self.deliveries.hear)
        for content in file_set(self.maker, files):
            self.store.add(content, announce=False)

    def app(self, started: Callable[[], None] = lambda: None) -> Starlette:
        """The ASGI application; its lifespan runs the webhook's sender and the late saves."""
        api = Api(self.store, self.dials, self.maker, self.tickets, self.calls, self.deliveries)

        async def edocs(request: Request) -> Response:
            self.calls.edocs_called()
            return PlainTextResponse("The sandbox has no e-docs.", 500)

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            tasks = [asyncio.create_task(self.deliveries.run()), asyncio.create_task(self._late_saves())]
            started()
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        sign_in = request_response(token_endpoint(self.tickets, self.dials, self.calls))
        routes = [
            Route(LOAN_PATH, Away(LoanEndpoint(self.service), self.service), methods=["GET", "POST"]),
            Route(EDOCS_PATH, Away(request_response(edocs), self.service), methods=["GET", "POST"]),
            Route(TOKEN_PATH, Away(sign_in, self.service), methods=["POST"]),
            *api.routes(),
        ]
        return Starlette(routes=routes, lifespan=lifespan)

    async def _late_saves(self) -> None:
        """Make the saves that come later by themselves, when they are due."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self.store.on_pending = wake
        try:
            while True:
                woken.clear()
                next_s = self.store.run_pending()
                with suppress(TimeoutError):
                    async with asyncio.timeout(next_s):
                        await woken.wait()
        finally:
            self.store.on_pending = lambda: None


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.listen(1024)
    return bound


def _server(app: Starlette) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=SandboxProtocol,
        ws="none",
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


class SandboxServer:
    """A sandbox that listens at `host`, by default loopback, from entering until leaving the `with`.

    Addresses: `base_url`, `loan_service_url`, `token_url`, `edocs_url`; credentials: `client_id`, `client_secret`. The
    parts of `sandbox` are there directly, for fast assertions: `store`, `dials`, `calls`, `deliveries`, `maker`,
    `tickets`, `service`.
    """

    def __init__(
        self,
        port: int = 0,
        files: int = 25,
        seed: int = 0,
        knobs: Knobs | None = None,
        webhook_url: str | None = None,
        webhook_token: str | None = None,
        client_id: str = CLIENT_ID,
        client_secret: str = CLIENT_SECRET,
        host: str = "127.0.0.1",
    ) -> None:
        self.sandbox = Sandbox(files, seed, knobs, webhook_url, webhook_token, client_id, client_secret)
        self.store, self.dials, self.maker = self.sandbox.store, self.sandbox.dials, self.sandbox.maker
        self.tickets, self.calls, self.service = self.sandbox.tickets, self.sandbox.calls, self.sandbox.service
        self.deliveries = self.sandbox.deliveries
        self.client_id, self.client_secret = client_id, client_secret
        self._host, self._port = host, port

    def __enter__(self) -> SandboxServer:
        self._socket = _listening(self._host, self._port)
        self.port = self._socket.getsockname()[1]
        self.base_url = f"http://{self._host}:{self.port}"
        self.loan_service_url = self.base_url + LOAN_PATH
        self.token_url = self.base_url + TOKEN_PATH
        self.edocs_url = self.base_url + EDOCS_PATH
        started = threading.Event()
        self._server = _server(self.sandbox.app(started.set))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="mlm-sandbox", daemon=True
        )
        self._thread.start()
        if not started.wait(10):
            raise RuntimeError("the sandbox did not start within 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


def run(
    host: str = "127.0.0.1",
    port: int = 8900,
    files: int = 25,
    seed: int = 0,
    knobs: Knobs | None = None,
    webhook_url: str | None = None,
    webhook_token: str | None = None,
    client_id: str = CLIENT_ID,
    client_secret: str = CLIENT_SECRET,
    started: Callable[[str], None] = lambda base_url: None,
) -> None:
    """Run a sandbox until SIGTERM or SIGINT, which end it cleanly. `started` gets the base URL once it listens.

    Must be called from the main thread. Raises OSError where the port is taken.
    """
    sandbox = Sandbox(files, seed, knobs, webhook_url, webhook_token, client_id, client_secret)
    with _listening(host, port) as bound:
        shown = f"[{host}]" if ":" in host else host
        base_url = f"http://{shown}:{bound.getsockname()[1]}"
        server = _server(sandbox.app(lambda: started(base_url)))
        ends = (signal.SIGTERM, signal.SIGINT)
        # uvicorn raises a signal again once it has shut down; these take it, so that the caller goes on.
        before = [signal.signal(each, lambda number, frame: None) for each in ends]
        try:
            server.run(sockets=[bound])
        finally:
            for each, handler in zip(ends, before, strict=True):
                signal.signal(each, handler)
