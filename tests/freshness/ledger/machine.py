"""The ledger driven whole: one file in a tiny MLM, its local copy in real rows, and every step the protocol names.

`World` has the verbs, each one transaction of the real ledger at a simulated instant. `Machine` lets Hypothesis choose
among them; what must hold (docs/protocol.md, the end) is checked after each, and at rest.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated import ASSETS, BORROWERS, CONDITIONS, LOAN_FIELDS, Ledger, empty
from sqlalchemy import Connection, Engine

from freshness import stamp
from freshness.bell import Ring
from freshness.concerns import Concern
from freshness.errors import LeaseLost
from freshness.ledger import (
    batches,
    captures,
    commits,
    confirmations,
    failures,
    files,
    leases,
    own_writes,
    status,
    sweeps,
    workers,
)  # fmt: skip
from freshness.ledger.batches import Entry
from freshness.ledger.captures import Capture
from freshness.ledger.commits import Landed, Reading
from freshness.ledger.confirmations import Asking
from freshness.ledger.files import FileRef, Owner
from freshness.ledger.leases import Lease, NotNow
from freshness.rules import Rules

RULES = Rules(resolution_s=1.0, active=(LOAN_FIELDS, BORROWERS, ASSETS, CONDITIONS))
REF, LOAN = "R1", FileRef("loan", "R1")

#: What one concern shows: loan fields are a rate and an LTV that MLM computes from it, the others one value.
Content = dict[Concern, tuple[int, ...]]

_COPY = """
SELECT l.note_rate::int, l.ltv::int, b.marital_status_code, a.value::int, c.category::int
FROM loans l LEFT JOIN borrowers b ON b.loan_id = l.id LEFT JOIN assets a ON a.loan_id = l.id
LEFT JOIN conditions c ON c.loan_id = l.id WHERE l.mlm_reference_number = 'R1'
"""

_LAND = {
    LOAN_FIELDS: """
        INSERT INTO loans AS l (mlm_reference_number, note_rate, ltv) VALUES ('R1', %(x)s, %(y)s)
        ON CONFLICT (mlm_reference_number) DO UPDATE SET note_rate = excluded.note_rate, ltv = excluded.ltv
        WHERE (l.note_rate, l.ltv) IS DISTINCT FROM (excluded.note_rate, excluded.ltv)""",
    BORROWERS: """
        INSERT INTO borrowers AS b (loan_id, lqb_id, position, role, marital_status_code)
        VALUES (%(loan)s, 'b1', 0, 'borrower', %(x)s)
        ON CONFLICT (loan_id, lqb_id) DO UPDATE SET marital_status_code = excluded.marital_status_code
        WHERE b.marital_status_code IS DISTINCT FROM excluded.marital_status_code""",
    ASSETS: """
        INSERT INTO assets AS a (loan_id, lqb_id, borrower_id, value)
        SELECT %(loan)s, 'a1', id, %(x)s FROM borrowers WHERE loan_id = %(loan)s
        ON CONFLICT (loan_id, lqb_id) DO UPDATE SET value = excluded.value
        WHERE a.value IS DISTINCT FROM excluded.value""",
    CONDITIONS: """
        INSERT INTO conditions AS c (loan_id, lqb_id, category) VALUES (%(loan)s, 'c1', (%(x)s::int)::text)
        ON CONFLICT (loan_id, lqb_id) DO UPDATE SET category = excluded.category
        WHERE c.category IS DISTINCT FROM excluded.category""",
}

_PORTAL = {
    LOAN_FIELDS: "UPDATE loans SET note_rate = %(x)s",
    BORROWERS: "UPDATE borrowers SET marital_status_code = %(x)s",
    ASSETS: "UPDATE assets SET value = %(x)s",
    CONDITIONS: "UPDATE conditions SET category = (%(x)s::int)::text",
}

_NUMBERS = """
SELECT epoch, mark, captured, wanted, ordered, served, (
    SELECT jsonb_object_agg(concern, jsonb_build_array(held, served)) FROM file_concerns c WHERE c.file_id = f.id
) AS concerns FROM file_freshness f
"""

_RECEIPTS = "SELECT order_number, served_at FROM mlm_webhook_receipts WHERE order_number IS NOT NULL"


@dataclass(frozen=True)
class Version:
    """What MLM showed from a save on, the second it stamped it with, and when that was."""

    stamp: dt.datetime
    content: Content
    saved_at: dt.datetime


@dataclass
class Slice:
    """A slice at work: its lease, and what MLM answered, once it has."""

    lease: Lease
    version: Version | None = None
    asked_at: dt.datetime | None = None
    answered_at: dt.datetime | None = None


@dataclass
class Write:
    """A write of the portal: registered (an id) or of the short form, saved in MLM or not yet."""

    concern: Concern
    value: int
    id: int | None = None
    saved_at: dt.datetime | None = None
    failed: bool = False


@dataclass
class World:
    """One file, in MLM and here. Every verb is a step that a process of ours, or MLM, could make at any time."""

    engine: Engine
    rules: Rules = RULES
    versions: list[Version] = field(default_factory=list)
    hooks: list[dt.datetime] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    captures: list[tuple[Capture, Version]] = field(default_factory=list)
    confirmations: list[tuple[Asking, Version]] = field(default_factory=list)
    lost: bool = False
    numbers: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        empty(self.engine)
        self.ledger = Ledger(self.engine, self.rules)
        self.lot = Random(1)
        self.values = itertools.count(1)
        self.ids = itertools.count(1)
        self._stamp({concern: (0, 0) if concern is LOAN_FIELDS else (0,) for concern in self.rules.active})

    # MLM

    def _stamp(self, content: Content) -> None:
        now = self.ledger.now
        self.versions.append(Version(now.replace(microsecond=0), content, now))

    def save(self, concern: Concern, value: int) -> None:
        """Somebody saves a value in MLM: it stamps, recomputes what depends on it, and owes us a webhook."""
        shown = (value, value * 10) if concern is LOAN_FIELDS else (value,)
        self._stamp({**self.versions[-1].content, concern: shown})
        self.hooks.append(self.versions[-1].stamp)

    def shown(self, behind: bool) -> Version:
        """What MLM answers; `behind`: from a replica that has not seen the newest stamp, if that is a minute young."""
        newest = self.versions[-1]
        older = [version for version in self.versions if version.stamp < newest.stamp]
        young = all(
            self.ledger.now - version.saved_at < dt.timedelta(minutes=1)
            for version in self.versions
            if version.stamp == newest.stamp
        )
        return older[-1] if behind and older and young else newest

    # time

    def begin(self, how: str) -> None:
        """The file comes into being: `settled` is an import that has come to rest, and then nothing for a while."""
        with self.ledger.begin() as conn:
            if how == "seeded":
                own_writes.seed_mark(conn, self.rules, LOAN, self.versions[0].stamp.isoformat())
            elif how == "inserted":
                conn.exec_driver_sql("INSERT INTO loans (mlm_reference_number) VALUES ('R1')")
            else:
                files.import_file(conn, REF)
        self.tick(1.1)
        if how == "settled":
            self.run_out()
            self.tick(900)
        self.check()

    def tick(self, seconds: float) -> None:
        """Time passes; at least a microsecond does with every step."""
        self.ledger.later(seconds)

    # webhooks

    def deliver(self, which: int, times: int) -> None:
        """A webhook arrives, once or twice in one batch."""
        text = self.hooks.pop(which % len(self.hooks)).isoformat()
        with self.ledger.begin() as conn:
            batches.receive(conn, self.rules, [Entry(REF, None, "Modified", text)] * times)

    def lose(self, which: int) -> None:
        """A webhook never comes."""
        self.hooks.pop(which % len(self.hooks))
        self.lost = True

    # slices

    def take(self, concern: Concern) -> bool:
        """A worker that beats this once takes the slice, if it may start."""
        worker, token = f"w{next(self.ids)}", uuid.UUID(int=next(self.ids))
        with self.ledger.begin() as conn:
            workers.beat(conn, worker, "here", 1)
            taken = leases.take(conn, self.rules, self._file_id(conn), concern, worker, token)
        if isinstance(taken, NotNow):
            return False
        self.slices += [Slice(lease) for lease in taken]
        return True

    def read(self, which: int, behind: bool) -> None:
        """A slice reads MLM, no sooner than its lease allows."""
        slice_ = [s for s in self.slices if s.version is None][which % self.reading()]
        if slice_.lease.read_not_before is not None:
            self.ledger.now = max(self.ledger.now, slice_.lease.read_not_before)
        slice_.asked_at, slice_.version = self.ledger.now, self.shown(behind)
        self.tick(0.001)
        slice_.answered_at = self.ledger.now

    def reading(self) -> int:
        """How many slices have not read yet."""
        return sum(s.version is None for s in self.slices)

    def land(self, which: int) -> None:
        """A slice that has read lands its rows and commits, or finds that it has lost."""
        ready = [s for s in self.slices if s.version is not None]
        slice_ = ready[which % len(ready)]
        self.slices.remove(slice_)
        assert slice_.version is not None
        assert slice_.asked_at is not None
        assert slice_.answered_at is not None
        reading = Reading(slice_.version.stamp.isoformat(), slice_.asked_at, slice_.answered_at)
        with suppress(LeaseLost), self.ledger.begin() as conn:
            if not commits.is_worth_landing(self.rules, slice_.lease, reading):
                failures.thrown_away(conn, self.rules, slice_.lease, reading)
                return
            conn.exec_driver_sql("SET LOCAL mlm.hydrating = 'on'")
            landed = self._land(conn, slice_.lease, slice_.version.content)
            commits.commit_read(conn, self.rules, slice_.lease, reading, landed)

    def _land(self, conn: Connection, lease: Lease, content: Content) -> Landed:
        shown = content[lease.concern]
        owner = files.owner_of(lease.file)
        parameters = {"x": shown[0], "y": shown[-1], "loan": owner.id if owner else None}
        rows = conn.exec_driver_sql(_LAND[lease.concern], parameters).rowcount
        if owner is None:
            owner = Owner("loan", conn.exec_driver_sql("SELECT id FROM loans").scalar_one())
        return Landed(owner, {"rows": rows})

    def fail(self, which: int) -> None:
        """A slice meets an error."""
        slice_ = self.slices.pop(which % len(self.slices))
        with self.ledger.begin() as conn:
            failures.failed(conn, self.rules, slice_.lease, "Timeout", final=False, lot=self.lot)

    def startable(self) -> list[Concern]:
        """The slices that may start now."""
        with self.ledger.begin() as conn:
            return [ring.concern for ring in sweeps.stale_and_due(conn, self.rules, 9) if ring.concern is not None]

    def run_slices(self, behind: bool) -> None:
        """Every slice that may start runs alone from end to end, and then what hangs on it."""
        done: set[Concern] = set()
        while left := [concern for concern in self.startable() if concern not in done]:
            done.add(left[0])
            if self.take(left[0]):
                self.read(self.reading() - 1, behind)
                self.land(len(self.slices) - self.reading() - 1)
            self.tick(0.000001)

    # own writes

    def register(self, concern: Concern, capture: bool) -> None:
        """The portal is about to write."""
        with self.ledger.begin() as conn:
            own_write_id = own_writes.register(conn, self.rules, LOAN, capture)
        self.writes.append(Write(concern, next(self.values), own_write_id))

    def write_to_mlm(self, which: int, fate: str) -> None:
        """The portal's save: `well`, `failed` (MLM did not take it) or `timeout` (it did, and nobody heard)."""
        write = [w for w in self.writes if w.saved_at is None][which % self.unsaved()]
        write.saved_at, write.failed = self.ledger.now, fate != "well"
        if fate != "failed":
            self.save(write.concern, write.value)

    def unsaved(self) -> int:
        """How many own writes have not called MLM yet."""
        return sum(w.saved_at is None for w in self.writes)

    def short_write(self, concern: Concern) -> None:
        """The portal writes without registering; `capture_mark` follows with its local half."""
        self.writes.append(Write(concern, next(self.values), None, self.ledger.now))
        self.save(concern, self.writes[-1].value)

    def leave(self, which: int) -> None:
        """The portal's local half commits with its exit; a write that failed exits badly, alone."""
        saved = [w for w in self.writes if w.saved_at is not None]
        write = saved[which % len(saved)]
        self.writes.remove(write)
        with self.ledger.begin() as conn:
            if not write.failed:
                conn.exec_driver_sql(_PORTAL[write.concern], {"x": write.value})
            if write.id is not None:
                own_writes.exit_own_write(conn, self.rules, LOAN, write.id, not write.failed)
            else:
                own_writes.capture_mark(conn, self.rules, LOAN, write.saved_at)

    def capturable(self) -> list[int]:
        """The own writes whose captures are due and not under way."""
        under_way = {capture.own_write_id for capture, _ in self.captures}
        with self.ledger.begin() as conn:
            due = [ring.own_write_id for ring in sweeps.uncaptured(conn, 100)]
        return [own_write for own_write in due if own_write is not None and own_write not in under_way]

    def begin_capture(self, behind: bool) -> bool:
        """The next capture that is due reads the stamp."""
        for own_write in self.capturable()[:1]:
            with self.ledger.begin() as conn:
                capture = captures.begin(conn, own_write)
            assert capture is not None
            self.captures.append((capture, self.shown(behind)))
            return True
        return False

    def finish_capture(self, which: int) -> None:
        """What a capture read is taken in."""
        capture, version = self.captures.pop(which % len(self.captures))
        with suppress(LeaseLost), self.ledger.begin() as conn:
            captures.finish(conn, self.rules, capture, version.stamp.isoformat())

    # confirmations and sweeps

    def begin_confirmation(self, behind: bool) -> None:
        """The stamp alone is read; the poll list may ask for this at any time."""
        with self.ledger.begin() as conn:
            asking = confirmations.begin(conn, self._file_id(conn))
        assert asking is not None
        self.confirmations.append((asking, self.shown(behind)))

    def finish_confirmation(self, which: int) -> None:
        """What a confirmation read is weighed."""
        asking, version = self.confirmations.pop(which % len(self.confirmations))
        with suppress(LeaseLost), self.ledger.begin() as conn:
            confirmations.finish(conn, self.rules, asking, version.stamp.isoformat())

    def sweep(self) -> list[Ring]:
        """Registrations without end are ended; what is due is rung for."""
        with self.ledger.begin() as conn:
            own_writes.end_abandoned(conn)
        with self.ledger.begin() as conn:
            return [*confirmations.due(conn, self.rules), *sweeps.stale_and_due(conn, self.rules, 100)]

    # what must hold

    def copy(self) -> Content | None:
        """The local copy, as MLM would show it; None before there is a loan."""
        rows = self.ledger.rows(_COPY)
        if not rows:
            return None
        rate, ltv, status, value, category = rows[0].values()
        return {LOAN_FIELDS: (rate, ltv), BORROWERS: (status,), ASSETS: (value,), CONDITIONS: (category,)}

    def check(self) -> None:
        """Numbers never go back; a copy that differs is not called fresh; receipts are served when all have served."""
        with self.ledger.begin() as conn:
            numbers = dict(conn.exec_driver_sql(_NUMBERS).mappings().one())
            receipts = conn.exec_driver_sql(_RECEIPTS).all()
            told = not self.hooks and not self.lost
            fresh = told and status.freshness_of(conn, self.rules, REF).state == "fresh"
        before, self.numbers = self.numbers, numbers
        if before is not None:
            _check_no_number_went_back(before, numbers)
        served = [row[1] for row in (numbers["concerns"] or {}).values()]
        least = min(served) if len(served) == len(self.rules.active) else 0
        assert numbers["served"] == least, "the file's `served` is the least of its concerns'"
        for receipt in receipts:
            all_served = least >= receipt.order_number
            assert (receipt.served_at is not None) == all_served, "served_at: when, and only when, all have served"
        if fresh:
            assert self.copy() == self.versions[-1].content, "a copy that differs calls itself fresh"

    def run_out(self) -> None:
        """Let everything that is under way end, and everything that is due happen, until the file rests."""
        while self.hooks:
            self.tick(0.01)
            self.deliver(0, 1)
        while self.writes:
            if self.unsaved():
                self.write_to_mlm(0, "failed")
            self.tick(0.01)
            self.leave(0)
        for _ in range(120):
            self.tick(2.5)
            self._work_off()
            self.check()
            if self._rests():
                return
            self.tick(30)
        raise AssertionError(f"no rest: {self.ledger.status(REF)}")

    def _rests(self) -> bool:
        found = self.ledger.status(REF)
        return found.state == "fresh" or (found.confirm_at is None and found.state == "unconfirmed")

    def _work_off(self) -> None:
        while self.reading():
            self.read(0, behind=False)
        while self.slices:
            self.tick(0.01)
            self.land(0)
        while self.captures or self.begin_capture(behind=False):
            self.finish_capture(0)
        for ring in self.sweep():
            self.tick(0.01)
            if ring.concern is None:
                self.begin_confirmation(behind=False)
            else:
                self.take(ring.concern)
        while self.confirmations:
            self.finish_confirmation(0)

    def check_at_rest(self) -> None:
        """At rest the copy equals MLM's; a webhook that never came is healed by the file's next confirmation."""
        self.run_out()
        if self.lost:
            self.begin_confirmation(behind=False)
            self.finish_confirmation(0)
            self.lost = False
            self.run_out()
        assert self.copy() == self.versions[-1].content, "at rest the local copy equals MLM's"
        assert self.ledger.state(REF) == "fresh"

    def _file_id(self, conn: Connection) -> int:
        return int(conn.exec_driver_sql("SELECT id FROM file_freshness").scalar_one())


