"""Calls: how many MLM is asked for a change that an outsider makes there, until all of it is here.

The whole product as it runs: MLM's webhook to `freshness receiver`, one `freshness worker`, one `freshness scheduler`.
Edits are made one at a time, each after the one before is at rest; one value moves in a concern, or a record comes or
goes, the nine concerns in turn. Counted in the sandbox's own log is every call, whatever it asked for. The rounds and
the audit, which ask by the clock and not for a change, are off. Compared is the same with `MLM_SHARED_READS=0`: the
plain fan-out, a call a concern.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from mlm_client.sandbox.editing import CONCERNS, touch

from . import ground
from .table import Figure, Mark, Measured, Row, Series
from .whole import NO_BACKSTOPS, Whole, whole

NAME = "calls"

#: A file for each concern: what is taken out of it was put in before.
FILES = len(CONCERNS)
DONE = ("change", "add", "remove")
EDITS = FILES * len(DONE)
#: An order may be placed a moment after what was served: rest counts only if it lasts.
REST_S = 0.1

SETTINGS = {"MLM_STAMP_RESOLUTION": "0.004", "MLM_RATE": "1000", **NO_BACKSTOPS}
OURS, FAN_OUT = "ours", "plain fan-out"


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """The fan-out, which is here to compare, once; then ours, round by round, on the same files."""
    seen: dict[str, list[list[int]]] = {OURS: [], FAN_OUT: []}
    with ground.ground() as here, whole(here, "calls", FILES, **SETTINGS) as house:
        with house.working():
            house.import_all()
            _edits(house)  # webhooks and reads are seen to agree by these
        for name, shared, times in ((FAN_OUT, "0", 1), (OURS, "1", rounds)):
            with house.working(MLM_SHARED_READS=shared):
                for number in range(times):
                    counts = _edits(house)
                    house.is_equal()
                    seen[name].append(counts)
                    what = f"median {statistics.median(counts):g}, mean {statistics.fmean(counts):.2f}"
                    say(f"round {number + 1} of {times}: {name}: {what}, most {max(counts)}")
        return Measured(_rows(seen), ground.versions(here.servers), _figures(seen))


def _edits(house: Whole) -> list[int]:
    """Calls for each of so many edits."""
    refs, counts = house.mlm.store.refs(), []
    for number in range(EDITS):
        turn, place = divmod(number, FILES)
        before = house.mlm.calls.total
        touch(house.mlm.store, house.mlm.maker, refs[place], CONCERNS[place], DONE[turn])
        house.rests()
        time.sleep(REST_S)
        house.rests()
        counts.append(house.mlm.calls.total - before)
    return counts


def _series(label: str, counts: list[list[int]], of: Callable[[list[int]], float]) -> Series:
    return Series(label, tuple(of(each) for each in counts))


def _rows(seen: dict[str, list[list[int]]]) -> list[Row]:
    under = f"{EDITS} edits a round, one at a time, at rest between; resolution 4 ms, rate 1000/s, webhooks singly"
    what, ours = "calls to MLM a change, all concerns landed", seen[OURS]
    mean, median = _series(OURS, ours, statistics.fmean), _series(OURS, ours, statistics.median)
    return [
        Row("mean", f"{what}: mean", "calls", mean, None, Mark(2, False, "calls"), under),
        Row("median", f"{what}: median", "calls", median, None, Mark(1, False, "calls"), under),
    ]


def _figures(seen: dict[str, list[list[int]]]) -> list[Figure]:
    measures: tuple[tuple[str, Callable[[list[int]], float]], ...] = (
        ("mean", statistics.fmean),
        ("median", statistics.median),
        ("the most for one change", max),
    )
    return [
        Figure(f"{name}: {what}", "calls", _series(name, counts, of))
        for name, counts in seen.items()
        for what, of in measures
        if (name, what) not in ((OURS, "mean"), (OURS, "median"))
    ]
