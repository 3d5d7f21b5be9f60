"""Running the app: uvicorn, with what it must not do switched off.

It does not rewrite the client's address from `X-Forwarded-For` (`doors` does, for trusted proxies alone), logs no
requests (a stream's ticket stands in its address) and does not name itself. A SIGTERM lets requests under way end,
and ends event streams at once.
"""

from __future__ import annotations

import socket

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .app import App

log = structlog.get_logger(__name__)

KEEP_ALIVE_S = 75  # longer than the 60 s that load balancers keep a connection, or they meet a closed one

#: A request's line and headers may have so many bytes. Well above the 256 KiB that arrive at once, since it is
#: counted by what arrives.
LARGEST_HEAD = 512 * 1024


class Protocol(HttpToolsProtocol):
    """Uvicorn's, but that a head without end is refused: it holds what it has read of one, however much (measured)."""

    _in_head = False
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; close a connection whose head goes on too long."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._in_head = False
        super().on_headers_complete()


class Server(uvicorn.Server):
    """Uvicorn, but that open event streams are ended before it waits for connections to close."""

    def __init__(self, app: App, host: str = "127.0.0.1", port: int = 8000, grace_s: int = 20) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="auto",
                http=Protocol,
                ws="none",
                lifespan="on",
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=grace_s,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: streams end, requests under way have `grace_s` seconds, then the app's own ending."""
        self._app.begin_ending()
        await super().shutdown(sockets)
        self._captured_signals.clear()  # uvicorn would raise them again: a stop that was asked for is no failure


def serve(app: App, host: str, port: int, grace_s: int = 20, share_port: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, and return. Requests under way then have `grace_s` seconds.

    With `share_port` others that do so may listen at the same address; the kernel deals connections out among them.

    Raises:
        OSError: the address cannot be listened at.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=2048, reuse_port=share_port) as listener:
        log.info("receiver.listening", host=host, port=listener.getsockname()[1])
        Server(app, host, port, grace_s).run([listener])
