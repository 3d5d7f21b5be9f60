"""The rules under exploration: the product's own decision functions behind small integers, and the seed's rule.

Stamps are 0, 1, 2, …; everything begins with 0. They become instants only here, where the real functions
are called, and every call is remembered: a model asks the same few thousand questions millions of times.
"""

from __future__ import annotations

import datetime as dt
from functools import cache

from freshness import guard
from freshness.confirming import HeldBy, confirm
from freshness.guard import FileNumbers
from freshness.settling import Read, Standing, Terms, settle
from freshness.state import Holding, State, state_of

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

#: Reads happen days after the stamps, so that none is racy: the model has no clock, ticks are tested elsewhere.
LATER = EPOCH + dt.timedelta(days=9)

RESOLUTION_S, READ_LAG_S = 0.004, 600.0


def instant(stamp: int) -> dt.datetime:
    """The instant of a model's stamp."""
    return EPOCH + dt.timedelta(seconds=stamp)


class Ours:
    """The protocol, by the functions that the product runs."""

    @staticmethod
    @cache
    def hook(t: int, ordered: int, wanted: int, captured: int, held: tuple[int, ...], served: tuple[int, ...]) -> bool:
        """Whether an entry with stamp t orders."""
        up_to_date = [instant(h) for h, s in zip(held, served, strict=True) if s >= ordered]
        numbers = FileNumbers(
            ordered=ordered,
            wanted=instant(wanted),
            captured=instant(captured),
            least_held=min(instant(h) for h in held),
            least_held_served=min(up_to_date, default=None),
            all_stale=not up_to_date,
            unstamped=False,
        )
        return guard.decide(instant(t), numbers).orders

    @staticmethod
    @cache
    def commit(v: int, need: int, held: int, captured: int) -> str:
        """What becomes of a read with stamp v: thrown away, unserved or served."""
        standing = Standing(instant(held), instant(captured), None, None, None, None, None)
        read = Read(instant(v), LATER, LATER)
        terms = Terms(order=1, need=instant(need), behind_since=None)
        done = settle(terms, read, standing, resolution_s=RESOLUTION_S, read_lag_s=READ_LAG_S)
        assert not done.new_epoch
        assert done.racy_due_at is None
        return "thrown away" if done.throw_away else "served" if done.serves else "unserved"

    @staticmethod
    @cache
    def confirms(v: int, ordered: int, mark: int, wanted: int, held: tuple[int, ...], served: tuple[int, ...]) -> bool:
        """Whether a confirmation that reads v orders."""
        found = confirm(
            instant(v),
            [HeldBy(instant(h), s < ordered, given_up=False) for h, s in zip(held, served, strict=True)],
            mark=instant(mark),
            wanted=instant(wanted),
            unstamped=False,
            raised_at=LATER,
            now=LATER,
            read_lag_s=READ_LAG_S,
        )
        assert not found.new_epoch
        return found.orders

    @staticmethod
    @cache
    def is_fresh(ordered: int, newest: int, held: tuple[int, ...], served: tuple[int, ...], write: bool) -> bool:
        """Whether the file would be called fresh."""
        holdings = [Holding(instant(h), s) for h, s in zip(held, served, strict=True)]
        state = state_of(
            holdings,
            ordered=ordered,
            newest=instant(newest),
            deleted=False,
            unstamped=False,
            doubted=False,
            write_under_way=write,
        )
        return state is State.FRESH
