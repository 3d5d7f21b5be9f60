"""One history: what MLM, the network, the machines and the portal do, step by step, by a seed; then rest, and truth."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from random import Random

from freshness.bell import Ring, Work
from freshness.ledger.files import import_file
from freshness.rules import Rules
from mlm_client.sandbox import editing
from mlm_client.sandbox.deliveries import entry
from mlm_client.sandbox.files import Change, UnknownFile, Version
from mlm_client.sandbox.knobs import Knobs
from mlm_client.sandbox.server import Sandbox
from mlm_client.sandbox.stamps import TICKS_A_SECOND

from .holding import Holding, Violation
from .house import WEBHOOK, WEBHOOK_TOKEN, House, Worker
from .mlm import Wire
from .plan import AUTUMN, Plan, plan_of
from .portal import Portal
from .postgres import Clock, Postgres
from .scheduler import Actor, Scheduler, Stuck
from .steps import STEPS

#: So many times the sweep comes by before a history that does not rest counts as endless.
MOST_SWEEPS = 150
#: Actors at once; more only wait for each other.
MOST_ACTORS = 6


@dataclass
class Hook:
    """An entry that MLM owes us: it counts as delivered once it was answered 2xx."""

    ref: str
    entry: dict[str, object]
    times: int = 1


@dataclass
class Told:
    """What became of a history: what broke, if anything, and its figures. `trace` is the same for the same seed."""

    seed: int
    broken: str | None
    steps: Counter[str]
    statements: int
    trace: list[str]

    @property
    def digest(self) -> str:
        """The trace in one word."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()[:16]


