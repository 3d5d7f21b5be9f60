"""Readiness: whether a slice may start now, and if not, why and until when. Pure.

One function says it for the lease, for the sweep and for whoever asks why a file is stale.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from .concerns import Concern

#: Errors in a row after which a concern is given up: it stays stale, shows, and rests until an order or a redrive.
GIVE_UP_AFTER = 8


class Wait(StrEnum):
    """Why a stale concern is not being read this moment."""

    SERVED = "served"
    LEASED = "at work"
    GIVEN_UP = "given up"
    RETRY = "waits for its next try"
    NOT_DUE = "waits until its order is due"
    LOAN_FIELDS = "waits for loan fields"
    UPSTREAM = "waits for what it hangs on"


@dataclass(frozen=True, slots=True)
class SliceState:
    """One active concern of a file, with what decides whether its slice may start.

    `order` is the order a lease would take now: for a root the newest order before the first that is not due, for a
    dependent concern the order its upstream has landed. `attempts` and `next_try_at` already count for the newest
    order only. `alone`: it is read by itself, since it has failed for that order, or a read together with others has.
    """

    is_loan_fields: bool
    order: int
    served: int
    ordered: int
    undue_until: dt.datetime | None
    attempts: int
    next_try_at: dt.datetime | None
    leased: bool
    file_is_there: bool
    hangs_on: Concern | None
    alone: bool

    @property
    def stale(self) -> bool:
        """Whether an order is not served: the concern may differ from MLM, and says so."""
        return self.served < self.ordered

    @property
    def given_up(self) -> bool:
        """Whether it has failed so often that only an order or a redrive starts it again."""
        return self.stale and self.attempts >= GIVE_UP_AFTER


def why_not(state: SliceState, now: dt.datetime) -> Wait | None:
    """None if the slice may start now; else the first reason why not."""
    if not state.stale:
        return Wait.SERVED
    if state.given_up:
        return Wait.GIVEN_UP
    if state.leased:
        return Wait.LEASED
    if not state.file_is_there and not state.is_loan_fields:
        return Wait.LOAN_FIELDS
    if state.order <= state.served:
        return Wait.UPSTREAM if state.hangs_on else Wait.NOT_DUE
    if state.next_try_at is not None and state.next_try_at > now:
        return Wait.RETRY
    return None


def taken_along(states: Mapping[Concern, SliceState], asked: Concern, now: dt.datetime) -> dict[Concern, int]:
    """What the read of a slice that may start takes along, with the order that each serves, upstream first; the slice
    itself is among them. `states`, upstream first, are those that nobody else has in hand.

    What hangs on another that is read in the same call follows it: rows of one answer, landed one after the other.
    """
    if states[asked].alone:
        return {asked: states[asked].order}
    orders: dict[Concern, int] = {}
    for concern, state in states.items():
        above = orders.get(state.hangs_on) if state.hangs_on else None
        there = state.file_is_there or Concern.LOAN_FIELDS in orders
        follows = replace(state, order=state.order if above is None else above, file_is_there=there)
        if not state.alone and why_not(follows, now) is None:
            orders[concern] = follows.order
    return orders


def to_ring_for(states: Mapping[Concern, SliceState], now: dt.datetime, *, shared_reads: bool) -> list[Concern]:
    """The concerns to ring for, so that every slice that may start now is read: where one read takes the others along,
    the first of those is enough."""
    ready = [concern for concern, state in states.items() if why_not(state, now) is None]
    if not shared_reads:
        return ready
    together = [concern for concern in ready if not states[concern].alone]
    return together[:1] + [concern for concern in ready if states[concern].alone]
