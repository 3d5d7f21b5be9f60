"""The receiver as a test meets it: the real app on the real server, on a free port, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import redis
import sqlalchemy as sa

from freshness.bell import Ring
from freshness.ledger import events, own_writes
from freshness.ledger.files import FileRef
from freshness.rules import rules_of
from freshness.settings import load
from jobs.announce import announce
from receiver.app import make_app
from receiver.senders import SENDERS, Declare
from receiver.server import Server

WEBHOOK = "/api/v1/loans/mlm/webhook"
MLM_TOKEN = "from-mlm"
PORTAL_TOKEN = "from-portal"
OPEN = {"MLM_WEBHOOK_TOKEN": MLM_TOKEN, "PORTAL_API_TOKEN": PORTAL_TOKEN}

#: Tests knock wrongly more often than a limit is made for.
UNLIMITED = {"REFUSALS_A_MINUTE": "0"}

#: Two stamps of one file, the second newer.
SEEDED = "2026-11-01T10:00:00Z"
NEWER = "2026-11-01T11:00:00Z"


@dataclass
class Receiver:
    """A running receiver and what it rang."""

    url: str
    engine: sa.Engine
    rings: list[Ring] = field(default_factory=list)
    redis_url: str | None = None

    def post(self, path: str = WEBHOOK, *, token: str | None = MLM_TOKEN, **arguments: Any) -> httpx.Response:
        headers = dict(arguments.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.post(self.url + path, headers=headers, timeout=30, **arguments)

    def portal(self, path: str, body: Any = None, *, token: str | None = PORTAL_TOKEN) -> httpx.Response:
        return self.post(f"/api/v1{path}", token=token, **({} if body is None else {"json": body}))

    def get(self, path: str, *, token: str | None = PORTAL_TOKEN) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def rows(self, sql: str) -> Sequence[Any]:
        with self.engine.connect() as conn:
            return conn.exec_driver_sql(sql).all()

    def seed(self, ref: str, kind: Any = "loan") -> None:
        """A file of ours whose mark is SEEDED."""
        with self.engine.begin() as conn:
            own_writes.seed_mark(conn, rules_of(load({})), FileRef(kind, ref), SEEDED)

    def announce(self, ref: str, *kinds: str) -> list[int]:
        """Announce something of a file, number it, and ring the channel if there is a Redis, as the house does."""
        with self.engine.begin() as conn:
            events.write(conn, ref, kinds)
        with self.engine.begin() as conn:
            numbered = events.number_waiting(conn)
        if self.redis_url is not None:
            with redis.Redis.from_url(self.redis_url) as client:
                announce(client, numbered)
        return [event.id for event in numbered]


class _Server(Server):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextlib.contextmanager
def receiver(
    engine: sa.Engine,
    environ: dict[str, str] | None = None,
    redis_url: str | None = None,
    senders: tuple[Declare, ...] = SENDERS,
) -> Iterator[Receiver]:
    """Serve until the block ends; by default with both tokens set."""
    settings = load(UNLIMITED | (OPEN if environ is None else environ))
    rings: list[Ring] = []
    app = make_app(
        settings=settings,
        rules=rules_of(settings),
        engine=engine,
        bell=rings.extend,
        redis_url=redis_url,
        threads=4,
        senders=senders,
    )
    server = _Server(app, "127.0.0.1", 0, 5)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.up.wait(20)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Receiver(f"http://127.0.0.1:{port}", engine, rings, redis_url)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


def engine_to_nowhere() -> sa.Engine:
    """An engine whose PostgreSQL is away: nothing listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return sa.create_engine(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none", connect_args={"connect_timeout": 2})
