"""The guard: one entry with stamp t, decided against the numbers of its file.

`decide` is the table of the protocol (docs/protocol.md, "The guard"), as one pure function:

    t                                                    decision                     outcome
    ---------------------------------------------------  ---------------------------  -------------------------
    missing, unreadable; or stamps are not calibrated    order; wanted stays          dispatched, unguarded
    the file is unstamped                                order; wanted = t            dispatched, unguarded
    t ≤ least held                                       skip                         held
    t ≤ wanted, and every concern held below t is stale  skip; joins that order       already_ordered
    t ≤ captured                                         skip; confirmed once quiet   own_echo
    otherwise                                            order; wanted = t            dispatched, newer

A stamp more than a day ahead of our clock never gets here: `stamp.parse` calls it unreadable.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum


class Outcome(StrEnum):
    """What became of an entry; the receipt's `outcome` (the contract, "Outcomes")."""

    DISPATCHED = "dispatched"
    HELD = "held"
    ALREADY_ORDERED = "already_ordered"
    OWN_ECHO = "own_echo"
    UNKNOWN_FILE = "unknown_file"
    UNSUPPORTED_EVENT = "unsupported_event"
    MALFORMED = "malformed"

    @property
    def counted_as(self) -> str:
        """How the webhook's answer counts it: dispatched, skipped or rejected."""
        if self is Outcome.DISPATCHED:
            return "dispatched"
        return "rejected" if self is Outcome.MALFORMED else "skipped"


#: Reasons of a dispatched entry.
NEWER, UNGUARDED, DELETED_EVENT, FORCED = "newer", "unguarded", "deleted_event", "forced"

#: Reasons of a skip, as the receipt says them.
WHY_SKIPPED = {
    Outcome.HELD: "every concern holds this stamp or a newer one",
    Outcome.ALREADY_ORDERED: "an order that is not served yet will read this stamp or a newer one",
    Outcome.OWN_ECHO: "a capture after our own write vouches for this stamp; confirmed once the file is quiet",
    Outcome.UNKNOWN_FILE: "we have no loan or lead with this reference",
    Outcome.UNSUPPORTED_EVENT: "an event of this name changes nothing here",
}


@dataclass(frozen=True, slots=True)
class FileNumbers:
    """What the guard needs to know of a file; stamps truncated, None where there is none.

    `least_held` is None if any active concern holds nothing. `least_held_served` is the same over the concerns that
    are not stale; with `all_stale` there are none of these, and it says nothing.
    """

    ordered: int
    wanted: dt.datetime | None
    captured: dt.datetime | None
    least_held: dt.datetime | None
    least_held_served: dt.datetime | None
    all_stale: bool
    unstamped: bool

    def after_order(self, wanted: dt.datetime | None) -> FileNumbers:
        """The numbers once an order was placed: every concern is stale; `wanted` never goes back."""
        return replace(
            self,
            ordered=self.ordered + 1,
            wanted=latest(self.wanted, wanted),
            least_held_served=None,
            all_stale=True,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one entry. `orders`: place an order; `wanted`: raise the file's `wanted` to it."""

    outcome: Outcome
    reason: str
    orders: bool = False
    wanted: dt.datetime | None = None

    @property
    def joins_order(self) -> bool:
        """Whether the receipt carries the number of an order."""
        return self.orders or self.outcome is Outcome.ALREADY_ORDERED


def decide(t: dt.datetime | None, file: FileNumbers, *, calibrated: bool = True) -> Decision:
    """Decide one `Modified` or `Created` entry with stamp `t` (truncated; None: missing or unreadable).

    `calibrated`: a webhook's stamp has been seen to equal a read's. Until then none silences anything.
    """
    if t is None or not calibrated:
        return Decision(Outcome.DISPATCHED, UNGUARDED, orders=True)
    if file.unstamped:
        return Decision(Outcome.DISPATCHED, UNGUARDED, orders=True, wanted=t)
    if at_most(t, file.least_held):
        return _skip(Outcome.HELD)
    if at_most(t, file.wanted) and (file.all_stale or at_most(t, file.least_held_served)):
        return _skip(Outcome.ALREADY_ORDERED)
    if at_most(t, file.captured):
        return _skip(Outcome.OWN_ECHO)
    return Decision(Outcome.DISPATCHED, NEWER, orders=True, wanted=t)


def decide_deleted(t: dt.datetime | None, *, calibrated: bool = True) -> Decision:
    """Decide a `Deleted` entry: always an order, and `wanted` becomes its stamp, so that no read from behind serves it.
    The loan-fields slice finds out by reading; nothing is purged on a webhook's word (the contract, "Outcomes")."""
    return Decision(Outcome.DISPATCHED, DELETED_EVENT, orders=True, wanted=t if calibrated else None)


def force(decision: Decision) -> Decision:
    """The same for somebody who wants the file read whatever the guard says (`freshness replay --force`): a skip
    becomes an order that leaves `wanted`."""
    return decision if decision.orders else Decision(Outcome.DISPATCHED, FORCED, orders=True)


def at_most(t: dt.datetime, bound: dt.datetime | None) -> bool:
    """t ≤ bound, where no bound at all is below every stamp."""
    return bound is not None and t <= bound


def latest(*stamps: dt.datetime | None) -> dt.datetime | None:
    """The newest of these stamps; None if there is none."""
    return max((stamp for stamp in stamps if stamp is not None), default=None)


def _skip(outcome: Outcome) -> Decision:
    return Decision(outcome, WHY_SKIPPED[outcome])
