"""The rounds and the audit, as the schedule and a worker see them: which files are next, and a confirmation of each.

The schedule chooses within a share of MLM's rate (`freshness.ledger.backstops.next_files`) and rings; a worker looks.
A file whose turn was lost with a queue comes again after `every_s`, one that MLM kept us from looking at in a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import redis
import structlog
from sqlalchemy import Connection, Engine

from freshness.bell import Bell, Ring, Work
from freshness.errors import LeaseLost
from freshness.ledger import backstops, confirmations
from freshness.ledger.backstops import Backstop
from freshness.rules import Rules
from mlm_client import errors as mlm_errors
from mlm_client.client import MlmClient

from .circuit import circuit_state
from .errors import TryAgain

log = structlog.get_logger(__name__)

EVERY_S = 2.0

WORK = {Backstop.ROUNDS: Work.CHECK, Backstop.AUDIT: Work.AUDIT}


@dataclass(frozen=True)
class Share:
    """How much of MLM's rate a backstop may take, and how soon it comes to the same file again."""

    backstop: Backstop
    calls_a_second: float
    every_s: float


@dataclass(frozen=True)
class Chooser:
    """The schedule's part: one tick for each share that is not nothing. Any number of schedulers may run it."""

    engine: Engine
    client: redis.Redis
    bell: Bell

    def choose(self, share: Share) -> None:
        """Ring for the files whose turn it is, unless MLM is away."""
        try:
            if circuit_state(self.client).state != "closed":
                return
        except redis.RedisError:
            return
        # What falls due before the next tick is chosen in this one: a period is kept, not overrun by a tick.
        every_s = max(EVERY_S, share.every_s - EVERY_S)
        with self.engine.begin() as conn:
            file_ids = backstops.next_files(conn, share.backstop, calls_a_second=share.calls_a_second, every_s=every_s)
        self.bell([Ring(WORK[share.backstop], file_id) for file_id in file_ids])


@dataclass(frozen=True)
class Looker:
    """What a worker needs to look at a file for a backstop; `mlm` is the client for bulk calls."""

    engine: Engine
    rules: Rules
    mlm: MlmClient
    bell: Bell
    worker_id: str
    is_away: Callable[[], bool]
    share: Share

    def put_back(self, file_id: int, why: str) -> None:
        """MLM kept us from looking: the file is due again in a minute."""
        log.info(f"{self.share.backstop}.put_back", file_id=file_id, why=why)
        with self.engine.begin() as conn:
            backstops.put_back(conn, self.share.backstop, file_id, self.share.every_s)

    def failed(self, file_id: int, error: Exception) -> None:
        """A fault of this file's: it is counted, and the file comes again with its next turn."""
        line = f"{type(error).__name__}: {error}"
        log.warning(f"{self.share.backstop}.failed", file_id=file_id, error=line)
        with self.engine.begin() as conn:
            backstops.count(conn, self.share.backstop, self.worker_id, runs=1, failed=1, error=line)

    def settle(self, file_id: int, step: Callable[[Connection], tuple[Ring, ...]]) -> bool:
        """Take what was found into the ledger and count it; rings mean that an order was placed. False if the file
        moved meanwhile: it is put back."""
        try:
            with self.engine.begin() as conn:
                rings = step(conn)
                ordered = 1 if rings else 0
                backstops.count(conn, self.share.backstop, self.worker_id, runs=1, looked=1, ordered=ordered)
        except LeaseLost as lost:
            self.put_back(file_id, str(lost))
            return False
        if rings:
            log.info(f"{self.share.backstop}.ordered", file_id=file_id)
        self.bell(rings)
        return True


@dataclass(frozen=True)
class Checker:
    """The worker's part of the rounds."""

    looker: Looker

    def check(self, file_id: int) -> None:
        """Confirm one file: read its stamp alone, and order whatever differs from it."""
        looker = self.looker
        if looker.is_away():
            looker.put_back(file_id, "MLM is away")
            return
        with looker.engine.begin() as conn:
            asking = confirmations.begin(conn, file_id)
        if asking is None:
            return
        try:
            text = looker.mlm.read_stamp(asking.ref)
        except mlm_errors.NotFound:
            looker.settle(file_id, lambda conn: confirmations.not_found(conn, looker.rules, asking, Backstop.ROUNDS))
        except (TryAgain, mlm_errors.Retry, mlm_errors.SignInAgain, mlm_errors.SignInFailed) as error:
            looker.put_back(file_id, f"{type(error).__name__}: {error}")
        except mlm_errors.MlmError as error:
            looker.failed(file_id, error)
        else:
            looker.settle(file_id, lambda conn: confirmations.finish(conn, looker.rules, asking, text, Backstop.ROUNDS))
