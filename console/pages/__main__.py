"""The console's own process: `python -m console.pages SOCKET` serves the pages there, to the receiver that asks."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from starlette.requests import Request
from starlette.routing import Router

from console.apart import CALLER
from console.pages.app import console_routes
from freshness.settings import load
from jobs import log
from receiver.app import App
from receiver.limits import Limits
from receiver.server import Server

#: Deliveries first: what receives and what works have 0.
PRIORITY = 10
GRACE_S = 2
AUTOGROUP = Path("/proc/self/autogroup")


def main(there: Path) -> None:
    """Serve until SIGTERM."""
    _after_deliveries()
    there.unlink(missing_ok=True)  # of one that was killed
    log.configure("console")
    app = App(Router(console_routes(load(os.environ), _caller), redirect_slashes=False), (), Limits(0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(there))
        listener.listen()
        Server(app, grace_s=GRACE_S).run([listener])


def _after_deliveries() -> None:
    os.nice(PRIORITY)
    # Where Linux shares processors among sessions first, a process's own priority counts within its session only.
    with suppress(OSError):
        AUTOGROUP.write_text(str(PRIORITY))


def _caller(request: Request) -> str:
    return request.headers[CALLER.decode()]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
