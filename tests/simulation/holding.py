"""What must hold, whatever happens (docs/protocol.md): looked at while a history runs, and when it has come to rest."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

from console.demo.comparing import differences
from freshness.ledger.status import freshness_of
from mlm_client.sandbox.api import file_json

if TYPE_CHECKING:
    from .history import History

_NUMBERS = """
SELECT f.id, f.ref, f.epoch, f.ordered, f.served, c.concern, c.held, c.served AS concern_served
FROM file_freshness f LEFT JOIN file_concerns c ON c.file_id = f.id
"""
_RECEIPTS = """
SELECT r.id FROM mlm_webhook_receipts r JOIN file_freshness f ON f.id = r.file_id
WHERE r.order_number IS NOT NULL AND (r.served_at IS NOT NULL) <> (f.served >= r.order_number)
"""
_MISSED = "SELECT f.ref, m.concern FROM missed_changes m JOIN file_freshness f ON f.id = m.file_id"
_RECEIVED = "SELECT reference_number, count(*) FROM mlm_webhook_receipts GROUP BY 1"

#: The two that must never be.
LOST, LIES = "the copy has lost a change", "a copy that differs calls itself fresh"

#: States in which nothing is to come any more.
STILL = ("fresh", "deleted")


class Violation(AssertionError):
    """A rule was broken: which, and where."""

    def __init__(self, rule: str, where: str) -> None:
        super().__init__(f"{rule}: {where}")


class Holding:
    """The rules, held against one history."""

    def __init__(self, history: History) -> None:
        self._history = history
        #: Files of which an entry is being delivered.
        self.under_way: Counter[str] = Counter()
        self.backups: list[int] = []
        self._held: dict[tuple[int, str], tuple[int, dt.datetime | None]] = {}
        self._looked: dict[str, tuple[int, int]] = {}

    def numbers(self) -> None:
        """Within an epoch no `held` goes back (the file's own numbers are guarded where they are written), a file's
        `served` is its concerns' least, and receipts say that they are served when, and only when, all have served."""
        least: dict[int, tuple[str, int, list[int]]] = {}
        active = {concern.value for concern in self._history.house.rules.active}
        for file_id, ref, epoch, _, served, concern, held, concern_served in self._history.postgres.rows(_NUMBERS):
            least.setdefault(file_id, (ref, served, []))
            if concern not in active:
                continue
            least[file_id][2].append(concern_served)
            before = self._held.get((file_id, concern))
            if before and before[0] == epoch and before[1] is not None and (held is None or held < before[1]):
                raise Violation("held went back", f"{concern} of {ref}: {before[1]} -> {held}")
            self._held[file_id, concern] = (epoch, held)
        for ref, served, of_concerns in least.values():
            if served != (min(of_concerns) if len(of_concerns) == len(active) else 0):
                raise Violation("served is not the least of its concerns'", f"{ref}: {served} of {of_concerns}")
        if wrong := self._history.postgres.rows(_RECEIPTS):
            raise Violation("served_at", f"receipts {[row[0] for row in wrong]}")

    def truth(self) -> None:
        """A copy that differs is not called fresh, while every change of it has been announced to us."""
        history = self._history
        owed = {hook.ref for hook in history.hooks} | {ref for ref, count in self.under_way.items() if count > 0}
        for ref in history.refs:
            now = (history.postgres.commits, history.sandbox.store.newest(ref).number)
            if ref in owed or ref in history.lost or self._looked.get(ref) == now:
                continue
            self._looked[ref] = now
            if self.state(ref) == "fresh" and (found := self.differences(ref)):
                raise Violation(LIES, f"{ref}: {found[0]} (of {len(found)})")

    def rests(self) -> bool:
        """Whether no file is stale or will be confirmed by itself."""
        return all(self._rests(ref) for ref in self._history.refs)

    def no_rest(self) -> Violation:
        """Why a history does not come to rest: a file that will never be read again has lost its change."""
        stands = {ref: self._stands(ref) for ref in self._history.refs}
        statuses = {ref: self._status(ref) for ref in stands}
        lost = [ref for ref, each in statuses.items() if each.served >= each.ordered and self.differences(ref)]
        rule = LOST if lost else "no rest"
        return Violation(rule, "; ".join(stands[ref] for ref in lost or stands))

    def healed(self) -> None:
        """Once the rounds have come by, a copy that calls itself fresh is equal, whatever was lost, if a stamp told."""
        for ref in self._history.refs:
            told = ref not in self._history.untold
            if told and self.state(ref) in STILL and (found := self.differences(ref)):
                raise Violation(LOST, f"{ref} after its round: {found[0]} (of {len(found)})")

    def at_rest(self) -> None:
        """The copy equals MLM's in every file, and says so; every entry that was answered well has its receipt."""
        history = self._history
        for ref in history.refs:
            if found := self.differences(ref):
                raise Violation(LOST, f"{ref} ({self.state(ref)}): {found[0]} (of {len(found)})")
            if self.state(ref) not in (*STILL, "unstamped"):
                raise Violation("at rest, and not fresh", self._stands(ref))
        if missed := [(ref, concern) for ref, concern in history.postgres.rows(_MISSED) if ref not in history.lost]:
            raise Violation("the audit counted a missed change", f"{missed}")
        received = dict(history.postgres.rows(_RECEIVED))
        for ref, answered in history.answered.items():
            if received.get(ref, 0) < answered:
                raise Violation("an entry was answered and has no receipt", f"{ref}: {received.get(ref)} of {answered}")

    def state(self, ref: str) -> str:
        """What we say of a file."""
        return str(self._status(ref).state)

    def differences(self, ref: str) -> list[Any]:
        """Where our copy is not what MLM has. A lead that MLM deleted after it had become a loan may be a lead here; a
        loan is never turned back, though MLM was restored to when it was a lead."""
        history = self._history
        version = history.sandbox.store.newest(ref)
        theirs = file_json(version, history.sandbox.dials.now)
        ours = self._status(ref).kind
        if version.deleted or ours == "loan":
            theirs["kind"] = ours
        with history.postgres.looking() as conn:
            concerns = history.house.rules.active
            return differences(conn, history.house.keys, theirs, concerns)

    def _rests(self, ref: str) -> bool:
        """An unstamped file may be confirmed again and again, at most every ten minutes: it waits for a stamp."""
        status = self._status(ref)
        done = status.served >= status.ordered
        return done and (status.state == "unstamped" or (status.state in STILL and status.confirm_at is None))

    def _stands(self, ref: str) -> str:
        """A file as `freshness explain` would tell it, in a line."""
        status = self._status(ref)
        behind = [f"{each.concern} {each.state} ({each.why})" for each in status.concerns if each.state != "fresh"]
        return f"{ref} is {status.state} ({status.why}), ordered {status.ordered}, served {status.served}: {behind}"

    def _status(self, ref: str) -> Any:
        with self._history.postgres.looking() as conn:
            return freshness_of(conn, self._history.house.rules, ref)
