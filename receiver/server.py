"""Running the app: uvicorn, with what it must not do switched off.

It does not rewrite the client's address from `X-Forwarded-For` (`doors` does, for trusted proxies alone), logs no
requests (a stream's ticket stands in its address) and does not name itself. A SIGTERM lets requests under way end,
and event streams at once.
"""

from __future__ import annotations

import socket

import uvicorn
from starlette.applications import Starlette

from .app import hub_of

KEEP_ALIVE_S = 75  # longer than the 60 s that load balancers keep a connection, or they meet a closed one


class Server(uvicorn.Server):
    """Uvicorn, but that open event streams are ended before it waits for connections to close."""

    def __init__(self, app: Starlette, host: str = "127.0.0.1", port: int = 8000, grace_s: int = 20) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="auto",
                http="httptools",
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
        hub_of(self._app).close()
        await super().shutdown(sockets)


def serve(app: Starlette, host: str, port: int, grace_s: int = 20) -> None:
    """Serve until SIGTERM or SIGINT. Requests under way then have `grace_s` seconds."""
    Server(app, host, port, grace_s).run()
