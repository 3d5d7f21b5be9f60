"""Faults that strike Redis: killed, away, stalled, flushed, restarted empty."""

from __future__ import annotations

import shutil
import signal
import time
from functools import partial

from jobs.bell import depth
from jobs.broker import Queue

from .house import Standing, until
from .scene import Scene, under_load
from .watching import now

BLINK_S, AWAY_S, STALL_S = 0.7, 20.0, 7.0
#: An answer after which a slice tries again, that says nothing about MLM: so the circuit stays closed.
BUSY = {"fault_share": 0.4, "fault_forms": ("result_error",), "fault_text": "Loan is currently locked by another user."}


def killed(back_after_s: float, scene: Scene) -> float:
    """Kill Redis while retries are pending, and start it again so much later."""
    _with_retries_pending(scene)
    _kill(scene.house)
    time.sleep(back_after_s)
    scene.house.valkey.start()
    return now()


def stalled(scene: Scene) -> float:
    """Stop Redis as a machine would that swaps or snapshots, and let it go on."""
    process = scene.house.valkey.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(STALL_S)
    finally:
        process.send_signal(signal.SIGCONT)
    return now()


def flushed(scene: Scene) -> float:
    """Empty Redis while slices wait in it."""
    with scene.house.mlm.dials.turned(latency_ms=3000.0):  # more files change than are read so
        client = scene.house.redis
        until(lambda: depth(client, Queue.LOAN_SYNC_ASSOC) > 5, "slices wait", 15, 0.005)
        scene.note(f"{depth(client, Queue.LOAN_SYNC_ASSOC)} slices waited")
        client.flushall()
        return now()


def emptied(scene: Scene) -> float:
    """Kill Redis and start it again without what it had written."""
    _with_retries_pending(scene)
    _kill(scene.house)
    shutil.rmtree(scene.house.valkey.directory / "appendonlydir")
    time.sleep(BLINK_S)
    scene.house.valkey.start()
    scene.must(scene.house.redis.dbsize() < 50, "it did not come back empty")
    return now()


def _kill(house: Standing) -> None:
    process = house.valkey.process
    assert process is not None
    process.kill()
    process.wait()


def _with_retries_pending(scene: Scene) -> None:
    """Return at a moment when messages for later stand in Redis."""
    with scene.house.mlm.dials.turned(**BUSY):
        until(lambda: scene.house.retries_pending() >= 3, "retries are pending", 20, 0.005)
        scene.note(f"{scene.house.retries_pending()} retries pending")


FAULTS = (
    under_load(
        "redis-killed", f"Redis killed and back after {BLINK_S:g} s, retries pending", 15, partial(killed, BLINK_S)
    ),
    under_load("redis-away", f"Redis away for {AWAY_S:g} s, retries pending", 15, partial(killed, AWAY_S)),
    under_load("redis-stalled", f"Redis stalled for {STALL_S:g} s", 15, stalled),
    under_load("redis-flushed", "`FLUSHALL` while slices wait", 15, flushed),
    under_load("redis-emptied", "Redis killed and back empty, retries pending", 15, emptied),
)
