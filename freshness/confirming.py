"""Confirming: what reading the stamp alone says about a file. The one backstop of the protocol.

`confirm` is "Confirmation" of the protocol (docs/protocol.md) as one pure function. It orders directly, not through
the guard: a capture or a `wanted` that vouches for too much must not silence it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from .guard import at_most, latest


@dataclass(frozen=True, slots=True)
class HeldBy:
    """One concern as a confirmation sees it. `given_up_stamp`: the stamp it was last ordered at while given up."""

    held: dt.datetime | None
    stale: bool
    given_up: bool
    given_up_stamp: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a confirmation found. `orders`: place an order, `wanted` raised to the stamp read. `new_epoch`: MLM has gone
    back under everything we hold (a restore); it comes with one order."""

    orders: bool = False
    new_epoch: bool = False


def confirm(
    v: dt.datetime,
    concerns: Sequence[HeldBy],
    *,
    mark: dt.datetime | None,
    wanted: dt.datetime | None,
    unstamped: bool,
    raised_at: dt.datetime | None,
    now: dt.datetime,
    read_lag_s: float,
) -> Confirmation:
    """Weigh the stamp `v` that MLM shows now against what each active concern holds.

    `raised_at` is when mark or wanted was raised last, as they stood before this read. `unstamped`: the file's rows
    came with no stamp, so whatever is held says nothing of them.
    """
    differing = [concern for concern in concerns if unstamped or concern.held != v]
    if differing:
        return Confirmation(orders=not all(_in_hand(concern, v, wanted) for concern in differing))
    newest = latest(mark, wanted)
    settled = raised_at is None or now - raised_at > dt.timedelta(seconds=read_lag_s)
    gone_back = newest is not None and v < newest and settled
    return Confirmation(orders=gone_back, new_epoch=gone_back)


def _in_hand(concern: HeldBy, v: dt.datetime, wanted: dt.datetime | None) -> bool:
    """Whether an order that stands already will bring this concern to v, or has been tried for v and given up."""
    if concern.given_up:
        return concern.given_up_stamp == v
    return concern.stale and at_most(v, wanted)
