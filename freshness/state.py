"""The state of a file, in one word. Pure.

Deleted or unstamped if its last loan-fields read said so; else stale if a concern is; else unconfirmed if one holds
nothing, or less than the mark or `wanted`, or an own write that was closed has not exited, or the file is doubted;
else fresh. A copy that differs is never called fresh (docs/protocol.md, "The numbers").
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .guard import at_most


class State(StrEnum):
    """What `GET …/freshness` answers."""

    FRESH = "fresh"
    UNCONFIRMED = "unconfirmed"
    STALE = "stale"
    UNSTAMPED = "unstamped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one active concern holds and has served; `given_up` if it has failed too often."""

    held: dt.datetime | None
    served: int
    given_up: bool = False

    def is_stale(self, ordered: int) -> bool:
        """Whether an order is not served."""
        return self.served < ordered

    def is_behind(self, newest: dt.datetime | None) -> bool:
        """Whether it holds nothing, or less than the newest stamp we know of."""
        return self.held is None or (newest is not None and not at_most(newest, self.held))


def state_of(
    holdings: Sequence[Holding],
    *,
    ordered: int,
    newest: dt.datetime | None,
    deleted: bool,
    unstamped: bool,
    doubted: bool,
    write_under_way: bool,
) -> State:
    """The state of a file. `newest` is the newer of mark and wanted; `doubted`, that more may have been announced.

    `write_under_way`: an own write that was closed has not exited, so the portal's local half may still land.
    """
    if deleted:
        return State.DELETED
    if unstamped:
        return State.UNSTAMPED
    if any(holding.is_stale(ordered) for holding in holdings):
        return State.STALE
    if write_under_way or doubted or any(holding.is_behind(newest) for holding in holdings):
        return State.UNCONFIRMED
    return State.FRESH


def needs_confirmation(holdings: Sequence[Holding], *, ordered: int, newest: dt.datetime | None) -> bool:
    """Whether a concern that is not due to run (served, or given up) holds nothing, or less than we know of."""
    return any(holding.is_behind(newest) for holding in holdings if holding.given_up or not holding.is_stale(ordered))