@dataclass
class History:
    """The state of one history. `run` plays it whole; tests may call the verbs one by one."""

    postgres: Postgres
    redis_url: str
    seed: int
    plan: Plan | None = None
    trace: list[str] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.lot = Random(self.seed)
        self.plan = plan = self.plan or plan_of(self.lot)
        self.clock = self.postgres.clock = Clock(plan.begin)
        self.postgres.scheduler = None
        self.postgres.empty()
        self.scheduler = Scheduler(self.lot, self.postgres.is_blocked)
        self.scheduler.switching = 0.0
        self.hooks: list[Hook] = []
        self.lost: set[str] = set()
        #: Files that MLM has put back to a save that shares its stamp with another: no stamp tells, the audit does.
        self.untold: set[str] = set()
        #: Files whose newest save is told of without a stamp.
        self.mute: set[str] = set()
        self.stamps: dict[str, list[tuple[Version, int]]] = {}
        self.saved_at: dict[str, float] = {}
        self.answered: Counter[str] = Counter()
        self._make_mlm(plan)
        rules = Rules(
            resolution_s=plan.resolution_s,
            quiet_s=30.0,
            read_lag_s=120.0,
            call_timeout_s=30.0,
            active=plan.concerns,
            shared_reads=plan.shared_reads,
        )
        self.postgres.scheduler = self.scheduler
        self.house = House(self.postgres, self.scheduler, self.wire, rules, self.redis_url, self.lot)
        self.portal = Portal(self.house, self.sandbox, self.lot)
        self.holding = Holding(self)
        self.refs = self.sandbox.store.refs()
        #: Saves that may still come.
        self.left = plan.saves
        self.commits = 0

    def _make_mlm(self, plan: Plan) -> None:
        knobs = Knobs(
            stamp_resolution_s=plan.mlm_resolution_s,
            stamp_fraction_digits=7,
            fault_forms=plan.fault_forms,
            recompute_lag_ms=1000.0 if plan.recompute_lag else 0.0,
        )
        self.sandbox = Sandbox(0, self.seed, knobs, now_s=self.clock)
        for number in range(plan.files + plan.leads):
            self.sandbox.store.add(self.sandbox.maker.file(number >= plan.files), announce=False)
        self.sandbox.store.listeners.append(self._hear)
        self.clock.now += 3600
        self.wire = Wire(self.scheduler.point, lambda seconds: self.scheduler.wait(self.clock.now + seconds))
        self.wire.sandbox = self.sandbox
        self.wire.may_be_behind = self._may_be_behind

    # from outside

    def _hear(self, change: Change) -> None:
        ref = change.version.content.ref
        self.saved_at[ref] = self.clock.now
        self.stamps.setdefault(ref, []).append((change.version, self._tick(change.version)))
        self.mute = self.mute - {ref} | ({ref} if self.sandbox.dials.now.stamp_form == "blank" else set())
        self.note(f"MLM has {ref} as {change.version.number}, {change.event}")
        self.hooks.append(Hook(ref, entry(change, self.sandbox.dials.now)))

    def _may_be_behind(self, ref: str) -> bool:
        """A replica is behind by less than half of what a read may lag, and shows another stamp than the newest: an
        older save under the newest stamp, or under none, is beyond what stamps can tell (the audit, which compares
        rows, finds it)."""
        assert self.plan is not None
        if self.plan.begin == AUTUMN or self.sandbox.dials.now.stamp_form == "blank" or ref in self.mute:
            return False
        if not self.plan.behind_share or self.lot.random() >= self.plan.behind_share:
            return False
        store = self.sandbox.store
        young = self.clock.now - self.saved_at.get(ref, -1e9) < self.house.rules.read_lag_s / 2
        return young and self._tick(store.behind(ref)) != self._tick(store.newest(ref))

    def note_if_untold(self, ref: str) -> None:
        """MLM has put a file back: note it if the save that it is at now shares its stamp with another."""
        now = self.sandbox.store.newest(ref)
        if any(version is not now and tick == self._tick(now) for version, tick in self.stamps.get(ref, [])):
            self.untold.add(ref)

    def _tick(self, version: Version) -> int:
        """The stamp as we compare it."""
        assert self.plan is not None
        return version.stamp // round(self.plan.resolution_s * TICKS_A_SECOND)

    # the whole

    def run(self) -> Told:
        """Play the history from its seed to its rest."""
        statements = self.postgres.statements
        broken = None
        try:
            self.import_all()
            self.middle()
            self.end()
        except (Violation, Stuck) as violation:
            broken = f"{type(violation).__name__}: {violation}"
        finally:
            self.abandon()
        return Told(self.seed, broken, self.steps, self.postgres.statements - statements, self.trace)

    def import_all(self) -> None:
        """The files are imported, each in turn, and come to rest."""
        for ref in self.refs:
            with self.postgres.engine.begin() as conn:
                rings = import_file(conn, ref).rings
            self.house.bells(rings)
        self.rest()
        self.later(900)

    def middle(self) -> None:
        """Things happen, and everybody works, in whatever order the lot says, for as many turns as the plan has."""
        assert self.plan is not None
        self.scheduler.switching = self.plan.switching
        for _ in range(self.plan.turns):
            ready = self._ready()
            full = len(self.scheduler.actors) >= MOST_ACTORS
            if ready and (full or self.lot.random() >= self.plan.haste):
                self.go_on(self.lot.choice(ready))
            elif not full:
                self.step(self._next_step(self.plan.weights))
            else:
                self.later(self._until_somebody_wakes())

    def _next_step(self, weights: dict[str, float]) -> str:
        """Something that can happen now."""
        able = {
            "an outsider saves": self.left > 0,
            "an own write": self.left > 0,
            "a file goes or comes": self.left > 0,
            "deliver": bool(self.hooks),
            "lose a webhook": bool(self.hooks),
            "double a webhook": bool(self.hooks),
            "work": bool(self.house.bells.waiting) and any(not w.frozen for w in self.house.workers.values()),
        }
        names = [name for name in weights if able.get(name, True)]
        return self.lot.choices(names, [weights[name] for name in names])[0]

    def end(self) -> None:
        """All trouble ends, everything runs out, the backstops come round, and the copy is MLM's."""
        self.scheduler.switching = 0.0
        self.mend()
        self.rest()
        for _ in range(2):  # what was restored is found by one confirmation, and read when a read is late
            self._come_round(Work.CHECK)
        self.holding.healed()
        self._come_round(Work.AUDIT)  # what no stamp told
        self.holding.at_rest()

    def _come_round(self, work: Work) -> None:
        """A backstop looks at every file, and what it finds is read."""
        for ref in self.refs:
            self.ring(work, ref)
        self.rest()
        self.later(self.house.rules.read_lag_s + 5)
        self.rest()

    def mend(self) -> None:
        """Whatever was broken works again."""
        assert self.plan is not None
        self.sandbox.dials.patch(fault_share=0.0, outage="", stamp_form="iso")
        self.wire.may_be_behind = lambda ref: False
        self.house.bells.away = False
        for worker in self.house.workers.values():
            worker.frozen = False
        self.house.beat()

    def rest(self) -> None:
        """Let everybody work, and time pass, until nothing is due any more."""
        for _ in range(MOST_SWEEPS):
            self._work_off()
            self.sandbox.store.run_pending(all_now=True)
            while self.hooks:
                self.deliver(self.hooks[0:1])
                self._work_off()
            self.start("sweep", "scheduler", self.house.sweep.ring_what_is_due)
            self._work_off()
            if not self.hooks and self.holding.rests():
                return
            self.later(self.lot.choice([2.5, 2.5, 31.0]))
        raise self.holding.no_rest()

    def _work_off(self) -> None:
        while self.scheduler.actors or self.house.bells.waiting:
            while len(self.scheduler.actors) < 2 and self.house.bells.waiting:
                self.work(0)
            ready = self._ready()
            if ready:
                self.go_on(ready[0])
            else:
                self.later(self._until_somebody_wakes())

    # steps

    def step(self, name: str) -> None:
        """One thing happens."""
        self.steps[name] += 1
        self.note(f"- {name}")
        STEPS[name](self)
        self.later(self.lot.choice([0.0, 0.0, 0.0005, 0.003, 0.05]))

    def go_on(self, actor: Actor) -> None:
        """An actor goes on to its next point."""
        self.note(f"{actor.name} from {actor.at}")
        self.scheduler.run(actor)
        self._has_ended(actor)
        if self.postgres.commits != self.commits:
            self.commits = self.postgres.commits
            self.holding.numbers()
        if not actor.is_alive:
            self.holding.truth()

    def _has_ended(self, actor: Actor) -> None:
        if actor.error is not None:
            raise Violation(f"{actor.name} at {actor.at}", f"{type(actor.error).__name__}: {actor.error}")

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now = round(self.clock.now + seconds, 6)
        if seconds >= 1:
            self.house.beat()

    def start(self, name: str, process: str, work: Callable[[], object]) -> Actor:
        """An actor begins; it goes on when its turn comes."""
        return self.scheduler.start(name, process, work)

    def work(self, which: int) -> None:
        """A worker begins what was rung for."""
        able = [worker for worker in self.house.workers.values() if not worker.frozen]
        worker: Worker = self.lot.choice(able)
        ring = self.house.bells.waiting.pop(which)
        what = ring.concern or ring.work
        self.start(f"{what} {ring.file_id}", worker.id, lambda: self.house.work(worker, ring))

    def deliver(self, hooks: list[Hook]) -> None:
        """MLM delivers some entries in one batch; what is not answered 2xx it will deliver again."""
        self.hooks = [hook for hook in self.hooks if hook not in hooks]
        self.note(f"delivers {[(hook.ref, hook.times) for hook in hooks]}")
        body = [hook.entry for hook in hooks for _ in range(hook.times)]
        self.holding.under_way.update(hook.ref for hook in hooks)

        def post() -> None:
            answered = False
            try:
                status, _ = self.house.post(WEBHOOK, body, WEBHOOK_TOKEN)
                answered = 200 <= status < 300
            finally:
                self.holding.under_way.subtract(hook.ref for hook in hooks)
                if answered:
                    self.answered.update(hook.ref for hook in hooks for _ in range(hook.times))
                else:
                    self.hooks += [replace(hook, times=1) for hook in hooks]

        self.start("webhook", "receiver", post)

    def ring(self, work: Work, ref: str) -> None:
        """Ring for some work on a file, if we have it."""
        found = self.postgres.rows("SELECT id FROM file_freshness WHERE ref = %s", ref)
        if found:
            self.house.bells([Ring(work, found[0][0])])

    def outsider(self, save: Callable[[str], object]) -> None:
        """Somebody saves something in a file of MLM's, whichever is there."""
        with suppress(UnknownFile, editing.BadEdit):
            save(self.lot.choice(self.refs))

    def note(self, line: str) -> None:
        """A line of the trace."""
        self.trace.append(f"{self.clock.now:.6f} {line}")

    def abandon(self) -> None:
        """End every actor, wherever it stands."""
        for process in {actor.process for actor in self.scheduler.actors}:
            with suppress(Stuck):
                self.scheduler.kill(process)
        self.postgres.scheduler = None

    def _ready(self) -> list[Actor]:
        frozen = {worker.id for worker in self.house.workers.values() if worker.frozen}
        return [actor for actor in self.scheduler.ready(self.clock.now) if actor.process not in frozen]

    def _until_somebody_wakes(self) -> float:
        """How long until an actor that waits for a moment may go on; a worker that is frozen thaws if it is the only
        one left."""
        waiting = [actor.not_before for actor in self.scheduler.actors if actor.state == "ready"]
        later = [moment for moment in waiting if moment > self.clock.now]
        if later:
            return max(1e-6, min(later) - self.clock.now)
        for worker in self.house.workers.values():
            worker.frozen = False
        if not self._ready():
            raise Stuck([f"{actor.name} at {actor.at} ({actor.state})" for actor in self.scheduler.actors])
        return 1.0
