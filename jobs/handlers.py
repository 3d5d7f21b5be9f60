"""What the actors do: each looks in the ledger, does what is due there, and rings for what follows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import structlog
from sqlalchemy import Connection, Engine

from freshness.bell import Bell, Ring
from freshness.concerns import Concern
from freshness.errors import LeaseLost
from freshness.ledger import captures, claims, confirmations, events, files, pruning, rows, sweeps
from freshness.ledger.leases import NotNow
from freshness.metrics import SERVED_S, SLICES, Tally
from freshness.rules import Rules
from mlm_client import errors as mlm_errors
from mlm_client.client import MlmClient

from .declare import Handlers
from .errors import TryAgain
from .slices import Slices

log = structlog.get_logger()

PRUNE_JOB = "receipts.prune"
#: What the weekly prune keeps, and what is left of that week.
RECEIPTS_KEPT = dt.timedelta(days=90)


@dataclass(frozen=True)
class Clerk:
    """One process's handlers. `mlm` is the client for prompt calls: captures and confirmations go before slices.

    While `is_away` says that no call to MLM would leave, they do nothing: what is due stands in its rows, and the sweep
    rings for it when MLM is back.
    """

    engine: Engine
    rules: Rules
    slices: Slices
    mlm: MlmClient
    bell: Bell
    announce: Callable[[], None]
    is_away: Callable[[], bool]
    tally: Tally = field(default_factory=Tally)

    def handlers(
        self, *, check: Callable[[int], None], audit: Callable[[int], None], poll: Callable[[], None]
    ) -> Handlers:
        """These as the actors call them, with the backstops' (`rounds`, `auditing`, `polling`) beside them."""
        return Handlers(
            hydrate_file=self.hydrate_file,
            hydrate_concern=self.hydrate_concern,
            capture=self.capture,
            confirm=self.confirm,
            prune_receipts=self.prune_receipts,
            check=check,
            audit=audit,
            poll=poll,
        )

    def hydrate_file(self, file_id: int) -> None:
        """Send the slices that may start, and announce, once an order, that a deep fetch is in flight."""
        with self.engine.begin() as conn:
            file = rows.file_row(conn, file_id)
            if file is None or file.served >= file.ordered:
                return
            rings = sweeps.startable(conn, self.rules, file)
        self.bell(rings)
        if not rings:
            return
        with self.engine.begin() as conn:
            announced = files.note_fetching(conn, file_id)
            if announced:
                events.write(conn, file.ref, [events.FETCHING])
        if announced:
            self.announce()

    def hydrate_concern(self, file_id: int, concern: Concern) -> None:
        """Run one slice, if it may start now, with what is read in the same call; ring for what follows."""
        if self.is_away():
            return
        ended = self.slices.run(file_id, concern)
        if isinstance(ended, NotNow):
            return
        for each, done in ended.slices.items():
            self.tally.count(SLICES, each.value, done.outcome)
            if done.served_s is not None:
                self.tally.observe(SERVED_S, each.value, seconds=done.served_s)
            if done.healed:
                log.info("backstop.healed", concern=each.value, backstop=done.healed)
        self.bell(ended.rings)
        if any(done.announced for done in ended.slices.values()):
            self.announce()

    def capture(self, file_id: int, own_write_id: int) -> None:
        """Read the stamp after an own write, so that its echo is known."""
        if self.is_away():
            return
        with self.engine.begin() as conn:
            capture = captures.begin(conn, own_write_id)
        if capture is None:
            return
        try:
            text = self.mlm.read_stamp(capture.ref)
        except (mlm_errors.SignInFailed, TryAgain) as error:
            log.info("capture.not_called", why=str(error))
            with self.engine.begin() as conn:
                captures.put_back(conn, capture)
            return
        except mlm_errors.MlmError as error:
            final = isinstance(error, mlm_errors.NotFound | mlm_errors.GiveUp)
            line = f"{type(error).__name__}: {error}"
            log.warning("capture.failed", error=line)
            self._settle(lambda conn: captures.failed(conn, capture, line, final=final))
            return
        self._settle(lambda conn: captures.finish(conn, self.rules, capture, text))

    def confirm(self, file_id: int) -> None:
        """Read the stamp alone, and order whatever differs from it."""
        if self.is_away():
            return
        with self.engine.begin() as conn:
            asking = confirmations.begin(conn, file_id)
        if asking is None:
            return
        try:
            text = self.mlm.read_stamp(asking.ref)
        except mlm_errors.NotFound:
            self._settle(lambda conn: confirmations.not_found(conn, self.rules, asking))
            return
        except mlm_errors.MlmError as error:
            log.warning("confirmation.failed", error=f"{type(error).__name__}: {error}")
            return
        except TryAgain as error:
            log.info("confirmation.not_called", why=str(error))
            return
        self._settle(lambda conn: confirmations.finish(conn, self.rules, asking, text))

    def prune_receipts(self) -> None:
        """Drop old receipts and trails, once a week whoever asks; none whose order is unserved.

        The week is given back if it could not be done, so that the schedule asks again: a week of receipts was in use.
        """
        with self.engine.begin() as conn:
            week = claims.this_week(conn)
            if not claims.claim(conn, PRUNE_JOB, week):
                return
        done = False
        try:
            pruned = pruning.prune(self.engine.begin, RECEIPTS_KEPT, whole_weeks=True)
            done = not pruned.weeks_in_use
            log.info("receipts.pruned", **asdict(pruned))
        finally:
            if not done:
                with self.engine.begin() as conn:
                    claims.give_back(conn, PRUNE_JOB, week)

    def _settle(self, step: Callable[[Connection], Sequence[Ring]]) -> None:
        """Take one answer into the ledger; if the file moved meanwhile, the sweep asks again."""
        try:
            with self.engine.begin() as conn:
                rings = step(conn)
        except LeaseLost as lost:
            log.info("answer.lost", why=str(lost))
            return
        self.bell(rings)
