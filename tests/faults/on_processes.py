"""Faults that strike the product's own processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress

from mlm_client.sandbox.editing import touch

from .account import NO_ANSWER
from .house import RECEIVER, WORKERS, NotWithin, Standing, until
from .scene import BEFORE_S, Fault, Line, Scene, current, reckon, set_up, under_load
from .watching import now

#: Longer than a worker's beat may be old (6 s) before its leases are void.
FROZEN_S = 12.0
#: A batch that the receiver is killed over gathers so long: some 50 entries.
GATHERED_S = 2.5
POISONED_S = 60.0
POISON = "conditions"
#: A slice of another file in the hands of a worker that is killed waits until its lease is void and the next sweep: 6
#: to 8 s. It is taken up at the same moment as the poison, so the next worker may be killed over it too, once.
BESIDE_THE_POISON_S = 25.0

_LEASES = """
SELECT count(*) FROM file_concerns c JOIN workers w ON w.id = c.lease_worker
WHERE w.pid = %(pid)s AND c.lease_token IS NOT NULL AND c.lease_until > mlm_now()
"""

_IN_TRANSACTION = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlm-freshness receiver' AND backend_xid IS NOT NULL
"""

_LANDED_BY_OTHERS = """
SELECT count(*) FROM slice_runs r JOIN workers w ON w.id = r.worker
WHERE w.pid <> %(pid)s AND r.id > %(since)s AND r.outcome = 'landed'
"""

_NEWEST_RUN = "SELECT coalesce(max(id), 0) FROM slice_runs"

_AT_WORK_ON = """
SELECT c.lease_worker
FROM file_concerns c JOIN file_freshness f ON f.id = c.file_id JOIN workers w ON w.id = c.lease_worker
WHERE f.ref = %(ref)s AND c.concern = %(concern)s AND c.lease_token IS NOT NULL
  AND w.beat_at > mlm_now() - interval '6 seconds'
"""

_COUNTED = """
SELECT c.attempts FROM file_concerns c JOIN file_freshness f ON f.id = c.file_id
WHERE f.ref = %(ref)s AND c.concern = %(concern)s
"""


def nothing(scene: Scene) -> float:
    """Strike nothing: how far the copy is behind under this load, for comparison."""
    return now()


def worker_killed(scene: Scene) -> float:
    """Kill a worker that holds leases."""
    pid = _stopped_amid_slices(scene.house, "worker-1")
    scene.note(f"{scene.house.number(_LEASES, pid=pid)} leases left behind")
    return scene.house.kill("worker-1")


def receiver_killed(scene: Scene) -> float:
    """Kill the receiver in the transaction of a batch of some fifty entries."""
    with scene.sender.held():
        time.sleep(GATHERED_S)
    with suppress(NotWithin):
        until(lambda: scene.house.number(_IN_TRANSACTION), "the batch is being written", 1, 0.001)
    unanswered = scene.account.answers[NO_ANSWER]
    since = scene.house.kill(RECEIVER)
    scene.must(scene.account.answers[NO_ANSWER] > unanswered, "no batch was under way when the receiver was killed")
    return since


def scheduler_killed(scene: Scene) -> float:
    """Kill one scheduler while the other is frozen, so that nobody sweeps."""
    scene.until_current.enter_context(scene.house.frozen("scheduler-2"))
    return scene.house.kill("scheduler-1")


def worker_frozen(scene: Scene) -> float:
    """Freeze a worker that holds leases until they are void and taken by the other, and let it go on."""
    house = scene.house
    pid = _stopped_amid_slices(house, "worker-1")
    scene.note(f"{house.number(_LEASES, pid=pid)} leases held")
    before = house.number(_NEWEST_RUN)
    time.sleep(FROZEN_S)
    others = house.number(_LANDED_BY_OTHERS, pid=pid, since=before)
    scene.must(others, "the other worker landed nothing meanwhile")
    scene.note(f"{others} slices landed by the other in {FROZEN_S:g} s")
    os.kill(pid, signal.SIGCONT)
    return now()


def worker_poisoned(house: Standing, fault: Fault) -> Line:
    """Whichever worker begins one slice is killed, again and again: all other files go on."""
    with ExitStack() as stack:
        victim = house.refs[0]
        scene = set_up(house, stack, spared=[victim])
        scene.load.start()
        time.sleep(BEFORE_S)
        poison = stack.enter_context(Poison(house, victim))
        touch(house.mlm.store, house.mlm.maker, victim, POISON)
        began = now()
        slowest: float | None = 0.0
        while slowest is not None and now() - began < POISONED_S:
            time.sleep(2)
            seconds = current(scene, now(), without=[victim])
            slowest = None if seconds is None else max(slowest, seconds)
        counted = house.number(_COUNTED, ref=victim, concern=POISON)
        scene.noted = [f"{poison.kills} kills in {now() - began:.0f} s, {counted} counted in the ledger"]
        scene.must(counted >= poison.kills - 1, f"the ledger counted {counted} of {poison.kills} kills")
        poison.end()
        reckon(scene)
    figure = "never" if slowest is None else f"{slowest:.1f} s"
    within = slowest is not None and slowest <= BESIDE_THE_POISON_S
    return scene.line(fault, figure, f"{BESIDE_THE_POISON_S:g} s", within, slowest)


class Poison:
    """Kills whichever worker is at work on one slice, while the block runs."""

    def __init__(self, house: Standing, ref: str) -> None:
        self._house = house
        self._ref = ref
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kills = 0

    def __enter__(self) -> Poison:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.002):
            for row in self._house.rows(_AT_WORK_ON, ref=self._ref, concern=POISON):
                name = self._house.name_of(row.lease_worker)
                if name in WORKERS:
                    self._house.kill(name)
                    self.kills += 1
                    break


def _stopped_amid_slices(house: Standing, name: str) -> int:
    """Stop a worker (SIGSTOP) at a moment when it holds leases; its process id."""
    pid = house.pid(name)

    def stopped() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if house.number(_LEASES, pid=pid):
            return True
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
        return False

    until(stopped, f"{name} holds leases")
    return pid


FAULTS = (
    under_load("nothing", "nothing, for comparison", None, nothing),
    under_load("nothing-even", "nothing; every edit in another file than the last", None, nothing, even=True),
    under_load("worker-killed", "a worker killed (SIGKILL) amid its slices", 10, worker_killed),
    under_load("receiver-killed", "the receiver killed in the transaction of a batch", 10, receiver_killed),
    under_load("scheduler-killed", "a scheduler killed, the other frozen", 10, scheduler_killed),
    under_load("worker-frozen", f"a worker frozen for {FROZEN_S:g} s, and resumed", 10, worker_frozen),
    Fault("worker-poisoned", "for a minute, every worker that begins one slice is killed", worker_poisoned),
)
