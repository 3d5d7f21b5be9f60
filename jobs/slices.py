"""A slice, from lease to commit: one (file, concern) is read from MLM once and landed in one transaction.

No connection to PostgreSQL is held during the call. Every way it can end is written down in the ledger: landed,
thrown away, waiting for somebody, not found, failed, given up (docs/protocol.md, "A slice").
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from freshness.concerns import Concern
from freshness.errors import LeaseLost
from freshness.field_keys import FieldKeys
from freshness.ledger import commits, failures, files, leases, own_writes
from freshness.ledger.commits import Committed, Landed, Reading
from freshness.ledger.files import Owner
from freshness.ledger.leases import Lease, NotNow
from freshness.rules import Rules
from hydrators import errors as hydrating_errors
from hydrators import landing, loan_fields
from hydrators.landing import Parent
from hydrators.names import Names
from hydrators.registry import HYDRATORS, stamp_in, with_stamp
from hydrators.rows import Landing
from mlm_client import errors as mlm_errors
from mlm_client.client import MlmClient
from mlm_client.loxml import Answer

from .errors import TryAgain

log = structlog.get_logger()

#: MLM refuses our client id and secret: no slice is to blame, and asking more often may lock the account.
SIGN_IN_PAUSE_S = 60.0

_BECAME_LOAN = "UPDATE leads SET became_loan_id = %(loan_id)s WHERE id = %(lead_id)s"


@dataclass
class Slices:
    """Runs slices for one worker process. Clock (seconds, monotonic), waiting and ids are passed in."""

    engine: Engine
    rules: Rules
    names: Names
    keys: FieldKeys
    mlm: MlmClient
    worker_id: str
    clock: Callable[[], float]
    wait: Callable[[float], None]
    new_id: Callable[[], uuid.UUID] = uuid.uuid4
    lot: Random = field(default_factory=Random)
    #: Leases that could not be given back because PostgreSQL was away.
    stranded: list[Lease] = field(default_factory=list)

    def run(self, file_id: int, concern: Concern) -> Committed | NotNow:
        """Take the slice if it may start now, read it, land it.

        Raises:
            DBAPIError: PostgreSQL is away or refuses; the lease is given back as soon as it can be.
        """
        with self.engine.begin() as conn:
            lease = leases.take(conn, self.rules, file_id, concern, self.worker_id, self.new_id())
        if isinstance(lease, NotNow):
            return lease
        began = self.clock()
        try:
            return self._read_and_land(lease, began)
        except LeaseLost as lost:
            log.info("slice.lost", file_id=file_id, concern=concern.value, why=str(lost))
            return Committed("lease lost")
        except TryAgain as error:
            self._give_back(lease)
            log.info("slice.not_called", file_id=file_id, concern=concern.value, why=str(error))
            return Committed("not called")
        except BaseException:
            self._give_back(lease)
            raise

    def give_back_stranded(self) -> None:
        """Give back the leases that could not be given back before. Called with the worker's beat."""
        while self.stranded:
            with self.engine.begin() as conn:
                leases.release(conn, self.stranded[-1])
            self.stranded.pop()

    def _read_and_land(self, lease: Lease, began: float) -> Committed:
        hydrator = HYDRATORS[lease.concern]
        self._wait_until(lease, began)
        asked_at = self._now(lease, began)
        try:
            answer = self.mlm.load_by_ref(lease.file.ref, with_stamp(hydrator.question(self.names), self.names))
            reading = Reading(stamp_in(answer, self.names), asked_at, self._now(lease, began))
            found = hydrator.rows(answer, self.names, self.keys)
        except mlm_errors.NotFound:
            return self._not_found(lease)
        except (mlm_errors.MlmError, hydrating_errors.HydrateError) as error:
            return self._failed(lease, error)
        try:
            with self.engine.begin() as conn:
                return self._commit(conn, lease, reading, answer, found)
        except hydrating_errors.MissingBorrower as error:
            with self.engine.begin() as conn:
                return failures.waits_for_borrowers(conn, self.rules, lease, reading, str(error))
        except hydrating_errors.HydrateError as error:
            return self._failed(lease, error)

    def _commit(self, conn: Connection, lease: Lease, reading: Reading, answer: Answer, found: Landing) -> Committed:
        if not commits.is_worth_landing(self.rules, lease, reading):
            return failures.thrown_away(conn, self.rules, lease, reading)
        landing.hydrating(conn)
        if lease.concern is Concern.LOAN_FIELDS:
            landed = self._land_loan_fields(conn, lease, answer, found)
        else:
            parent = _parent_of(lease)
            rows = landing.land(conn, parent, found)
            landed = Landed(Owner(parent.kind, parent.id), {found.table: rows} if rows else {}, _unread(found))
        return commits.commit_read(conn, self.rules, lease, reading, landed)

    def _land_loan_fields(self, conn: Connection, lease: Lease, answer: Answer, found: Landing) -> Landed:
        known = files.owner_of(lease.file)
        kind = loan_fields.kind_of(answer, self.names, known.kind if known else None)
        parent, rows = landing.land_loan_fields(conn, kind, lease.file.ref, found)
        changed = {f"{kind}s": rows} if rows else {}
        if known is not None and known.kind == "lead" and kind == "loan":
            landing.move_children(conn, known.id, parent.id)
            conn.exec_driver_sql(_BECAME_LOAN, {"loan_id": parent.id, "lead_id": known.id})
        return Landed(Owner(kind, parent.id), changed, _unread(found))

    def _not_found(self, lease: Lease) -> Committed:
        with self.engine.begin() as conn:
            done = failures.not_found(conn, self.rules, lease)
        if done.outcome != "gone":
            return done
        with self.engine.begin() as conn:
            landing.hydrating(conn)
            if (owner := files.owner_of(lease.file)) is not None:
                landing.purge_children(conn, Parent(owner.kind, owner.id))
                files.mark_owner_deleted(conn, owner)
            own_writes.close_open(conn, lease.file.id)
            return failures.gone(conn, self.rules, lease)

    def _failed(self, lease: Lease, error: Exception) -> Committed:
        final = isinstance(error, mlm_errors.GiveUp)
        line = f"{type(error).__name__}: {error}"
        log.warning("slice.failed", file_id=lease.file.id, concern=lease.concern.value, error=line)
        with self.engine.begin() as conn:
            if isinstance(error, mlm_errors.SignInFailed):
                return failures.put_off(conn, self.rules, lease, line, pause_s=SIGN_IN_PAUSE_S)
            return failures.failed(conn, self.rules, lease, line, final=final, lot=self.lot)

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


def _parent_of(lease: Lease) -> Parent:
    owner = files.owner_of(lease.file)
    if owner is None:
        raise LeaseLost(lease.file.id, lease.concern, "no loan or lead stands behind it")
    return Parent(owner.kind, owner.id)


def _unread(found: Landing) -> list[dict[str, str | None]]:
    return [asdict(problem) for problem in found.problems]
