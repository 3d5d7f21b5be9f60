"""Is every file current yet, does any claim to be, is anything missing.

**Current**, the figure of most faults. The load goes on for some seconds, so that "equal to MLM" is not true of all
files at one instant. What is measured instead is each file's catching up with the fault's end: a file is current once
every one of its nine concerns holds a stamp at least that of the newest outsider's save up to the fault's end
(announced before or during the fault, answered or not). The figure is the time from the fault's end to the last file's
being current. The stamps are the ledger's own claim, so each file that had to catch up is then compared value by value:
every concern must show what MLM had at the fault's end or at a later save. (Two things are left out of that, as the
load goes on: borrowers of a file with an own write since, which show its local half beside what was read before it; and
links to rows of another concern, which may be read at another save.)

**Lies.** During the whole fault files are picked at random, several a second: one that calls itself fresh in the same
snapshot of the database in which its newest change's receipt stands must be equal to MLM value by value.

**At rest.** The load is stopped, and everything let run out: every file must become fresh and be equal to MLM.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from random import Random

import sqlalchemy as sa

from console.demo.comparing import differences
from freshness.concerns import ALL, Concern
from freshness.ledger.status import freshness_of
from freshness.stamp import truncate
from mlm_client.sandbox.api import file_json
from mlm_client.sandbox.files import Change, Version
from mlm_client.sandbox.stamps import webhook_stamp_text

from .house import RESOLUTION_S, NotWithin, Standing, until
from .load import Portal

LOOK_EVERY_S = 0.1
SAMPLE_EVERY_S = 0.25
REST_WITHIN_S = 120.0

#: Columns that point to rows of another concern.
LINKS = frozenset({"borrower_id", "employment_id"})

_HELD = """
SELECT f.ref, min(c.held) AS held, count(c.held) AS concerns
FROM file_freshness f JOIN file_concerns c ON c.file_id = f.id WHERE f.ref = ANY(%(refs)s) GROUP BY f.ref
"""

_RESTLESS = """
SELECT (SELECT count(*) FROM file_freshness WHERE served < ordered OR confirm_at IS NOT NULL)
     + (SELECT count(*) FROM own_writes WHERE exited_at IS NOT NULL AND capture_wanted AND captured_at IS NULL)
"""

#: Files with an own write that has not exited. The portal exits all that it knows: these were registered, and the
#: answer was lost. They are ended after five minutes; until then such a file may say that it is unconfirmed.
_WITHOUT_EXIT = """
SELECT f.ref FROM own_writes w JOIN file_freshness f ON f.id = w.file_id WHERE w.exited_at IS NULL
"""

_HAS_RECEIPT = """
SELECT EXISTS (SELECT FROM mlm_webhook_receipts WHERE reference_number = %(ref)s AND last_modified_text = %(stamp)s)
"""


def instant(version: Version) -> dt.datetime:
    """A version's stamp as the ledger compares it."""
    at = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=version.stamp // 10)
    return truncate(at, RESOLUTION_S)


class History:
    """Every version that MLM has had of each file since we began to listen: the store itself keeps eight."""

    def __init__(self, house: Standing, portal: Portal) -> None:
        self._house = house
        self._portal = portal
        self._versions: dict[str, list[Version]] = defaultdict(list)
        house.mlm.store.listeners.append(self._hear)

    def of_outsiders(self) -> dict[str, Version]:
        """The newest version of each file that an outsider saved, as things stand now."""
        with self._house.mlm.store.lock:
            found = {}
            for ref, versions in self._versions.items():
                for version in reversed(versions):
                    if not self._portal.is_ours(version):
                        found[ref] = version
                        break
            return found

    def since(self, version: Version) -> list[Version]:
        """This version of a file, and all later ones."""
        with self._house.mlm.store.lock:
            return [each for each in self._versions[version.content.ref] if each.number >= version.number]

    def is_ours(self, version: Version) -> bool:
        """Whether a version is an own write's."""
        return self._portal.is_ours(version)

    def close(self) -> None:
        """Listen no more."""
        self._house.mlm.store.listeners.remove(self._hear)

    def _hear(self, change: Change) -> None:
        self._versions[change.version.content.ref].append(change.version)


