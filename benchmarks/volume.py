"""Volume: receiving into ten million receipts and a million files, and dropping the receipts while entries come.

Two databases: one with the files that changes are told of and nothing else, one that has been in use for a quarter.
Both are sent the same changes; the full one also changes spread over all of its files, each of them touched for the
first time. Then its receipts go, a few weeks a round. Of one half of these, entries come at a fixed rate twice, the
second time while the product's prune runs: the weeks, then the orders of that time by the row, for as long as entries
come. The other half is deleted by one `DELETE`, timed and rolled back, so that the same receipts are there to be
dropped by the product, timed too; nothing runs beside either.
"""

from __future__ import annotations

import datetime as dt
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from freshness.ledger import pruning, receipts
from freshness.ledger.receipts import Filter
from freshness.ledger.weeks import Week
from jobs.house import make_engine

from . import ground, quarter
from .ground import execute, settle
from .parties import Ours
from .quarter import BATCH, BUSY, CONNECTIONS, FILES, MOST_ONES_A_S, OPEN_S, RECEIPTS, REWRITTEN, WARM_S, Full, take
from .seen import Seen
from .table import Figure, Mark, Measured, Row, Series

NAME = "volume"

#: More than is answered.
MOST_BATCHES_A_S = 600

_SIZE = "SELECT pg_database_size(current_database())"
_LEFT = "SELECT count(*) FROM mlm_webhook_receipts WHERE received_at < %(before)s"
_DELETE = "DELETE FROM mlm_webhook_receipts WHERE received_at >= %(begins)s AND received_at < %(ends)s"


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """Rates full and empty in turn; then, some weeks a round, DELETE and prune."""
    seen = Seen()
    with quarter.used_up(say) as full, _engine() as engines:
        here = full.here
        empty = Ours(here, BUSY, "empty")
        size = execute(full.url, _SIZE)[0][0]
        say(f"{size / 1e9:.1f} GB")
        engine = engines(full.url)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: {_rates(empty, full, seen)}")
            say(f"round {number + 1} of {rounds}: {_lookups(engine, full, seen)}")
        with full.receiver():
            say(f"requests of one entry: {seen.add(one=take(full, 1, MOST_ONES_A_S).per_s)}")
            rate = seen.values["one"][0] / 2
            for number, weeks in enumerate(_parts(full.weeks, rounds)):
                say(f"round {number + 1} of {rounds}: {_prune(full, engine, weeks, rate, seen)}")
        return Measured(_rows(seen, rate), ground.versions(here.servers), _figures(seen, full.filled_s, size))


def _rates(empty: Ours, full: Full, seen: Seen) -> str:
    with empty.receiver():  # one house at a time: two at one Valkey take from each other
        told = [seen.add(empty=take(empty, BATCH, MOST_BATCHES_A_S).per_s * BATCH)]
    with full.receiver():
        told.append(seen.add(full=take(full, BATCH, MOST_BATCHES_A_S).per_s * BATCH))
        full.known = FILES
        told.append(seen.add(spread=take(full, BATCH, MOST_BATCHES_A_S).per_s * BATCH))
        full.known = BUSY
    return ", ".join(told)


class _Over(Exception):
    """Entries have stopped to come."""


