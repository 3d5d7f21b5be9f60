"""Settling: what the commit of one slice's read does to the numbers.

`settle` is "A slice", points 3 to 7, of the protocol (docs/protocol.md) as one pure function. What it is given was
taken with the lease (order o, need, epoch) or stands under the file's lock at the commit (captured, held, …).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from .guard import at_most, latest

#: A stamp this far behind our clock is not racy: no save of now will bear it.
RACY_LIMIT = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the lease fixed before the read: not read again until the commit."""

    order: int
    need: dt.datetime | None
    behind_since: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Read:
    """One answer of MLM: its stamp (truncated; None: missing or unreadable), when it was asked for, when it came."""

    stamp: dt.datetime | None
    asked_at: dt.datetime
    answered_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The file and the concern as they stand under the file's lock at the commit."""

    held: dt.datetime | None
    captured: dt.datetime | None
    mark: dt.datetime | None
    mark_seen_at: dt.datetime | None
    wanted: dt.datetime | None
    wanted_seen_at: dt.datetime | None
    racy_stamp: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to commit.

    `throw_away`: nothing, the read is older than what is held. Otherwise the rows land, `held` becomes the stamp,
    the mark is raised to it, and `serves` says whether the order is served. `new_epoch`: MLM has gone back.
    `racy_due_at`: order again, due then. `unstamped`: the answer bore no stamp.
    """

    throw_away: bool = False
    serves: bool = False
    unstamped: bool = False
    new_epoch: bool = False
    racy_due_at: dt.datetime | None = None


def settle(terms: Terms, read: Read, now: Standing, *, resolution_s: float, read_lag_s: float) -> Settlement:
    """Settle one read that was made under these terms."""
    v = read.stamp
    if v is None:
        return Settlement(serves=True, unstamped=True)
    late = is_late(terms, read.asked_at, read_lag_s)
    went_back = now.held is not None and v < now.held
    if went_back:
        return Settlement(serves=True, new_epoch=True) if late else Settlement(throw_away=True)
    serves = late or not _below(v, latest(terms.need, now.captured))
    return Settlement(serves=serves, racy_due_at=_racy(v, read, now, resolution_s))


def is_late(terms: Terms, asked_at: dt.datetime, read_lag_s: float) -> bool:
    """Whether a read serves whatever it shows: begun more than the read lag after the concern fell behind."""
    return terms.behind_since is not None and asked_at - terms.behind_since > dt.timedelta(seconds=read_lag_s)


def _below(v: dt.datetime, need: dt.datetime | None) -> bool:
    return need is not None and v < need


def _racy(v: dt.datetime, read: Read, now: Standing, resolution_s: float) -> dt.datetime | None:
    """When to read again because another save may come to bear v; None if none can, or that order stands already."""
    if at_most(v, now.racy_stamp) or read.answered_at - v >= RACY_LIMIT or _below(v, now.mark):
        return None
    first_seen = _first_seen(v, read, now)
    resolution = dt.timedelta(seconds=resolution_s)
    if first_seen <= read.asked_at - resolution:
        return None
    return first_seen + resolution


def _first_seen(v: dt.datetime, read: Read, now: Standing) -> dt.datetime:
    """When this stamp was first seen by us: a read counts from its answer."""
    seen = [read.answered_at]
    if v == now.mark and now.mark_seen_at is not None:
        seen.append(now.mark_seen_at)
    if v == now.wanted and now.wanted_seen_at is not None:
        seen.append(now.wanted_seen_at)
    return min(seen)
