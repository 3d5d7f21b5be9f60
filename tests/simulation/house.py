"""The product's processes for a history: receiver, workers, a scheduler and a portal, each made of its own real parts.

Nothing here decides anything. A process is a name, so that it can be killed; what it does are actors.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import httpx
import redis
from sqlalchemy import select
from sqlalchemy.orm import Session

import freshness
from freshness.bell import Ring
from freshness.field_keys import FieldKeys
from freshness.ledger import workers
from freshness.ledger.backstops import Backstop
from freshness.rules import Rules
from freshness.settings import load
from freshness.tables.portal import Lead, Loan
from hydrators.names import load_names
from jobs.auditing import Auditor
from jobs.handlers import Clerk
from jobs.lander import Lander
from jobs.rounds import Checker, Looker, Share
from jobs.slices import Slices
from jobs.sweeping import Sweep
from mlm_client.client import MlmClient, MlmConfig
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH
from receiver.app import make_app

from .answering import answer
from .mlm import BASE_URL, Wire
from .postgres import Postgres
from .scheduler import Scheduler

WEBHOOK = "/api/v1/loans/mlm/webhook"
WEBHOOK_TOKEN, PORTAL_TOKEN = "from-mlm", "from-portal"
KEYS = "dGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgb25seSwgMzI="

CONFIG = MlmConfig(BASE_URL + LOAN_PATH, BASE_URL + TOKEN_PATH, CLIENT_ID, CLIENT_SECRET)


class Bells:
    """The queue, as a set of what was rung for and nobody has begun: it may be flushed, and nothing is lost by it."""

    def __init__(self, point: Callable[[str], None]) -> None:
        self._point = point
        self.waiting: list[Ring] = []
        self.away = False

    def __call__(self, rings: Sequence[Ring]) -> None:
        """Ring. While Redis is away, nobody hears."""
        self._point("rings")
        for ring in rings:
            heard = Ring(ring.work, ring.file_id, ring.concern, ring.own_write_id)
            if not self.away and not ring.delay_s and heard not in self.waiting:
                self.waiting.append(heard)


@dataclass
class Worker:
    """One worker process: it beats while it is neither dead nor frozen."""

    id: str
    clerk: Clerk
    checker: Checker
    auditor: Auditor
    frozen: bool = False


@dataclass
class House:
    """Everything of ours. Verbs are what one actor does from its beginning to its end."""

    postgres: Postgres
    scheduler: Scheduler
    wire: Wire
    rules: Rules
    redis_url: str
    lot: Random
    workers: dict[str, Worker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bells = Bells(self.scheduler.point)
        self.keys = FieldKeys(load({"FIELD_KEYS": KEYS}).field_keys)
        self.names = load_names(None)
        self.mlm = self.client()
        settings = load(
            {
                "DATABASE_URL": "postgresql://simulation",
                "REDIS_URL": self.redis_url,
                "FIELD_KEYS": KEYS,
                "MLM_WEBHOOK_TOKEN": WEBHOOK_TOKEN,
                "PORTAL_API_TOKEN": PORTAL_TOKEN,
            }
        )
        self._make_app = partial(
            make_app, settings=settings, rules=self.rules, engine=self.postgres.engine, bell=self.bells
        )
        freshness.connect(self.rules, self.bells)
        self.sweep = Sweep(
            self.postgres.engine,
            self.rules,
            redis.Redis.from_url(self.redis_url),
            self.bells,
            lambda: None,
            20.0,
            Random(self.lot.random()),
        )
        self._made = 0
        for _ in range(2):
            self.hire()

    def client(self) -> MlmClient:
        """A client whose calls go to the sandbox in this process."""
        return MlmClient(
            CONFIG,
            self.postgres.clock,
            connect=lambda timeouts: httpx.Client(transport=self.wire, timeout=timeouts.read_s),
        )

    # workers

    def hire(self) -> Worker:
        """Start another worker process."""
        self._made += 1
        name, lot = f"worker-{self._made}", Random(self.lot.random())
        slices = Slices(
            engine=self.postgres.engine,
            rules=self.rules,
            mlm=self.mlm,
            lander=Lander(self.rules, self.names, self.keys, lot),
            worker_id=name,
            clock=self.postgres.clock,
            wait=lambda seconds: self.scheduler.wait(self.postgres.clock.now + seconds),
            new_id=lambda: uuid.UUID(int=lot.getrandbits(128)),
        )
        clerk = Clerk(self.postgres.engine, self.rules, slices, self.mlm, self.bells, lambda: None, lambda: False)
        rounds, audits = (self._looker(name, backstop) for backstop in (Backstop.ROUNDS, Backstop.AUDIT))
        self.workers[name] = Worker(name, clerk, Checker(rounds), Auditor(audits, self.names, self.keys))
        self.beat()
        return self.workers[name]

    def _looker(self, worker: str, backstop: Backstop) -> Looker:
        share = Share(backstop, 1.0, 3600.0)
        return Looker(self.postgres.engine, self.rules, self.mlm, self.bells, worker, lambda: False, share)

    def beat(self) -> None:
        """Every worker that can says that it lives."""
        scheduler, self.postgres.scheduler = self.postgres.scheduler, None
        try:
            with self.postgres.engine.begin() as conn:
                conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": self.postgres.clock.text})
                for worker in self.workers.values():
                    if not worker.frozen:
                        workers.beat(conn, worker.id, "here", 1)
        finally:
            self.postgres.scheduler = scheduler

    def work(self, worker: Worker, ring: Ring) -> None:
        """What a worker does about a ring."""
        answer(ring, worker.clerk, worker.checker, worker.auditor)

    # the receiver

    def post(self, path: str, body: Any, token: str = PORTAL_TOKEN) -> tuple[int, Any]:
        """A request to a receiver of its own, whose intake is idle: its status and what it answered."""
        return asyncio.run(_asked(self._make_app(), path, json.dumps(body).encode(), token))

    # the portal

    def session(self) -> Session:
        """A session of the portal's own."""
        return Session(self.postgres.engine)

    @staticmethod
    def owner(session: Session, ref: str) -> Loan | Lead | None:
        """The portal's row of a file: the loan if there is one."""
        loan = session.scalars(select(Loan).filter_by(mlm_reference_number=ref)).one_or_none()
        return loan or session.scalars(select(Lead).filter_by(mlm_reference_number=ref)).one_or_none()


async def _asked(app: Any, path: str, body: bytes, token: str) -> tuple[int, Any]:
    """One request through ASGI, without a socket."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    said: dict[str, Any] = {"status": 0, "body": b""}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            said["status"] = message["status"]
        else:
            said["body"] += message.get("body", b"")

    await app(scope, receive, send)
    return said["status"], json.loads(said["body"] or b"null")
