"""Where an order of CollateralXP's stands, and whether an event moves it. Pure.

Events come in any order and mostly without a time of their own, so an order has a place in a round: places are passed
forwards only, and what turns an order back (the vendor leaves, a revision is asked for) begins a new round.

    10 ordered · 20 accepted · 25 unassigned · 30 assigned · 40 assignment_accepted · 50 inspection_scheduled
    60 inspection_completed · 65 revision_requested · 70 submitted · 80 completed · 90 fulfilled · 99 cancelled

- An event of a place further on moves the order there, also over places that were not heard of yet.
- One of a place passed already, or whose own time is before the own time of what moved the order last, is `older`.
- `unassigned` and `assignment_timed_out` turn back an order that is between assigned and inspected, if they name the
  vendor that has it; of a vendor from before they are `older`, of an order that nobody has `impossible`. So does an
  assignment to a vendor that was not heard of yet: its predecessor's end is still under way. What tells of a vendor
  that has left is `older`, unless nobody has followed and it is assigned again.
- A revision turns back an order that was submitted; before that it is `impossible`.
- A hold is no place: it may come at any of them but a last one, and a resumption only on a hold.

What is older or impossible is kept as an event, and fills what nothing else has said (`said_by`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

_ORDER, _ASSIGNMENT = "ordering::workflow::order_workflow::", "ordering::workflow::assignment_workflow::"
_CLIENT, _QUALITY = "ordering::workflow::client_request_workflow::", "ordering::workflow::quality_assurance_workflow::"

#: Events that lead forwards: their place and the status there.
FORWARD = {
    f"{_ORDER}added": (10, "ordered"),
    f"{_ORDER}accepted": (20, "accepted"),
    f"{_ORDER}assigned": (30, "assigned"),
    f"{_ORDER}assignment_accepted": (40, "assignment_accepted"),
    f"{_ASSIGNMENT}inspection_scheduled": (50, "inspection_scheduled"),
    f"{_ASSIGNMENT}inspection_completed": (60, "inspection_completed"),
    f"{_ASSIGNMENT}submitted": (70, "submitted"),
    f"{_QUALITY}completed": (80, "completed"),
    f"{_CLIENT}fulfilled": (90, "fulfilled"),
    f"{_CLIENT}cancelled": (99, "cancelled"),
}
ASSIGNED = f"{_ORDER}assigned"
CANCELLED = f"{_CLIENT}cancelled"

#: Events that end a vendor's assignment.
RELEASES = frozenset({"ordering::workflow::unassigned", "ordering::workflow::assignment_timed_out"})

#: Events that ask for a revision, and who asks.
REVISIONS = {
    f"{_CLIENT}revision_asked": "client_request",
    f"{_QUALITY}revision_asked": "quality_assurance",
    f"{_CLIENT}revision_asked_from_client": "client",
}

#: To be called Held soon, CollateralXP says.
HOLDS = frozenset({"ordering::workflow::holded", "ordering::workflow::held"})
RESUMED = "ordering::workflow::resumed"

CONDITIONS = {
    f"{_ORDER}assignment_condition_approved": "approved",
    f"{_ORDER}assignment_condition_rejected": "rejected",
}

_UNASSIGNED, _REVISION, _SUBMITTED, _LAST = 25, 65, 70, 99

#: What an event that is no place may say: of what was changed on purpose all, of what it only repeats what is missing.
CHANGED, CONDITION, REPEATED = 98, 42, 5


class Effect(StrEnum):
    """What an event did to its order."""

    MOVED = "moved"
    NOTED = "noted"
    OLDER = "older"
    IMPOSSIBLE = "impossible"


@dataclass(slots=True)
class OrderState:
    """Where an order stands. `past` are vendors that it was taken from."""

    round: int = 0
    place: int = 0
    status: str | None = None
    status_at: dt.datetime | None = None
    is_held: bool = False
    holds: int = 0
    hold_reason: str | None = None
    vendor_id: str | None = None
    past: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Round and place as a text that sorts."""
        return f"{self.round:06d}.{self.place:02d}"

    def key_of(self, place: int, own_at: dt.datetime | None) -> str:
        """What a column is said by: a place of this round, and the event's own time there."""
        return f"{self.round:06d}.{place:02d}.{own_at.isoformat(timespec='microseconds') if own_at else ''}"

    def take(self, event: str, vendor_id: str | None, own_at: dt.datetime | None, reason: str | None) -> Effect:
        """Move as the event says, if it does; what it did."""
        if event in HOLDS or event == RESUMED:
            return self._hold(event in HOLDS, reason)
        if event in RELEASES:
            return self._release(vendor_id)
        if event in REVISIONS:
            return self._revise()
        if event not in FORWARD:
            return Effect.NOTED
        if self.is_of_past(event, vendor_id):
            return Effect.OLDER
        if own_at and self.status_at and own_at < self.status_at:
            return Effect.OLDER
        if event == ASSIGNED:
            if self._is_another(vendor_id):
                self._turn_back(_UNASSIGNED, "unassigned")
            self.past = [each for each in self.past if each != vendor_id]
        place, status = FORWARD[event]
        if place <= self.place:
            return Effect.OLDER if place < self.place else Effect.NOTED
        self.place, self.status = place, status
        self.status_at = own_at or self.status_at
        return Effect.MOVED

    def is_of_past(self, event: str, vendor_id: str | None) -> bool:
        """Whether the event tells of a vendor that has left; one that nobody followed may be assigned again."""
        if vendor_id not in self.past or vendor_id == self.vendor_id:
            return False
        return event != ASSIGNED or self.vendor_id is not None

    def _hold(self, held: bool, reason: str | None) -> Effect:
        if held and self.place >= _LAST:
            return Effect.IMPOSSIBLE
        if not held and not self.is_held:
            return Effect.IMPOSSIBLE
        self.is_held, self.hold_reason = held, reason if held else None
        self.holds += held
        return Effect.MOVED

    def _release(self, vendor_id: str | None) -> Effect:
        if not 30 <= self.place <= 60:
            return Effect.OLDER if vendor_id in self.past else Effect.IMPOSSIBLE
        if vendor_id and self.vendor_id and vendor_id != self.vendor_id:
            return Effect.OLDER
        self._turn_back(_UNASSIGNED, "unassigned")
        return Effect.MOVED

    def _is_another(self, vendor_id: str | None) -> bool:
        known = self.vendor_id and vendor_id and vendor_id != self.vendor_id
        return bool(known and 30 <= self.place <= 60)

    def _revise(self) -> Effect:
        if not _SUBMITTED <= self.place < _LAST:
            return Effect.NOTED if self.place == _REVISION else Effect.IMPOSSIBLE
        self._turn_back(_REVISION, "revision_requested")
        return Effect.MOVED

    def _turn_back(self, place: int, status: str) -> None:
        self.round, self.place, self.status = self.round + 1, place, status
        if place == _UNASSIGNED:
            self.past += [self.vendor_id] if self.vendor_id else []
            self.vendor_id = None
