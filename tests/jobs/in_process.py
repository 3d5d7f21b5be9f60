"""The product in one thread, for tests that move time: a real sandbox, PostgreSQL and Redis, and the worker's and the
schedule's own parts, called one after the other. Nothing waits: `later` moves both our clock and MLM's."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Sequence
from typing import Any

import redis
import sqlalchemy as sa
from simulation.answering import answer

from console.demo.comparing import Difference, differences
from freshness.bell import Ring
from freshness.ledger import backstops, batches, status
from freshness.ledger.backstops import Backstop, Report
from freshness.ledger.batches import Entry
from freshness.ledger.files import import_file
from freshness.settings import load
from jobs.auditing import Auditor
from jobs.handlers import Clerk
from jobs.house import House
from jobs.rounds import Checker, Chooser
from jobs.sweeping import Sweep
from mlm_client.sandbox.api import file_json
from mlm_client.sandbox.editing import touch
from mlm_client.sandbox.files import Change
from mlm_client.sandbox.server import SandboxServer
from mlm_client.sandbox.stamps import webhook_stamp_text

APP_CODE = "our-app"

SETTINGS = {"MLM_RATE": "1000", "MLM_APP_CODE": APP_CODE, "MLM_CONFIRM_EVERY": "3600", "MLM_AUDIT_EVERY": "3600"}


class InProcess:
    """A worker, a schedule and a receiver's ledger. `hooks` are webhooks that MLM has sent and nobody has received."""

    def __init__(self, environment: dict[str, str], mlm: SandboxServer, **settings: str) -> None:
        where = {
            "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
            "MLM_TOKEN_URL": mlm.token_url,
            "MLM_CLIENT_ID": mlm.client_id,
            "MLM_CLIENT_SECRET": mlm.client_secret,
        }
        self.mlm = mlm
        self.environment = environment | where | SETTINGS | settings
        self.house = House(load(self.environment), "tests")
        self.redis: redis.Redis = self.house.redis
        self.offset_s = 0.0
        self.queue: deque[Ring] = deque()
        self.hooks: list[Entry] = []
        engine, rules = self.house.engine, self.house.rules
        sa.event.listen(engine, "begin", self._set_clock)
        self.clerk = Clerk(
            engine,
            rules,
            self.house.slices,
            self.house.mlm(prompt=True),
            self._ring,
            lambda: None,
            self.house.pacer.is_away,
        )
        rate = self.house.settings.mlm_rate
        self.sweeper = Sweep(engine, rules, self.redis, self._ring, lambda: None, rate)
        self.chooser = Chooser(engine, self.redis, self._ring)
        self.checker = Checker(self.house.looker(self._ring, Backstop.ROUNDS))
        self.auditor = Auditor(self.house.looker(self._ring, Backstop.AUDIT), self.house.names, self.house.keys)
        self.poller = self.house.poller(self._ring)
        mlm.store.listeners.append(self._hear)

    # time

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.offset_s)

    def later(self, seconds: float) -> None:
        """Let time pass, here and in MLM."""
        self.offset_s += seconds
        self.mlm.dials.patch(clock_offset_s=self.mlm.dials.now.clock_offset_s + seconds)

    def go_to(self, moment: dt.datetime) -> None:
        self.later((moment - self.now()).total_seconds())

    # MLM and its webhooks

    def edit(self, ref: str, concern: str = "loan_fields") -> None:
        """An outsider edits something in MLM, which sends its webhook."""
        assert touch(self.mlm.store, self.mlm.maker, ref, concern).changes

    def deliver(self) -> None:
        """What MLM has sent arrives."""
        hooks, self.hooks = self.hooks, []
        with self.house.engine.begin() as conn:
            rings = batches.receive(conn, self.house.rules, hooks).rings
        self._ring(rings)

    def lose(self) -> None:
        """What MLM has sent never arrives."""
        self.hooks.clear()

    # us

    def import_(self, *refs: str) -> None:
        for ref in refs:
            with self.house.engine.begin() as conn:
                import_file(conn, ref)
        self.settle()
        assert {self.state(ref) for ref in refs} == {"fresh"}

    def order(self, ref: str) -> None:
        """Order a file again, and ring."""
        with self.house.engine.begin() as conn:
            rings = import_file(conn, ref).rings
        self._ring(rings)

    def work(self) -> None:
        """Do what was rung for, and what that rings for."""
        self.house.beat()
        while self.queue:
            answer(self.queue.popleft(), self.clerk, self.checker, self.auditor)

    def settle(self, within_s: float = 300.0) -> None:
        """Sweep and work until no file is stale: two seconds apart, ten after half a minute. No backstop ticks."""
        waited_s = 0
        while waited_s < within_s:
            self.work()
            self.sweeper.ring_what_is_due()
            self.work()
            if not self.rows("SELECT FROM file_freshness WHERE served < ordered"):
                return
            step_s = 2 if waited_s < 30 else 10
            self.later(step_s)
            waited_s += step_s
        raise AssertionError(f"still stale: {self.rows('SELECT ref FROM file_freshness WHERE served < ordered')}")

    def rounds(self) -> list[int]:
        """One tick of the rounds, and the work that comes of it; the files that were looked at."""
        return self._tick(Backstop.ROUNDS)

    def audit(self) -> list[int]:
        """One tick of the audit, and the work that comes of it; the files that were looked at."""
        return self._tick(Backstop.AUDIT)

    def poll(self) -> None:
        """A poll of the list, if it is time, and the work that comes of it."""
        self.house.beat()
        self.poller.poll()
        self.work()

    # what came of it

    def rows(self, query: str, **parameters: Any) -> Sequence[sa.Row[Any]]:
        with self.house.engine.begin() as conn:
            result = conn.exec_driver_sql(query, parameters)
            return result.all() if result.returns_rows else []

    def state(self, ref: str) -> str:
        with self.house.engine.begin() as conn:
            return status.freshness_of(conn, self.house.rules, ref).state

    def differences(self, ref: str) -> list[Difference]:
        with self.house.engine.begin() as conn:
            return differences(conn, self.house.keys, file_json(self.mlm.store.newest(ref), self.mlm.dials.now))

    def report(self, backstop: Backstop) -> Report:
        with self.house.engine.begin() as conn:
            return next(each for each in backstops.report(conn) if each.backstop == backstop)

    def orders(self, ref: str) -> list[str]:
        query = "SELECT cause FROM refresh_orders o JOIN file_freshness f ON f.id = o.file_id WHERE ref = %(ref)s"
        return [row.cause for row in self.rows(f"{query} ORDER BY number", ref=ref)]

    def outcomes(self, ref: str) -> list[str]:
        query = "SELECT outcome, reason FROM mlm_webhook_receipts WHERE reference_number = %(ref)s ORDER BY id"
        return [row.reason if row.outcome == "dispatched" else row.outcome for row in self.rows(query, ref=ref)]

    def listed(self) -> list[str]:
        """The numbers that stand on MLM's list."""
        return [each.name for each in self.house.slices.mlm.list_modified(APP_CODE)]

    def close(self) -> None:
        self.mlm.store.listeners.remove(self._hear)
        self.house.engine.dispose()

    def _tick(self, backstop: Backstop) -> list[int]:
        self.chooser.choose(self.house.shares[backstop])
        chosen = [ring.file_id for ring in self.queue]
        self.work()
        return chosen

    def _ring(self, rings: Sequence[Ring]) -> None:
        self.queue.extend(ring for ring in rings if not ring.delay_s)

    def _hear(self, change: Change) -> None:
        text = webhook_stamp_text(change.version.stamp, self.mlm.dials.now)
        content = change.version.content
        self.hooks.append(Entry(content.ref, content.number, change.event, text))

    def _set_clock(self, conn: sa.Connection) -> None:
        conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": self.now().isoformat()})
