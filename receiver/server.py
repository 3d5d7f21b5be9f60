"""Running the app: uvicorn, with what it must not do switched off.

It does not rewrite the client's address from `X-Forwarded-For` (`doors` does, for trusted proxies alone), logs no
requests (a stream's ticket stands in its address) and does not name itself. Who takes too long to send a request is
cut off. A SIGTERM lets requests under way end, and ends event streams at once.
"""

from __future__ import annotations

import socket
import time

import structlog
import uvicorn

from .app import App
from .protocol import KEEP_ALIVE_S, Protocol

log = structlog.get_logger(__name__)

#: Uvicorn looks in ten times a second; it is enough to look for clients that take too long once.
TICKS_A_LOOK = 10


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

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: end the connections of clients that take too long; whether to stop."""
        if counter % TICKS_A_LOOK == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Protocol):
                    connection.end_if_late(now)
        return await super().on_tick(counter)

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
