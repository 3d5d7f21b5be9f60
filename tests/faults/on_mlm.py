"""Faults of MLM's: some of its answers never come, break off or are cut short; or it is away altogether."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import pairwise

from jobs.circuit import circuit_state
from mlm_client.sandbox.calls import Call

from .house import Standing, until
from .scene import BEFORE_S, Fault, Line, Scene, reckon, set_up, under_load
from .watching import now

STRUCK_S, STRUCK_SHARE = 8.0, 0.4

#: So slow that it is the rate, not this machine, by which the backlog drains.
DRAINING_RATE = 10
#: Of the rate: what drains slower, or faster, has not kept to it.
AT_LEAST, AT_MOST = 0.9, 1.05

_GIVEN_UP = "SELECT count(*) FROM slice_runs WHERE outcome = 'given up' AND id > %(since)s"
_ATTEMPTS = "SELECT coalesce(max(attempts), 0) FROM file_concerns"
_STALE_FILES = "SELECT count(*) FROM file_freshness WHERE served < ordered"
_STALE_SLICES = """
SELECT count(*) FROM file_concerns c JOIN file_freshness f ON f.id = c.file_id WHERE c.served < f.ordered
"""


def struck(form: str, scene: Scene) -> float:
    """Let a share of the calls end in this form for some seconds."""
    with scene.house.mlm.dials.turned(fault_forms=(form,), fault_share=STRUCK_SHARE):
        time.sleep(STRUCK_S)
    since = now()
    scene.note(f"{scene.house.mlm.calls.by_outcome[form]} calls struck")
    scene.must(scene.house.mlm.calls.by_outcome[form], "no call was struck")
    return since


def away(away_s: float, house: Standing, fault: Fault) -> Line:
    """MLM answers everything with its maintenance page for minutes, and comes back."""
    with ExitStack() as stack:
        stack.callback(house.run)
        house.run(MLM_RATE=str(DRAINING_RATE))
        scene = set_up(house, stack)
        scene.load.start()
        time.sleep(BEFORE_S)
        with house.mlm.dials.turned(outage="html503"):
            house.mlm.calls.clear()
            until(lambda: circuit_state(house.redis).state != "closed", "the circuit opens")
            opened = circuit_state(house.redis).since
            assert opened is not None
            time.sleep(away_s)
            _look_at_probes(scene, opened)
        scene.load.stop()
        seconds, rate = _drain(scene)
        given_up = house.number(_GIVEN_UP, since=scene.first_run)
        scene.must(not given_up, f"{given_up} slices were given up")
        scene.note(f"none tried more than {house.number(_ATTEMPTS)} times")
        reckon(scene)
    within = AT_LEAST * DRAINING_RATE <= rate <= AT_MOST * DRAINING_RATE
    limit = f"{AT_LEAST:.0%} to {AT_MOST:.0%} of {DRAINING_RATE} calls/s"
    return scene.line(fault, f"{seconds:.1f} s, at {rate:.1f} calls/s", limit, within, seconds)


def _look_at_probes(scene: Scene, opened: datetime) -> None:
    """At most one call a window, from half a second after the circuit opened: what was under way has ended by then."""
    calls: list[Call] = scene.house.mlm.calls.newest()
    probes = [call.at for call in calls if call.at > opened.timestamp() + 0.5]
    windows = [min(2.0**number, 30.0) for number in range(len(probes) + 1)]
    gaps = [probes[0] - opened.timestamp(), *(later - sooner for sooner, later in pairwise(probes))] if probes else []
    early = [
        f"{gap:.1f} s in a window of {window:g} s" for gap, window in zip(gaps, windows, strict=False) if gap < window
    ]
    scene.must(probes, "nothing probed")
    scene.must(not early, f"more than one call in a window: {early[:3]}")
    scene.note(f"{len(calls) - len(probes)} calls until the circuit was open, {len(probes)} probes")


def _drain(scene: Scene) -> tuple[float, float]:
    """Seconds from MLM's return until nothing is stale, and the calls a second from the circuit's closing on."""
    house, returned = scene.house, now()
    until(lambda: circuit_state(house.redis).state == "closed", "the circuit closes", 60, 0.01)
    closed, before = now(), house.mlm.calls.total
    scene.note(f"closed after {closed - returned:.1f} s; {house.number(_STALE_SLICES)} slices behind")
    done = until(lambda: not house.number(_STALE_FILES), "nothing is stale", 300, 0.1)
    burst = 2 * max(1, DRAINING_RATE // 20)  # what the pace lets begin at once after a pause
    return done - returned, (house.mlm.calls.total - before - burst) / (done - closed)


def faults(away_s: float) -> tuple[Fault, ...]:
    """MLM's faults; it is away for `away_s`."""
    return (
        under_load("mlm-hangs", _share("never answered"), 15, partial(struck, "hang")),
        under_load("mlm-resets", _share("reset"), 15, partial(struck, "reset")),
        under_load("mlm-half", _share("answered by half"), 15, partial(struck, "half")),
        Fault("mlm-away", f"MLM away for {away_s:g} s, `MLM_RATE={DRAINING_RATE}`", partial(away, away_s)),
    )


def _share(how: str) -> str:
    return f"{STRUCK_SHARE:.0%} of calls to MLM {how}, for {STRUCK_S:g} s"
