"""The composition root: everything real is made here, from settings, when it is first asked for.

A process builds one `House` and takes what it needs: the receiver an engine and a bell, a worker the actors, the
schedule its ticks. Nothing is connected before its first use, and nothing is made at import.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial

import redis
import sqlalchemy as sa

import freshness
from freshness.bell import Bell
from freshness.field_keys import FieldKeys
from freshness.ledger import backstops, claims, events, measures, tallies, workers
from freshness.ledger.backstops import Backstop
from freshness.metrics import Tally
from freshness.rules import Rules, rules_of
from freshness.settings import Settings
from hydrators.names import Names, load_names
from mlm_client.client import MlmClient, MlmConfig

from .announce import announce
from .auditing import Auditor
from .bell import make_bell
from .broker import Broker, make_broker
from .calls import measured
from .declare import POLL, PRUNE, declare_actors, send
from .handlers import PRUNE_JOB, Clerk
from .lander import Lander
from .pacing import Pacer
from .polling import Poller
from .rounds import Checker, Chooser, Looker, Share
from .schedule import REAP_EVERY_S, Reaper, Tick
from .slices import Slices
from .sweeping import EVERY_S, SWITCHES_EVERY_S, TIDY_EVERY_S, Sweep
from .tracing import Traces, traces_of

#: What PostgreSQL cuts off by itself: a statement, a wait for a lock, a transaction that nobody goes on with. The last
#: is how long a process that freezes within a transaction keeps others from the rows it has locked.
DATABASE_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=10s"
)

#: A host that vanished answers nothing, not even that it is gone: without these, TCP waits for a quarter of an hour.
GONE_WITHIN_20_S = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

#: The same of PostgreSQL's end: without them, what a host of ours that vanished had connected takes up its places for
#: two hours, and a host that comes and goes all of them.
GONE_WITHIN_20_S_THERE = (
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3 -c tcp_user_timeout=20000"
)

#: The schedule asks this often whether a weekly job is due, and whether the poll list is.
ASK_EVERY_S = 120.0
ASK_FOR_POLL_EVERY_S = 10.0


@dataclass
class House:
    """One process of the product. `threads` is how many of it may be at the database at once."""

    settings: Settings
    process: str
    threads: int = 4
    #: Set when the process begins to stop; whatever waits for a place to call from gives up then.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: What this process counts for `/metrics`, until it hands it over.
    tally: Tally = field(default_factory=Tally)
    _hands_over_at: float = field(default=0.0, init=False, repr=False)

    @cached_property
    def worker_id(self) -> str:
        """Who holds the leases of this process."""
        return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    @cached_property
    def engine(self) -> sa.Engine:
        """PostgreSQL. A pool as large as the process has threads, and no larger."""
        self.settings.need("DATABASE_URL")
        settings = self.settings
        return make_engine(settings.database_url or "", self.threads + 2, self.process, settings.database_prepares)

    @cached_property
    def names(self) -> Names:
        """The field and collection names in force (`MLM_NAMES`)."""
        return load_names(self.settings.mlm_names)

    @cached_property
    def rules(self) -> Rules:
        """The rules in force, for the concerns that the lender has."""
        return rules_of(self.settings, self.names.active)

    @cached_property
    def keys(self) -> FieldKeys:
        """The keys that what is sensitive is sealed with."""
        self.settings.need("FIELD_KEYS")
        return FieldKeys(self.settings.field_keys)

    @cached_property
    def broker(self) -> Broker:
        """The queues as workers and the schedule use them."""
        return make_broker(self._redis_url, patient=True, name=self.worker_id)

    @property
    def redis(self) -> redis.Redis:
        """Redis, for who waits patiently: workers and the schedule."""
        return self.broker.client

    @cached_property
    def bell(self) -> Bell:
        """The bell for who answers somebody: a Redis that is away costs it two seconds, and the sweep rings instead."""
        return make_bell(make_broker(self._redis_url, patient=False))

    @cached_property
    def pacer(self) -> Pacer:
        """The budget of calls to MLM, and the circuit, shared by all workers."""
        return Pacer(
            self.redis,
            limit=self.settings.mlm_max_concurrency,
            rate=self.settings.mlm_rate,
            stop=self.stopping,
        )

    def mlm(self, *, prompt: bool) -> MlmClient:
        """A client for MLM within the budget; prompt calls go first."""
        return MlmClient(self.mlm_config, before_call=self._place(prompt))

    @cached_property
    def mlm_config(self) -> MlmConfig:
        """Where MLM is and who we are there."""
        wanted = ("MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL", "MLM_CLIENT_ID", "MLM_CLIENT_SECRET")
        self.settings.need(*wanted)
        url, token_url, client_id, secret = (getattr(self.settings, name.lower()) for name in wanted)
        timeouts = self.settings.mlm_timeout
        return MlmConfig(
            loan_service_url=url,
            token_url=token_url,
            client_id=client_id,
            client_secret=secret,
            connect_s=timeouts.connect_s,
            read_s=timeouts.read_s,
            whole_s=timeouts.whole_s,
            reference_parameter=self.names.reference_parameter,
            stamp_field=self.names.stamp,
        )

    @cached_property
    def traces(self) -> Traces:
        """The traces of this process, if any are wanted."""
        return traces_of(self.settings, self.worker_id)

    @cached_property
    def slices(self) -> Slices:
        """The runner of slices."""
        return Slices(
            engine=self.engine,
            rules=self.rules,
            mlm=self.mlm(prompt=False),
            lander=Lander(self.rules, self.names, self.keys),
            worker_id=self.worker_id,
            clock=time.monotonic,
            wait=time.sleep,
            traces=self.traces,
        )

    def declare(self) -> None:
        """Declare the actors of a worker on the broker."""
        bell = make_bell(self.broker)
        prompt = self.mlm(prompt=True)
        clerk = Clerk(self.engine, self.rules, self.slices, prompt, bell, self.announce, self.pacer.is_away, self.tally)
        handlers = clerk.handlers(
            check=Checker(self.looker(bell, Backstop.ROUNDS)).check,
            audit=Auditor(self.looker(bell, Backstop.AUDIT), self.names, self.keys).audit,
            poll=self.poller(bell).poll,
        )
        declare_actors(self.broker, handlers)

    def beat(self) -> None:
        """What a worker does each second: say that it lives, keep its places, give back what it could not before."""
        self.pacer.refresh()
        self._say_that_it_lives(workers.WORKER)
        self.slices.give_back_stranded()
        if time.monotonic() >= self._hands_over_at:
            self._hands_over_at = time.monotonic() + tallies.EVERY_S
            self.hand_over()

    def hand_over(self) -> None:
        """Hand over what this process has counted for `/metrics`."""
        tallies.hand_over(self.engine, self.worker_id, self.tally)

    def leave(self) -> None:
        """Say that this worker, or scheduler, has ended."""
        with self.engine.begin() as conn:
            workers.leave(conn, self.worker_id)
        self.hand_over()

    def announce(self) -> None:
        """Number the events that were committed, and say them aloud."""
        with self.engine.begin() as conn:
            numbered = events.number_waiting(conn)
        announce(self.redis, numbered)

    def ticks(self) -> dict[str, Tick]:
        """What the schedule does, and how often."""
        bell = make_bell(self.broker)
        sweep = Sweep(self.engine, self.rules, self.redis, bell, self.announce, self.settings.mlm_rate)
        chooser = Chooser(self.engine, self.redis, bell)
        ticks = {
            str(share.backstop): Tick(EVERY_S, partial(chooser.choose, share))
            for share in self.shares.values()
            if share.calls_a_second
        }
        if self.polls:
            ticks["poll"] = Tick(min(ASK_FOR_POLL_EVERY_S, self.settings.mlm_poll_every), self._poll_when_due)
        return ticks | {
            "beat": Tick(EVERY_S, lambda: self._say_that_it_lives(workers.SCHEDULER)),
            "sweep": Tick(EVERY_S, sweep.ring_what_is_due),
            "tidy": Tick(TIDY_EVERY_S, sweep.tidy),
            "measure": Tick(measures.EVERY_S, self._measure),
            "switches": Tick(SWITCHES_EVERY_S, sweep.follow_switches),
            "reap": Tick(REAP_EVERY_S, Reaper(self._redis_url).tick),
            "prune": Tick(ASK_EVERY_S, self._prune_weekly),
        }

    def _measure(self) -> None:
        with self.engine.begin() as conn:
            measures.measure(conn, self.rules)

    def _say_that_it_lives(self, process: str) -> None:
        with self.engine.begin() as conn:
            workers.beat(conn, self.worker_id, socket.gethostname(), os.getpid(), process)

    @property
    def polls(self) -> bool:
        """Whether MLM's list of modified files is polled."""
        return bool(self.settings.mlm_app_code) and self.settings.mlm_poll_every > 0

    @property
    def shares(self) -> dict[Backstop, Share]:
        """What the rounds and the audit may take of MLM's rate; one that is switched off may take nothing."""
        settings = self.settings
        rounds_a_second, audits_a_second = (
            settings.mlm_rate * share for share in (settings.mlm_confirm_share, settings.mlm_audit_share)
        )
        return {
            Backstop.ROUNDS: Share(Backstop.ROUNDS, rounds_a_second, settings.mlm_confirm_every),
            Backstop.AUDIT: Share(Backstop.AUDIT, audits_a_second, settings.mlm_audit_every),
        }

    def looker(self, bell: Bell, backstop: Backstop) -> Looker:
        """What a worker looks at files with, for the rounds or the audit."""
        is_away, share = self.pacer.is_away, self.shares[backstop]
        return Looker(self.engine, self.rules, self.slices.mlm, bell, self.worker_id, is_away, share)

    def poller(self, bell: Bell) -> Poller:
        """What a worker polls MLM's list with."""
        return Poller(
            self.engine,
            self.rules,
            self.slices.mlm,
            bell,
            self.worker_id,
            self.pacer.is_away,
            app_code=self.settings.mlm_app_code if self.polls else None,
            every_s=self.settings.mlm_poll_every,
        )

    def _poll_when_due(self) -> None:
        """Ask a worker to poll the list; of several that are asked one does."""
        with self.engine.begin() as conn:
            due = backstops.poll_is_due(conn, self.settings.mlm_poll_every)
        if due:
            send(self.broker, POLL)

    def _prune_weekly(self) -> None:
        """Ask for the week's prune until somebody has claimed it, and again if it could not be done."""
        with self.engine.begin() as conn:
            due = not claims.is_claimed(conn, PRUNE_JOB, claims.this_week(conn))
        if due:
            send(self.broker, PRUNE)

    def _place(self, prompt: bool) -> Callable[[str], AbstractContextManager[None]]:
        deadline_s = self.settings.mlm_timeout.whole_s

        @contextmanager
        def place(operation: str) -> Iterator[None]:
            with self.pacer.place(prompt=prompt, deadline_s=deadline_s), measured(self.tally, operation):
                yield

        return place

    @property
    def _redis_url(self) -> str:
        self.settings.need("REDIS_URL")
        return self.settings.redis_url or ""


def make_engine(database_url: str, pool_size: int, process: str, prepares: bool = True) -> sa.Engine:
    """An engine on psycopg 3, in UTC, with time limits, whose pool never waits long. `prepares`: what is run again is
    kept prepared in its session, and the session used last is used next, so that one that is at rest stays prepared."""
    kept = {"prepare_threshold": 1 if prepares else None}
    return sa.create_engine(
        sa.make_url(database_url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text would quote the rows
        connect_args={
            "options": f"{DATABASE_OPTIONS} {GONE_WITHIN_20_S_THERE}",
            "application_name": f"mlm-freshness {process}",
            "connect_timeout": 5,
            **GONE_WITHIN_20_S,
            **kept,
        },
    )


def connect_bell(settings: Settings) -> None:
    """For a Python portal, once at its start: own writes ring the queue at once instead of within 2 s."""
    house = House(settings, "portal")
    freshness.connect(house.rules, house.bell)
