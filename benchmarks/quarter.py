"""A database that has been in use for a quarter, with the product's receiver on it: filled once, for all groups that
look at it. Who uses it up comes last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, LiteralString

import redis

from freshness.ledger.weeks import Week

from . import files, filling
from .ground import execute, ground, settle
from .load import Outcome, closed, paced
from .parties import Ours
from .scale import scaled

FILES, RECEIPTS = scaled(1_000_000, 1_000), scaled(10_000_000, 10_000)
#: Files that changes are told of.
BUSY = min(20_000, FILES)
BATCH, CONNECTIONS, OPEN_CONNECTIONS = 50, 32, 128
WARM_S, SECONDS, OPEN_S = 1, 3, 6.0
#: What a round of entries writes to and rewrites.
REWRITTEN: tuple[LiteralString, ...] = ("file_freshness", "refresh_orders")
#: More than is answered.
MOST_ONES_A_S = 12_000

# The same here, without a look at all the rest.
_FRESH_AGAIN = """
WITH stale AS MATERIALIZED (SELECT id, served FROM file_freshness WHERE served < ordered),
gone AS (DELETE FROM refresh_orders o USING stale s WHERE o.file_id = s.id AND o.number > s.served)
UPDATE file_freshness f SET ordered = s.served, wanted = %(held)s FROM stale s WHERE f.id = s.id
"""
_NOW = "SELECT mlm_now()"
_RECEIVED = """
SELECT outcome, reason, count(*) FROM mlm_webhook_receipts WHERE received_at >= %(since)s GROUP BY 1, 2
"""
_ORDERED = "SELECT count(*) FROM refresh_orders WHERE placed_at >= %(since)s"


class Full(Ours):
    """The product's receiver on a database that has been in use for a quarter."""

    weeks: Sequence[Week]
    filled_s: float

    def fill(self) -> None:
        """Files, and weeks of receipts."""
        self.filled_s, self.weeks = filling.fill(self.url, FILES, RECEIPTS)

    def make_fresh(self) -> None:
        """Bring the files back to where a round begins; receipts stay."""
        execute(self.url, _FRESH_AGAIN, held=files.HELD)
        with redis.Redis.from_url(self.here.servers.redis_url) as client:
            client.flushall()
        settle(self.url, *REWRITTEN, analyze=False)
        self.since = execute(self.url, _NOW)[0][0]

    def received(self) -> tuple[list[tuple[Any, ...]], int]:
        """Since the round began."""
        return execute(self.url, _RECEIVED, since=self.since), execute(self.url, _ORDERED, since=self.since)[0][0]

    def paced(
        self,
        rate: float,
        meanwhile: Callable[[], None] = lambda: None,
        seconds: float = OPEN_S,
        turn_s: float | None = None,
    ) -> Outcome:
        """The receivers, which run, under entries that come singly at this rate, while something else is done.

        Raises:
            BaseException: what was done meanwhile failed.
        """
        load_s = WARM_S + seconds
        failed: list[BaseException] = []

        def beside() -> None:
            try:
                meanwhile()
            except BaseException as error:  # noqa: BLE001 - raised below, in the thread that measures
                failed.append(error)

        self.make_fresh()
        aside = threading.Thread(target=beside)
        aside.start()
        load = self.requests(self.port, 1, int(rate * (load_s + 1)))
        outcome = paced(
            load,
            self.port,
            self.file,
            connections=OPEN_CONNECTIONS,
            seconds=seconds,
            warm_s=WARM_S,
            rate=rate,
            turn_s=turn_s,
        )
        aside.join()
        if failed:
            raise failed[0]
        self.check(outcome.answered, outcome.sent)
        return outcome


def take(ours: Ours, batch: int, most_a_s: float) -> Outcome:
    """What the receivers, which run, make of this load, closed loop, their receipts counted."""
    ours.make_fresh()
    load = ours.requests(ours.port, batch, int(most_a_s * (WARM_S + SECONDS)))
    outcome = closed(load, ours.port, ours.file, connections=CONNECTIONS, seconds=SECONDS, warm_s=WARM_S)
    ours.check(outcome.answered * batch, outcome.sent * batch)
    return outcome


_kept = ExitStack()
_full: list[Full] = []


@contextmanager
def kept() -> Iterator[None]:
    """Whatever was filled within the block goes with its end."""
    try:
        yield
    finally:
        _full.clear()
        _kept.close()


def looked_at(say: Callable[[str], None]) -> Full:
    """The database, for somebody who leaves it as it is."""
    if not _full:
        say(f"filling: {FILES:,} files, {RECEIPTS:,} receipts …")
        _full.append(Full(_kept.enter_context(ground()), BUSY, "full"))
        say(f"filled in {_full[0].filled_s:.0f} s")
    return _full[0]


@contextmanager
def used_up(say: Callable[[str], None]) -> Iterator[Full]:
    """The database, for somebody after whom it is of no use any more."""
    with kept():
        yield looked_at(say)