def _check_no_number_went_back(before: dict[str, Any], now: dict[str, Any]) -> None:
    assert now["epoch"] >= before["epoch"]
    same = now["epoch"] == before["epoch"]
    for name in ("ordered", "served", *(("mark", "captured", "wanted") if same else ())):
        assert before[name] is None or now[name] >= before[name], f"{name} went back"
    for concern, (held, served) in (before["concerns"] or {}).items():
        held_now, served_now = now["concerns"][concern]
        assert served_now >= served, f"served of {concern} went back"
        later = held is None or (held_now is not None and stamp_of(held_now) >= stamp_of(held))
        assert later or not same, f"held of {concern} went back"


def stamp_of(text: str) -> dt.datetime:
    """An instant as jsonb says it."""
    return dt.datetime.fromisoformat(text).astimezone(stamp.UTC)


WHICH = st.integers(0, 3)
BEHIND = st.sampled_from([False, False, False, True])
EDITED = st.sampled_from([BORROWERS, BORROWERS, CONDITIONS, LOAN_FIELDS])
WAYS_IN = ("settled", "settled", "settled", "settled", "import", "seeded", "inserted")


class Machine(RuleBasedStateMachine):
    """Hypothesis chooses the next step: single ones that may be interleaved, and whole runs of them. Subclasses say
    which engine."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.engine)

    @initialize(how=st.sampled_from(WAYS_IN))
    def a_file(self, how: str) -> None:
        """The file comes into being: fresh and quiet, by an import, by a seed, or by the portal's insert."""
        self.world.begin(how)

    @rule(seconds=st.sampled_from([0.2, 0.5, 1.1, 1.1, 3, 7, 40, 290, 700]))
    def time_passes(self, seconds: float) -> None:
        """Nothing happens for a while."""
        self.world.tick(seconds)

    @rule(concern=EDITED)
    def outsider_saves(self, concern: Concern) -> None:
        """Somebody edits the file in MLM."""
        self.world.save(concern, next(self.world.values))

    @precondition(lambda self: self.world.hooks)
    @rule(which=WHICH, times=st.sampled_from([1, 1, 2]))
    def webhook(self, which: int, times: int) -> None:
        """A webhook arrives, in any order."""
        self.world.deliver(which, times)

    @precondition(lambda self: self.world.hooks)
    @rule()
    def webhooks_arrive(self) -> None:
        """Every webhook that is under way arrives."""
        while self.world.hooks:
            self.world.deliver(0, 1)

    @precondition(lambda self: self.world.hooks and not self.world.lost)
    @rule(which=WHICH, really=st.sampled_from([False, False, False, True]))
    def webhook_lost(self, which: int, really: bool) -> None:
        """A webhook never arrives."""
        if really:
            self.world.lose(which)

    @precondition(lambda self: self.world.startable())
    @rule(which=WHICH)
    def slice_taken(self, which: int) -> None:
        """A worker takes a slice that may start."""
        startable = self.world.startable()
        self.world.take(startable[which % len(startable)])

    @precondition(lambda self: self.world.reading())
    @rule(which=WHICH, behind=BEHIND)
    def slice_reads(self, which: int, behind: bool) -> None:
        """A slice reads MLM."""
        self.world.read(which, behind)

    @precondition(lambda self: self.world.reading() < len(self.world.slices))
    @rule(which=WHICH)
    def slice_lands(self, which: int) -> None:
        """A slice commits."""
        self.world.land(which)

    @precondition(lambda self: self.world.slices)
    @rule()
    def slices_end(self) -> None:
        """Every slice at work reads, if it has not, and commits."""
        while self.world.slices:
            if self.world.reading():
                self.world.read(0, behind=False)
            self.world.land(0)

    @precondition(lambda self: self.world.startable())
    @rule(behind=BEHIND)
    def everything_is_read(self, behind: bool) -> None:
        """Every slice that may start runs from end to end, and what hangs on it."""
        self.world.run_slices(behind)

    @precondition(lambda self: self.world.slices)
    @rule(which=WHICH)
    def slice_fails(self, which: int) -> None:
        """A slice meets an error."""
        self.world.fail(which)

    @precondition(lambda self: len(self.world.writes) < 2 and self.world.copy() is not None)
    @rule(concern=EDITED, capture=st.sampled_from([True, True, False]), saved=st.booleans())
    def portal_registers(self, concern: Concern, capture: bool, saved: bool) -> None:
        """The portal begins an own write, and has perhaps saved in MLM; one with dependents is not captured."""
        self.world.register(concern, capture and concern is not LOAN_FIELDS)
        if saved:
            self.world.tick(0.000001)
            self.world.write_to_mlm(self.world.unsaved() - 1, "well")

    @precondition(lambda self: self.world.unsaved())
    @rule(which=WHICH, fate=st.sampled_from(["well", "well", "well", "failed", "timeout"]))
    def portal_saves(self, which: int, fate: str) -> None:
        """The portal's own write reaches MLM, or does not."""
        self.world.write_to_mlm(which, fate)

    @precondition(lambda self: len(self.world.writes) < 2 and self.world.copy() is not None)
    @rule(concern=st.sampled_from([BORROWERS, CONDITIONS]))
    def portal_writes_short(self, concern: Concern) -> None:
        """The portal writes without registering."""
        self.world.short_write(concern)

    @precondition(lambda self: self.world.unsaved() < len(self.world.writes))
    @rule(which=WHICH)
    def portal_leaves(self, which: int) -> None:
        """The portal's local half commits, with its exit."""
        self.world.leave(which)

    @precondition(lambda self: self.world.capturable())
    @rule(behind=BEHIND, at_once=st.booleans())
    def capture_reads(self, behind: bool, at_once: bool) -> None:
        """A capture that is due reads the stamp."""
        if self.world.begin_capture(behind) and at_once:
            self.world.tick(0.000001)
            self.world.finish_capture(len(self.world.captures) - 1)

    @precondition(lambda self: self.world.captures)
    @rule(which=WHICH)
    def capture_ends(self, which: int) -> None:
        """A capture is taken in."""
        self.world.finish_capture(which)

    @rule(really=st.sampled_from([False, False, True]), behind=BEHIND)
    def confirmation_reads(self, really: bool, behind: bool) -> None:
        """A confirmation reads the stamp."""
        if really:
            self.world.begin_confirmation(behind)

    @precondition(lambda self: self.world.confirmations)
    @rule(which=WHICH)
    def confirmation_ends(self, which: int) -> None:
        """A confirmation is taken in."""
        self.world.finish_confirmation(which)

    @invariant()
    def what_must_hold(self) -> None:
        """After every step, which takes a microsecond at least."""
        if self.world.numbers is not None:
            self.world.check()
            self.world.tick(0.000001)

    def teardown(self) -> None:
        """At the end everything runs out, and the copy equals MLM's."""
        if self.world.numbers is not None:
            self.world.check_at_rest()
