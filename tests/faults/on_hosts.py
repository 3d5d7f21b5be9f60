"""Faults of a house on two hosts: one is cut off and returns; both are upgraded, one process after the other."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from .hosts import KINDS, TwoHosts, two_hosts
from .house import RECEIVER, ROOT, Standing, until
from .network import Host
from .scene import BEFORE_S, Fault, Line, current, reckon, set_up
from .watching import now

#: Longer than both ends of a connection wait for one who does not answer, and than leases stand (6 s).
CUT_OFF_S = 30.0
#: 20 s (`jobs.house.GONE_WITHIN_20_S`), counted from the last word, and the while that the kernel takes to look.
GIVEN_UP_S = 26.0
CURRENT_S = 15.0
#: A delivery on its way to the host is given up by its sender after 10 s, and its slices' leases are void after 6 s.
ALONE_S = 25.0
#: The host's worker waits up to 30 s for an answer of Redis' that is lost, ends, and is started again.
AT_WORK_S = 60.0

#: Deliveries are timed so long before an upgrade, for comparison.
STEADY_S = 30.0
TIMES = 2.0

_LANDED_SINCE = """
SELECT count(*) FROM slice_runs r JOIN workers w ON w.id = r.worker
WHERE w.pid = %(pid)s AND r.id > %(since)s AND r.outcome = 'landed'
"""

_CONNECTED_FROM = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %(address)s::inet"

_NEWEST_RUN = "SELECT coalesce(max(id), 0) FROM slice_runs"


def host_cut_off(for_s: float, house: Standing, fault: Fault) -> Line:
    """Pull one host's cable for a while, under load; the other goes on alone, and afterwards both are at work."""
    assert isinstance(house, TwoHosts)
    host, other = house.net.hosts
    with ExitStack() as stack:
        scene = set_up(house, stack)
        scene.load.start()
        time.sleep(BEFORE_S)
        began = now()
        with host.cut_off():
            alone = current(scene, began)
            scene.must(alone is not None, "the other host alone did not bring every file up to date")
            time.sleep(max(0.0, began + for_s - now()))
            held = house.number(_CONNECTED_FROM, address=host.address)
            scene.must(not held or for_s < GIVEN_UP_S, f"PostgreSQL keeps {held} sessions of the host that is gone")
            scene.must(not house.balancer.answers(host.name), "the host was reached while it was cut off")
        since, newest = now(), house.number(_NEWEST_RUN)
        seconds = current(scene, since)
        at_work = until(lambda: _is_at_work(house, host, newest), f"{host.name} is at work", AT_WORK_S)
        scene.must(_is_at_work(house, other, newest), "the other host is at work no more")
        scene.note(f"the host at work again after {at_work - since:.0f} s")
        reckon(scene)
    within = seconds is not None and seconds <= CURRENT_S and alone is not None and alone <= ALONE_S
    figure = f"{_said(seconds)}; {_said(alone)} alone"
    return scene.line(fault, figure, f"{CURRENT_S:g} s; {ALONE_S:g} s alone", within, seconds)


def upgraded(old: str | None, steady_s: float, house: Standing, fault: Fault) -> Line:
    """Upgrade both hosts in rolling order under load: of each the receiver, the worker and the scheduler, one by one.

    The database is the new code's from the start, as after `freshness migrate`.
    """
    assert isinstance(house, TwoHosts)
    with ExitStack() as stack:
        house.run(PYTHONPATH=str(stack.enter_context(_checked_out(old)) if old else ROOT))
        scene = set_up(house, stack)
        scene.load.start()
        time.sleep(BEFORE_S)
        began = now()
        time.sleep(steady_s)
        upgrading = now()
        for host in house.net.hosts:
            with house.balancer.without(host.name):
                house.restart(host, RECEIVER)
            for kind in KINDS[1:]:
                house.restart(host, kind)
        since, newest = now(), house.number(_NEWEST_RUN)
        seconds = current(scene, since)
        for host in house.net.hosts:
            until(lambda at=host: _is_at_work(house, at, newest), f"{host.name} is at work", AT_WORK_S)
        reckon(scene)
    before, during = (p99_ms(scene.account.delivered, *span) for span in ((began, upgrading), (upgrading, since)))
    scene.note(f"from {old or 'the same code'}, within {since - upgrading:.0f} s")
    scene.must(seconds is not None, "a file was never current")
    figure = f"p99 {during:.0f} ms, {during / before:.1f} × the {before:.0f} ms before"
    return scene.line(fault, figure, f"{TIMES:g} ×", during <= TIMES * before, seconds)


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def p99_ms(delivered: Sequence[tuple[float, float]], since: float, before: float) -> float:
    """The 99th percentile of how long deliveries took that were first sent within this time."""
    return 1000 * quantiles([took for at, took in delivered if since <= at < before], n=100)[98]


def newest_release() -> str | None:
    """The newest release that this clone has a tag of; None if there is none."""
    tags = _git("tag", "--list", "v*", "--sort=-version:refname").decode().split()
    return tags[0] if tags else None


def faults(old: str | None) -> tuple[Fault, ...]:
    """`old`: the commit that is upgraded from; None: this very code."""
    cut_off = partial(host_cut_off, CUT_OFF_S)
    rolling = partial(upgraded, old, STEADY_S)
    return (
        Fault("host-cut-off", f"one of two hosts cut off for {CUT_OFF_S:g} s, and returned", cut_off, two_hosts),
        Fault("rolling-upgrade", "two hosts upgraded, old and new side by side", rolling, two_hosts),
    )


def _is_at_work(house: TwoHosts, host: Host, since: int) -> bool:
    """Whether this host's receiver answers, and its worker has landed a slice after that run."""
    landed = house.number(_LANDED_SINCE, pid=house.pids(host)["worker"], since=since)
    return landed > 0 and house.balancer.answers(host.name)


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    with TemporaryDirectory() as directory, tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as files:
        files.extractall(directory, filter="data")
        yield Path(directory)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout
