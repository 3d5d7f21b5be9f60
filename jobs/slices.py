"""Slices, from lease to commit: one call to MLM reads one concern of a file, or all that is stale of it at once.

No connection to PostgreSQL is held during the call. What one call has read lands concern by concern, each in a
transaction of its own, under a lease of its own: what fails to land fails alone (docs/protocol.md, "A slice").
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from freshness.bell import Ring, Work
from freshness.concerns import Concern, upstream_of
from freshness.ledger import commits, leases, runs
from freshness.ledger.commits import Committed, Reading
from freshness.ledger.leases import Lease, NotNow
from freshness.ledger.orders import file_ring
from freshness.rules import Rules
from hydrators.registry import question_of, stamp_in
from mlm_client import errors as mlm_errors
from mlm_client.client import MlmClient
from mlm_client.loxml import Answer

from .errors import TryAgain
from .lander import Lander
from .tracing import Traces, names_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Ended:
    """How the slices of one read ended, by concern, and the rings for after their commits."""

    slices: Mapping[Concern, Committed]
    rings: tuple[Ring, ...] = ()


@dataclass
class Slices:
    """Runs slices for one worker process. Clock (seconds, monotonic), waiting and ids are passed in."""

    engine: Engine
    rules: Rules
    mlm: MlmClient
    lander: Lander
    worker_id: str
    clock: Callable[[], float]
    wait: Callable[[float], None]
    new_id: Callable[[], uuid.UUID] = uuid.uuid4
    traces: Traces = field(default_factory=Traces)
    #: Leases that could not be given back because PostgreSQL was away.
    stranded: list[Lease] = field(default_factory=list)

    def run(self, file_id: int, concern: Concern) -> Ended | NotNow:
        """Take the slice if it may start now, with what the same call can read; read it, land it.

        Raises:
            DBAPIError: PostgreSQL is away or refuses; the leases are given back as soon as they can be.
        """
        with self.engine.begin() as conn:
            taken = leases.take(conn, self.rules, file_id, concern, self.worker_id, self.new_id())
        if isinstance(taken, NotNow):
            return taken
        began = self.clock()
        with structlog.contextvars.bound_contextvars(orders=names_of(taken[0].orders)):
            ended = self._run(taken, concern, began)
            for lease in taken:
                if done := ended.slices.get(lease.concern):
                    orders = names_of(lease.orders)
                    log.info("slice.ended", concern=lease.concern.value, outcome=done.outcome, orders=orders)
        return ended

    def _run(self, taken: Sequence[Lease], concern: Concern, began: float) -> Ended:
        try:
            return self._read_and_land(taken, began)
        except TryAgain as error:
            self._give_back(taken[0])
            log.info("slice.not_called", file_id=taken[0].file.id, concern=concern.value, why=str(error))
            return Ended({concern: Committed("not called")})
        except BaseException:
            self._give_back(taken[0])
            raise

    def give_back_stranded(self) -> None:
        """Give back the leases that could not be given back before. Called with the worker's beat."""
        while self.stranded:
            with self.engine.begin() as conn:
                leases.release(conn, self.stranded[-1])
            self.stranded.pop()

    def _read_and_land(self, taken: Sequence[Lease], began: float) -> Ended:
        first = taken[0]
        self._wait_until(first, began)
        question = question_of([lease.concern for lease in taken], self.lander.names)
        asked_at = self._now(first, began)
        try:
            with self.traces.read(first.orders, [lease.concern.value for lease in taken]):
                answer = self.mlm.load_by_ref(first.file.ref, question)
        except mlm_errors.NotFound:
            with self.engine.connect() as conn:
                return _ended(taken, {lease.concern: self.lander.not_found(conn, lease) for lease in taken})
        except mlm_errors.MlmError as error:
            if len(taken) > 1 and not isinstance(error, mlm_errors.SignInFailed):
                return self._part(taken, asked_at, error)
            with self.engine.connect() as conn:
                return _ended(taken, {lease.concern: self.lander.failed(conn, lease, error) for lease in taken})
        reading = Reading(stamp_in(answer, self.lander.names), asked_at, self._now(first, began))
        with self.engine.connect() as conn:
            ended = self._land_each(conn, taken, reading, answer)
        if any(lease.concern not in ended.slices or ended.slices[lease.concern].lost for lease in taken):
            self._give_back(first)
        return ended

    def _land_each(self, conn: Connection, taken: Sequence[Lease], reading: Reading, answer: Answer) -> Ended:
        """Land one after the other, upstream first; not what hangs on one that has not landed."""
        done: dict[Concern, Committed] = {}
        owner, mark = None, None
        for lease in taken:
            if self._may_follow(lease, taken, done):
                with self.traces.landing(lease.orders, lease.concern.value) as landing:
                    ended = self.lander.land(conn, lease.after(owner, mark) if owner else lease, reading, answer)
                    landing.note(outcome=ended.outcome)
                if ended.owner:
                    owner, mark = ended.owner, commits.stamp_of(self.rules, reading, lease.resolution_s)
                done[lease.concern] = ended
        return _ended(taken, done)

    def _may_follow(self, lease: Lease, taken: Sequence[Lease], done: Mapping[Concern, Committed]) -> bool:
        """Whether what this one hangs on has landed, if that was read in the same call."""
        above = {upstream_of(lease.concern, self.rules.active)}
        if not lease.file.is_there and lease.concern is not Concern.LOAN_FIELDS:
            above.add(Concern.LOAN_FIELDS)
        return all(each.concern not in above or _has_landed(each.concern, done) for each in taken)

    def _part(self, taken: Sequence[Lease], asked_at: dt.datetime, error: Exception) -> Ended:
        """A call for several has failed or was too slow: each is asked for by itself, and nothing counts against it."""
        first, line = taken[0], f"{type(error).__name__}: {error}"
        log.warning("slices.parted", file_id=first.file.id, concerns=len(taken), error=line)
        with self.engine.begin() as conn:
            leases.part(conn, first)
            runs.record(conn, first, "failed with others, to be read by itself", asked_at=asked_at, error=line)
        return Ended({first.concern: Committed("parted")}, (file_ring(first.file.id),))

    def _give_back(self, lease: Lease) -> None:
        try:
            with self.engine.begin() as conn:
                leases.release(conn, lease)
        except DBAPIError:
            self.stranded.append(lease)

    def _wait_until(self, lease: Lease, began: float) -> None:
        """No call leaves before one resolution after `wanted` was first seen."""
        while lease.read_not_before is not None:
            left_s = (lease.read_not_before - self._now(lease, began)).total_seconds()
            if left_s <= 0:
                return
            self.wait(left_s)

    def _now(self, lease: Lease, began: float) -> dt.datetime:
        """PostgreSQL's clock, by our own since the lease was taken."""
        return lease.started_at + dt.timedelta(seconds=self.clock() - began)


def _ended(taken: Sequence[Lease], done: Mapping[Concern, Committed]) -> Ended:
    """What to ring for: whatever the slices said, but for those that have landed here; all of a file that has just
    come to be; and once for all that is to be read again."""
    file = taken[0].file
    rings = [ring for each in done.values() for ring in each.rings]
    rings = [ring for ring in rings if ring.concern is None or not _has_landed(ring.concern, done)]
    is_new = not file.is_there and _has_landed(Concern.LOAN_FIELDS, done)
    if is_new and (len(taken) == 1 or len(done) < len(taken)):
        rings.append(file_ring(file.id))
    again = {concern: each.again_s for concern, each in done.items() if each.again_s is not None}
    if again:
        rings.append(Ring(Work.HYDRATE_CONCERN, file.id, next(iter(again)), delay_s=min(again.values())))
    return Ended(done, tuple(rings))


def _has_landed(concern: Concern, done: Mapping[Concern, Committed]) -> bool:
    return concern in done and done[concern].owner is not None
