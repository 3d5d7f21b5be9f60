"""The audit of one file: read whole in one call, and held against our copy.

What would change is found by landing the answer in a transaction that is rolled back: the very comparison that a
slice makes. What differs is then ordered, and lands by slices like everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from freshness.bell import Ring
from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from freshness.ledger import audits, backstops
from freshness.ledger.audits import Auditing, Claim, Found
from freshness.ledger.backstops import Backstop
from hydrators import landing, loan_fields
from hydrators.errors import HydrateError
from hydrators.landing import Parent
from hydrators.names import Names
from hydrators.registry import HYDRATORS, question_of, stamp_in
from mlm_client import errors as mlm_errors
from mlm_client.loxml import Answer

from .errors import TryAgain
from .rounds import Looker

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Look:
    """What an audit saw: MLM's stamp, rows of ours that differ by concern, and what the copy had claimed."""

    text: str | None
    differing: Mapping[Concern, int] = field(default_factory=dict)
    claimed: Claim | None = None


@dataclass(frozen=True)
class Auditor:
    """The worker's part of the audit."""

    looker: Looker
    names: Names
    keys: FieldKeys

    def audit(self, file_id: int) -> None:
        """Audit one file. Rows that differ though the copy called itself equal were missed: an error in the log."""
        looker = self.looker
        if looker.is_away():
            looker.put_back(file_id, "MLM is away")
            return
        with looker.engine.begin() as conn:
            auditing = audits.begin(conn, file_id)
        if auditing is None:
            return
        try:
            look = self._look(auditing)
        except mlm_errors.NotFound:
            looker.settle(file_id, lambda conn: audits.not_found(conn, looker.rules, auditing))
        except (TryAgain, mlm_errors.Retry, mlm_errors.SignInAgain, mlm_errors.SignInFailed) as error:
            looker.put_back(file_id, f"{type(error).__name__}: {error}")
        except OperationalError as error:
            looker.put_back(file_id, f"the file moved ({type(error.orig).__name__})")
        except (mlm_errors.MlmError, HydrateError) as error:
            looker.failed(file_id, error)
        else:
            taken: list[Found] = []
            if looker.settle(file_id, lambda conn: self._take_in(conn, auditing, look, taken)) and taken[-1].missed:
                _tell(auditing, taken[-1])

    def _look(self, auditing: Auditing) -> Look:
        """Read MLM and compare. Where anything differs, the stamp is read once more: only if it still stands has nobody
        written meanwhile."""
        answer = self.looker.mlm.load_by_ref(auditing.ref, question_of(self.looker.rules.active, self.names))
        text = stamp_in(answer, self.names)
        look = self._compared(auditing, answer, text)
        if look.differing and (again := self.looker.mlm.read_stamp(auditing.ref)) != text:
            return Look(again)
        return look

    def _compared(self, auditing: Auditing, answer: Answer, text: str | None) -> Look:
        """Rows that differ under every field key: after a rotation old rows bear digests under the old one."""
        looks: list[Look] = []
        for keys in self.keys.each_in_front():
            looks.append(self._compared_under(keys, auditing, answer, text))
            least = {c: min(look.differing.get(c, 0) for look in looks) for c in looks[0].differing}
            differing = {concern: rows for concern, rows in least.items() if rows}
            if not differing:
                break
        return Look(text, differing, looks[0].claimed)

    def _compared_under(self, keys: FieldKeys, auditing: Auditing, answer: Answer, text: str | None) -> Look:
        """Rows that a landing of this answer would change; none where the copy has good reason to differ."""
        with self.looker.engine.connect() as connection:
            conn = connection.execution_options(isolation_level="REPEATABLE READ")
            try:
                claimed = audits.claim(conn, self.looker.rules, auditing, text)
                if claimed is None:
                    return Look(text)
                parent = Parent(auditing.owner.kind, auditing.owner.id)
                rows = {c: self._land(conn, c, parent, auditing.ref, answer, keys) for c in self.looker.rules.active}
                return Look(text, {concern: changed for concern, changed in rows.items() if changed}, claimed)
            finally:
                conn.rollback()

    def _land(
        self, conn: Connection, concern: Concern, parent: Parent, ref: str, answer: Answer, keys: FieldKeys
    ) -> int:
        found = HYDRATORS[concern].rows(answer, self.names, keys)
        if concern is not Concern.LOAN_FIELDS:
            return landing.land(conn, parent, found)
        if loan_fields.kind_of(answer, self.names, parent.kind) != parent.kind:
            return 1
        return landing.land_loan_fields(conn, parent.kind, ref, found)[1]

    def _take_in(self, conn: Connection, auditing: Auditing, look: Look, taken: list[Found]) -> tuple[Ring, ...]:
        found = audits.finish(conn, self.looker.rules, auditing, look.text, look.differing, look.claimed)
        if found.missed:
            backstops.count(conn, Backstop.AUDIT, self.looker.worker_id, missed=sum(found.missed.values()))
        taken.append(found)
        return found.rings


def _tell(auditing: Auditing, found: Found) -> None:
    """One line that alarms: something has reached our copy's rows, or has not, past every rule."""
    log.error(
        "audit.missed_changes",
        file_id=auditing.asking.file_id,
        ref=auditing.ref,
        rows=dict(found.missed),
        order=found.order,
        receipts=list(found.receipts),
    )