def _prune(full: Full, engine: sa.Engine, weeks: Sequence[Week], rate: float, seen: Seen) -> str:
    """The rate without, and with a prune of the older half; DELETE of the other, rolled back, and its prune."""
    older, newer = weeks[: len(weeks) // 2], weeks[len(weeks) // 2 :]
    alone = full.paced(rate)
    pruned = full.paced(rate, lambda: _prune_meanwhile(engine, older[-1].ends))
    settle(full.url, *REWRITTEN, analyze=False)
    deleted_s, rows = _delete(full.url, newer[0].begins, newer[-1].ends)
    settle(full.url, *REWRITTEN, analyze=False)
    began = time.perf_counter()
    pruning.drop_weeks(engine.begin, newer[-1].ends)
    took_s = time.perf_counter() - began
    if left := execute(full.url, _LEFT, before=newer[-1].ends)[0][0]:
        raise RuntimeError(f"{left} receipts are left of those that were to be dropped")
    return seen.add(
        rows=rows, delete_s=deleted_s, prune_s=took_s, alone_p99=alone.ms["p99"], pruned_p99=pruned.ms["p99"],
        alone_max=alone.ms["max"], pruned_max=pruned.ms["max"],
    )  # fmt: skip


def _prune_meanwhile(engine: sa.Engine, before: dt.datetime) -> None:
    """The product's prune, once entries come, and until they are about to stop."""
    time.sleep(2 * WARM_S)
    over = time.monotonic() + OPEN_S - WARM_S

    @contextmanager
    def begin() -> Iterator[sa.Connection]:
        if time.monotonic() > over:
            raise _Over
        with engine.begin() as conn:
            yield conn

    try:
        pruning.prune(begin, dt.datetime.now(dt.UTC) - before, whole_weeks=True)
    except _Over:
        return


def _delete(url: str, begins: Any, ends: Any) -> tuple[float, int]:
    """The seconds that deleting takes, and how many receipts; they are there again afterwards."""
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        rows = connection.execute(_DELETE, {"begins": begins, "ends": ends}).rowcount
        took_s = time.perf_counter() - began
        connection.rollback()
    return took_s, rows


def _lookups(engine: sa.Engine, full: Full, seen: Seen) -> str:
    """Milliseconds that listings take: of one file, of one outcome, of one hour, of one receipt."""
    week = full.weeks[len(full.weeks) // 2]
    wanted = {
        "file": Filter(reference="R000017"),
        "outcome": Filter(outcome="own_echo"),
        "hour": Filter(since=week.begins, until=week.begins + (week.ends - week.begins) / 168),
    }
    looks: dict[str, Callable[[sa.Connection], Sequence[Any]]] = {
        name: lambda conn, each=each: receipts.listed(conn, each)  # type: ignore[misc]
        for name, each in wanted.items()
    }
    looks["receipt"] = lambda conn: receipts.by_id(conn, [RECEIPTS // 2])
    told = []
    for name, look in looks.items():
        with engine.begin() as conn:
            began = time.perf_counter()
            found = look(conn)
            took_ms = (time.perf_counter() - began) * 1e3
        if not found:
            raise RuntimeError(f"no receipt was found by {name}")
        told.append(seen.add(**{f"by_{name}_ms": took_ms}))
    return ", ".join(told)


def _parts(weeks: Sequence[Week], rounds: int) -> Iterator[Sequence[Week]]:
    """The weeks, oldest first, in as many parts as there are rounds."""
    ends = [len(weeks) * (number + 1) // rounds for number in range(rounds)]
    if len(weeks) < 2 * rounds:
        raise ValueError(f"{len(weeks)} weeks are too few for {rounds} rounds of two")
    for first, beyond in zip([0, *ends], ends, strict=False):
        yield weeks[first:beyond]


@contextmanager
def _engine() -> Iterator[Callable[[str], sa.Engine]]:
    made: list[sa.Engine] = []

    def engine(url: str) -> sa.Engine:
        made.append(make_engine(url, 2, "benchmark"))
        return made[-1]

    yield engine
    for each in made:
        each.dispose()


def _rows(seen: Seen, rate: float) -> list[Row]:
    half = "resolution 1 s, half of the entries dispatched"
    there = f"{RECEIPTS:,} receipts, {FILES:,} files"
    load = f"batches of {BATCH} over {CONNECTIONS} connections, {half}"
    empty, dropped = seen.series("empty", "an empty one"), "weeks dropped, nothing beside it"
    paced = f"open loop, {rate:,.0f} requests/s of one entry, {half}; weeks dropped, then orders by the row"
    return [
        Row(
            "rate", f"entries accepted, {there}", "entries/s", seen.series("full", "ours"), empty, Mark(0.85, True),
            f"{load}, over {BUSY:,} files",
        ),
        Row(
            "spread", f"entries accepted, {there}: spread over all of them", "entries/s", seen.series("spread", "ours"),
            empty, Mark(0.85, True), f"{load}, over {FILES:,} files; in the empty one over {BUSY:,}",
        ),
        Row(
            "prune", f"prune of {statistics.median(seen.values['rows']):,.0f} receipts", "s",
            seen.series("prune_s", "ours"), seen.series("delete_s", "DELETE"), Mark(0.01, False), dropped,
        ),
        Row(
            "prune-p99", "p99 of receiving while it is pruned", "ms", seen.series("pruned_p99", "ours"),
            seen.series("alone_p99", "without a prune"), Mark(1.2, False), paced,
        ),
    ]  # fmt: skip


def _figures(seen: Seen, filled_s: float, size: int) -> list[Figure]:
    looked = {
        "by_file_ms": "the newest receipts of one file",
        "by_outcome_ms": "the newest receipts of a rare outcome",
        "by_hour_ms": "the receipts of one hour, at most 50",
        "by_receipt_ms": "one receipt by its id",
        "alone_max": "the slowest answer without a prune",
        "pruned_max": "the slowest answer while it is pruned",
    }
    return [
        Figure("filling the database", "s", Series("once", (filled_s,))),
        Figure("its size", "GB", Series("once", (size / 1e9,))),
        Figure("requests of one entry, closed loop", "requests/s", seen.series("one", "ours")),
        *(Figure(what, "ms", seen.series(name, "ours")) for name, what in looked.items()),
    ]
