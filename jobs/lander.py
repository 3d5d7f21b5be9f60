"""The lander: one slice's part of an answer becomes rows and numbers, in one transaction, or a written reason why not.

Every way in which a slice can end is written down in the ledger: landed, thrown away, waiting for somebody, not found,
failed, given up (docs/protocol.md, "A slice").
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from random import Random

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from freshness.concerns import Concern
from freshness.errors import LeaseLost
from freshness.field_keys import FieldKeys
from freshness.ledger import commits, failures, files, own_writes
from freshness.ledger.commits import Committed, Landed, Reading
from freshness.ledger.files import Owner
from freshness.ledger.leases import Lease
from freshness.rules import Rules
from hydrators import errors as hydrating_errors
from hydrators import landing, loan_fields
from hydrators.landing import Parent
from hydrators.names import Names
from hydrators.registry import HYDRATORS
from hydrators.rows import Landing
from mlm_client import errors as mlm_errors
from mlm_client.loxml import Answer

log = structlog.get_logger()

#: PostgreSQL's codes for "not now": a lock waited for too long, a deadlock, a conflict, a statement cut off.
IN_THE_WAY = {"55P03", "40P01", "40001", "57014"}

#: And the classes of its codes for rows that it does not take: data that no column of the type holds, a constraint.
REFUSED = {"22", "23"}

#: MLM refuses our client id and secret: no slice is to blame, and asking more often may lock the account.
SIGN_IN_PAUSE_S = 60.0

_BECAME_LOAN = "UPDATE leads SET became_loan_id = %(loan_id)s WHERE id = %(lead_id)s"


@dataclass
class Lander:
    """Ends slices for one worker process, on connections that have no transaction yet. `lot` draws the pauses after
    errors."""

    rules: Rules
    names: Names
    keys: FieldKeys
    lot: Random = field(default_factory=Random)

    def land(self, conn: Connection, lease: Lease, reading: Reading, answer: Answer) -> Committed:
        """Land what the answer says of this lease's concern, in a transaction of its own on this connection.

        "lease lost" if somebody else has it by now; "gave way" if somebody was in the way for long: it lands another
        time. Either way nothing of it has happened.

        Raises:
            DBAPIError: PostgreSQL is away, or not as we need it.
        """
        try:
            return self._land(conn, lease, reading, answer)
        except DBAPIError as error:
            code = str(getattr(error.orig, "sqlstate", None) or "")
            if code[:2] in REFUSED:
                return self.failed(conn, lease, hydrating_errors.RefusedRows(lease.concern, code))
            if code not in IN_THE_WAY:
                raise
            log.info("slice.gave_way", file_id=lease.file.id, concern=lease.concern.value, sqlstate=code)
            return Committed("gave way")

    def not_found(self, conn: Connection, lease: Lease) -> Committed:
        """MLM does not have the file. Loan fields purge it when they meet that twice; others wait for them."""
        with conn.begin():
            done = failures.not_found(conn, self.rules, lease)
        if done.outcome != "gone":
            return done
        try:
            with conn.begin():
                return self._purge(conn, lease)
        except LeaseLost as lost:
            log.info("slice.lost", file_id=lease.file.id, concern=lease.concern.value, why=str(lost))
            return Committed("lease lost")

    def failed(self, conn: Connection, lease: Lease, error: Exception) -> Committed:
        """Write an error of MLM's or of the answer's down: tried again, put off, or given up."""
        final = isinstance(error, mlm_errors.GiveUp)
        line = f"{type(error).__name__}: {error}"
        log.warning("slice.failed", file_id=lease.file.id, concern=lease.concern.value, error=line)
        with conn.begin():
            if isinstance(error, mlm_errors.SignInFailed):
                return failures.put_off(conn, self.rules, lease, line, pause_s=SIGN_IN_PAUSE_S)
            return failures.failed(conn, self.rules, lease, line, final=final, lot=self.lot)

    def _land(self, conn: Connection, lease: Lease, reading: Reading, answer: Answer) -> Committed:
        try:
            found = HYDRATORS[lease.concern].rows(answer, self.names, self.keys)
            with conn.begin():
                return self._commit(conn, lease, reading, answer, found)
        except LeaseLost as lost:
            log.info("slice.lost", file_id=lease.file.id, concern=lease.concern.value, why=str(lost))
            return Committed("lease lost")
        except hydrating_errors.MissingBorrower as error:
            with conn.begin():
                return failures.waits_for_borrowers(conn, self.rules, lease, reading, str(error))
        except hydrating_errors.HydrateError as error:
            return self.failed(conn, lease, error)

    def _commit(self, conn: Connection, lease: Lease, reading: Reading, answer: Answer, found: Landing) -> Committed:
        if not commits.is_worth_landing(self.rules, lease, reading):
            return failures.thrown_away(conn, self.rules, lease, reading)
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

    def _purge(self, conn: Connection, lease: Lease) -> Committed:
        landing.hydrating(conn)
        if (owner := files.owner_of(lease.file)) is not None:
            landing.purge_children(conn, Parent(owner.kind, owner.id))
            files.mark_owner_deleted(conn, owner)
        own_writes.close_open(conn, lease.file.id)
        return failures.gone(conn, self.rules, lease)


def _parent_of(lease: Lease) -> Parent:
    owner = files.owner_of(lease.file)
    if owner is None:
        raise LeaseLost(lease.file.id, lease.concern, "no loan or lead stands behind it")
    return Parent(owner.kind, owner.id)


def _unread(found: Landing) -> list[dict[str, str | None]]:
    return [asdict(problem) for problem in found.problems]
