"""Where an order of CollateralXP's stands, and whether an event moves it. Pure.

Events come in any order and mostly without a time of their own, so an order has a place in a round: places are passed
forwards only, and what turns an order back (the vendor leaves, a revision is asked for) begins a new round.

    10 ordered · 20 accepted · 25 unassigned · 30 assigned · 40 assignment_accepted · 50 inspection_scheduled
    60 inspection_completed · 65 revision_requested · 70 submitted · 80 completed · 90 fulfilled · 99 cancelled

- An event of a place further on moves the order there, also over places that were not heard of yet; one of a place
  passed already is `older`. Own times decide only between events of one place, and between vendors.
- `unassigned` and `assignment_timed_out` turn back an order that is between assigned and inspected, if they name the
  vendor that has it. Of another vendor they are `older`, of an order that nobody has `impossible`; the vendor that they
  name has left in any case, also if its assignment is heard of only then.
- An assignment to another vendor turns back an order that its vendor has not accepted: its predecessor's end is still
  under way. So does another vendor's acceptance, if it is newer by its own time than the one that stands; an older one
  is `older`, and its vendor has left. What tells of a vendor that has left is `older`, unless nobody has followed and
  it is assigned again.
- An inspection that was completed before the vendor who stands accepted is another vendor's, if another was heard of.
- A revision turns back an order that was submitted; before that it is `impossible`.
- A hold is no place: it may come at any of them but a last one, if the order is not held; a resumption only on a hold.

What is older or impossible is kept as an event, and fills what nothing else has said (`said_by`): it speaks as of
round 0, so that in a later one it never overwrites.
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

UNASSIGNED, _ASSIGNED, _ACCEPTED, _INSPECTED, _REVISION, _SUBMITTED, _LAST = 25, 30, 40, 60, 65, 70, 99

#: What an event that is no place may say: of its vendor's conditions, and of what it only repeats what is missing.
CONDITION, REPEATED = 42, 5

#: What was changed on purpose stands above what events of any round say by the way.
ON_PURPOSE = "999999.98."

ACCEPTED = f"{_ORDER}assignment_accepted"

#: What decided what an event did; the receipt's reason.
BY_STATE, BY_OWN_TIME = "by_state", "by_own_time"


class Effect(StrEnum):
    """What an event did to its order."""

    MOVED = "moved"
    NOTED = "noted"
    OLDER = "older"
    IMPOSSIBLE = "impossible"


@dataclass(slots=True)
class OrderState:
    """Where an order stands. `accepted_at` is when its vendor accepted, as far as is known; `past` are vendors that
    have left, `assigned` those whose assignment was heard of; `left` and `by`: whether the event taken last took the
    order from its vendor, and what decided what it did."""

    round: int = 0
    place: int = 0
    status: str | None = None
    status_at: dt.datetime | None = None
    is_held: bool = False
    holds: int = 0
    hold_reason: str | None = None
    vendor_id: str | None = None
    accepted_at: dt.datetime | None = None
    past: list[str] = field(default_factory=list)
    assigned: list[str] = field(default_factory=list)
    left: bool = False
    by: str = BY_STATE

    @property
    def key(self) -> str:
        """Round and place as a text that sorts."""
        return f"{self.round:06d}.{self.place:02d}"

    def key_of(self, place: int, own_at: dt.datetime | None = None) -> str:
        """What a column is said by: a place of this round, and the event's own time there."""
        return _key(self.round, place, own_at)

    def take(self, event: str, vendor_id: str | None, own_at: dt.datetime | None, reason: str | None) -> Effect:
        """Move as the event says, if it does; what it did."""
        self.left, self.by = False, BY_STATE
        if event in HOLDS or event == RESUMED:
            return self._hold(event in HOLDS, reason)
        if event in RELEASES:
            return self._release(vendor_id)
        if event in REVISIONS:
            return self._revise()
        if event not in FORWARD:
            return Effect.NOTED
        place, status = FORWARD[event]
        if event == ASSIGNED and vendor_id:
            if (effect := self._assign(vendor_id)) is not None:
                return effect
        elif event == ACCEPTED and vendor_id and self.place >= _ASSIGNED and self.vendor_id not in (None, vendor_id):
            return self._accept(vendor_id, own_at)
        elif self._is_gone(vendor_id):
            return Effect.OLDER
        elif self._was_anothers(place, own_at):
            self.by = BY_OWN_TIME
            return Effect.OLDER
        if place == self.place:
            return self._again(own_at)
        if place < self.place:
            return Effect.OLDER
        self.place, self.status, self.status_at = place, status, own_at
        return Effect.MOVED

    def key_of_said(self, event: str, vendor_id: str | None, own_at: dt.datetime | None, effect: Effect) -> str:
        """What the columns are said by that the event taken last says by the way."""
        place = FORWARD[event][0] if event in FORWARD else REPEATED
        late = effect in (Effect.OLDER, Effect.IMPOSSIBLE) or self._is_gone(vendor_id)
        return _key(0 if late or place == REPEATED else self.round, place, own_at)

    def is_of_another(self, vendor_id: str | None) -> bool:
        """Whether an event of this vendor says nothing of the vendor that the order has."""
        return self._is_gone(vendor_id) or bool(vendor_id and self.vendor_id and vendor_id != self.vendor_id)

    def stands_at(self, event: str) -> bool:
        """Whether the order is held, for a hold, or a revision is asked for, for a revision."""
        return self.is_held if event in HOLDS else event in REVISIONS and self.place == _REVISION

    def settle(self, vendor_id: str | None, accepted_at: dt.datetime | None) -> None:
        """Take over who has the order, and since when, from its columns. What was inspected before that by another, if
        another was heard of, does not count."""
        self.vendor_id, self.accepted_at = vendor_id, accepted_at
        others = [each for each in self.past if each != vendor_id]
        if others and self._was_anothers(self.place, self.status_at) and self.place == _INSPECTED:
            self.round, self.place, self.status = self.round + 1, _ACCEPTED, FORWARD[ACCEPTED][1]
            self.status_at = accepted_at

    def _is_gone(self, vendor_id: str | None) -> bool:
        return vendor_id is not None and vendor_id in self.past and vendor_id != self.vendor_id

    def _was_anothers(self, place: int, own_at: dt.datetime | None) -> bool:
        """Whether an inspection is a former vendor's, by its own time."""
        before = own_at and self.accepted_at and own_at < self.accepted_at
        return bool(before and place == _INSPECTED and [each for each in self.past if each != self.vendor_id])

    def _again(self, own_at: dt.datetime | None) -> Effect:
        """An event of the place where the order stands: the newest own time is the place's."""
        if own_at is None or self.status_at is None:
            self.status_at = self.status_at or own_at
            return Effect.NOTED
        self.by = BY_OWN_TIME
        if own_at < self.status_at:
            return Effect.OLDER
        self.status_at = own_at
        return Effect.NOTED

    def _assign(self, vendor_id: str) -> Effect | None:
        """An assignment to this vendor; None if it moves the order as any other event does."""
        first = vendor_id not in self.assigned
        self.assigned += [vendor_id] if first else []
        if self._is_gone(vendor_id):
            if first and self.vendor_id is None and self.place < _ASSIGNED:
                self._turn_back(UNASSIGNED, "unassigned")
                return Effect.MOVED
            if first or self.vendor_id is not None:
                return Effect.OLDER
            self.past.remove(vendor_id)
        elif self.place >= _ASSIGNED and self.vendor_id not in (None, vendor_id):
            if self.place > _ASSIGNED:
                return Effect.OLDER
            self._turn_back(UNASSIGNED, "unassigned")
        return None

    def _accept(self, vendor_id: str, own_at: dt.datetime | None) -> Effect:
        """Another vendor's acceptance than that of the one who stands."""
        if self.place > _INSPECTED:
            return Effect.OLDER
        if self.accepted_at is None:
            newer = vendor_id not in self.past and (own_at is not None or self.place == _ASSIGNED)
        else:
            newer = bool(own_at and own_at > self.accepted_at)
            self.by = BY_OWN_TIME if own_at else BY_STATE
        if not newer:
            self.past += [vendor_id] if own_at and vendor_id not in self.past else []
            return Effect.OLDER
        place, status, at = self.place, self.status, self.status_at
        self._turn_back(UNASSIGNED, "unassigned")
        self.past = [each for each in self.past if each != vendor_id]
        if at and own_at and place == _INSPECTED and at > own_at:
            self.place, self.status, self.status_at = place, status, at
        else:
            self.place, self.status, self.status_at = *FORWARD[ACCEPTED], own_at
        return Effect.MOVED

    def _hold(self, held: bool, reason: str | None) -> Effect:
        if held and self.place >= _LAST:
            return Effect.IMPOSSIBLE
        if not held and not self.is_held:
            return Effect.IMPOSSIBLE
        again = held and self.is_held
        self.is_held, self.hold_reason = held, reason if held else None
        self.holds += held and not again
        return Effect.NOTED if again else Effect.MOVED

    def _release(self, vendor_id: str | None) -> Effect:
        stands = _ASSIGNED <= self.place <= _INSPECTED
        if vendor_id and self.vendor_id != vendor_id and (self.vendor_id or not stands):
            known = vendor_id in self.past or self.vendor_id
            self.past += [] if vendor_id in self.past else [vendor_id]
            return Effect.OLDER if known else Effect.IMPOSSIBLE
        if not stands:
            if self.vendor_id and self.place < _ASSIGNED:
                self._leave()
            return Effect.IMPOSSIBLE
        self.vendor_id = self.vendor_id or vendor_id
        self._turn_back(UNASSIGNED, "unassigned")
        return Effect.MOVED

    def _revise(self) -> Effect:
        if not _SUBMITTED <= self.place < _LAST:
            return Effect.NOTED if self.place == _REVISION else Effect.IMPOSSIBLE
        self._turn_back(_REVISION, "revision_requested")
        return Effect.MOVED

    def _turn_back(self, place: int, status: str) -> None:
        self.round, self.place, self.status, self.status_at = self.round + 1, place, status, None
        if place == UNASSIGNED:
            self._leave()

    def _leave(self) -> None:
        self.past += [self.vendor_id] if self.vendor_id and self.vendor_id not in self.past else []
        self.vendor_id, self.accepted_at, self.left = None, None, True


def _key(number: int, place: int, own_at: dt.datetime | None) -> str:
    return f"{number:06d}.{place:02d}.{own_at.isoformat(timespec='microseconds') if own_at else ''}"