class Needs:
    """What every file must show to be current with the moment at which this was made."""

    def __init__(self, house: Standing, history: History, without: Iterable[str] = ()) -> None:
        """`without`: files that need not be current."""
        self._house = house
        self._history = history
        self._needed = {ref: version for ref, version in history.of_outsiders().items() if ref not in set(without)}
        self._left = dict(self._needed)
        #: Files that were not current when we looked first.
        self.behind: set[str] | None = None

    def seconds_from(self, since: float, within_s: float = 120.0) -> float:
        """Wait until every file is current; how long after `since` (by `time.monotonic`) the last one was.

        Raises:
            NotWithin: one never was.
        """
        at = until(self._all_current, "every file is current", within_s, LOOK_EVERY_S)
        return max(0.0, at - since)

    def left(self) -> list[str]:
        """Files that are not current yet."""
        return sorted(self._left)

    def untrue(self) -> list[str]:
        """Concerns that hold a stamp of then or later and do not show what MLM had then or later."""
        return [line for ref in sorted(self.behind or ()) for line in self._untrue(self._needed[ref])]

    def _all_current(self) -> bool:
        held = {row.ref: row for row in self._house.rows(_HELD, refs=list(self._left))}
        self._left = {
            ref: version
            for ref, version in self._left.items()
            if ref not in held or held[ref].concerns < len(ALL) or held[ref].held < instant(version)
        }
        if self.behind is None:
            self.behind = set(self._left)
        return not self._left

    def _untrue(self, needed: Version) -> list[str]:
        found = []
        versions = self._history.since(needed)
        for concern in ALL:
            if concern is Concern.BORROWERS and any(map(self._history.is_ours, versions)):
                continue
            with self._house.engine.begin() as conn:  # then MLM's versions: what is here is one of them
                conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                good = any(not self._differs(conn, each, concern) for each in reversed(self._history.since(needed)))
            if not good:
                found.append(f"{needed.content.ref}: {concern.value} shows nothing that MLM has had since")
        return found

    def _differs(self, conn: sa.Connection, version: Version, concern: Concern) -> bool:
        told = file_json(version, self._house.mlm.dials.now)
        found = differences(conn, self._house.house.keys, told, [concern])
        return any(each.column not in LINKS for each in found)


class Doubter:
    """Picks files at random while its block runs, and looks whether one that calls itself fresh is."""

    def __init__(self, house: Standing) -> None:
        self._house = house
        self._chance = Random(17)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.asked = 0
        self.fresh = 0
        self.lies: list[str] = []

    def __enter__(self) -> Doubter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            with suppress(sa.exc.DBAPIError):
                self._ask(self._chance.choice(self._house.refs))

    def _ask(self, ref: str) -> None:
        store = self._house.mlm.store
        version = store.newest(ref)
        stamp = webhook_stamp_text(version.stamp, self._house.mlm.dials.now)
        with self._house.engine.begin() as conn:
            conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            state = freshness_of(conn, self._house.house.rules, ref).state
            known = version.number == 1 or conn.exec_driver_sql(_HAS_RECEIPT, {"ref": ref, "stamp": stamp}).scalar()
            found = self._house.differs(conn, version) if state == "fresh" and known else []
        self.asked += 1
        self.fresh += state == "fresh"
        if found and store.newest(ref) is version:
            self.lies.append(f"{ref} called itself fresh: {found[0]}")


def rest(house: Standing) -> list[str]:
    """Wait until nothing is stale, to be confirmed or to be captured, and compare: what is wrong then.

    Raises:
        NotWithin: it never rested.
    """
    try:
        until(lambda: is_at_rest(house), "every file is fresh", REST_WITHIN_S, 0.1)
    except NotWithin:
        return [*wrong(house)[:10], f"it did not rest within {REST_WITHIN_S:g} s"]
    return wrong(house)


def is_at_rest(house: Standing) -> bool:
    """Whether nothing is stale, to be confirmed or to be captured."""
    return house.number(_RESTLESS) == 0


def wrong(house: Standing) -> list[str]:
    """Files that are not fresh, and files that are not equal to MLM, as things stand now. Unconfirmed will do where the
    answer to a registration was lost."""
    found = []
    without_exit = {row.ref for row in house.rows(_WITHOUT_EXIT)}
    for ref in house.refs:
        with house.engine.begin() as conn:
            state = freshness_of(conn, house.house.rules, ref).state
            unequal = house.differs(conn, house.mlm.store.newest(ref))
        good = ("fresh", "unconfirmed") if ref in without_exit else ("fresh",)
        if state not in good or unequal:
            found.append(f"{ref} is {state}" + (f" and differs: {unequal[0]}" if unequal else ""))
    return found


def now() -> float:
    """The clock that every figure is taken from."""
    return time.monotonic()
