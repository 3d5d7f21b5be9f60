"""Faults of a house on two hosts: one is cut off and returns; both are upgraded, one process after the other.

An upgrade begins with the code of an older commit, as it stood in git, on the tables that it knew.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from migrations.upgrade import downgrade, upgrade

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

STEPS = "migrations/versions"


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
    """Upgrade both hosts in rolling order under load: the tables to what the new code needs, then of each host the
    receiver, the worker and the scheduler, one by one. `old`: the commit whose code runs at first; None: this one's.
    """
    assert isinstance(house, TwoHosts)
    with ExitStack() as stack:
        if old:
            _go_back(house, stack.enter_context(_checked_out(old)))
        scene = set_up(house, stack)
        scene.load.start()
        time.sleep(BEFORE_S)
        began = now()
        time.sleep(steady_s)
        upgrading = now()
        upgrade(house.postgresql.url)
        scene.note(f"from {_named(old)}; migrated within {now() - upgrading:.1f} s")
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
    scene.note(f"all upgraded within {since - upgrading:.0f} s")
    scene.must(seconds is not None, "a file was never current")
    figure, within = slowed(scene.account.delivered, began, upgrading, since)
    return scene.line(fault, figure, f"{TIMES:g} ×", within, seconds)


def _go_back(house: TwoHosts, code: Path) -> None:
    """Run the processes with the code in this directory, on the tables as its newest step leaves them."""
    house.stop()
    downgrade(house.postgresql.url, max(each.name for each in (code / STEPS).glob("[0-9]*.py")).partition("_")[0])
    house.run(PYTHONPATH=str(code))


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def slowed(delivered: Sequence[tuple[float, float]], began: float, upgrading: float, since: float) -> tuple[str, bool]:
    """The 99th percentile of how long deliveries took while an upgrade ran, beside that before it, in words; and
    whether it is within its limit. `delivered`: when each was first sent, and how many seconds it took."""
    before, during = (_p99_ms(delivered, *span) for span in ((began, upgrading), (upgrading, since)))
    figure = f"p99 {during:.0f} ms, {during / before:.1f} × the {before:.0f} ms before"
    return figure, during <= TIMES * before


def _p99_ms(delivered: Sequence[tuple[float, float]], since: float, before: float) -> float:
    return 1000 * quantiles([took for at, took in delivered if since <= at < before], n=100)[98]


def upgraded_from() -> str | None:
    """The newest release that this clone has a tag of, else the commit before the newest migration came; None where
    git cannot tell: no clone, or one that does not reach back so far."""
    tags = _told("tag", "--list", "v*", "--sort=-version:refname").split()
    if tags:
        return tags[0]
    came = _told("log", "-1", "--diff-filter=A", "--format=%H", "--", STEPS).strip()
    return _told("rev-parse", "--verify", "--quiet", "--short", f"{came}^").strip() or None if came else None


def faults(old: str | None) -> tuple[Fault, ...]:
    """`old`: the commit that is upgraded from; None: this very code, since no other is to be had."""
    cut_off = partial(host_cut_off, CUT_OFF_S)
    rolling = partial(upgraded, old, STEADY_S)
    return (
        Fault("host-cut-off", f"one of two hosts cut off for {CUT_OFF_S:g} s, and returned", cut_off, two_hosts),
        Fault(
            "rolling-upgrade", f"two hosts upgraded from {_named(old)}, old and new side by side", rolling, two_hosts
        ),
    )


def _named(old: str | None) -> str:
    return f"`{old}`" if old else "the same code (no other is to be had)"


def _is_at_work(house: TwoHosts, host: Host, since: int) -> bool:
    """Whether this host's receiver answers, and its worker has landed a slice after that run."""
    landed = house.number(_LANDED_SINCE, pid=house.pids(host)["worker"], since=since)
    return landed > 0 and house.balancer.answers(host.name)


@contextmanager
def _checked_out(commit: str) -> Iterator[Path]:
    with TemporaryDirectory() as directory:
        subprocess.run(["tar", "-x", "-C", directory], input=_git("archive", commit), check=True)
        yield Path(directory)


def _told(*words: str) -> str:
    """What git says; nothing if it cannot."""
    with suppress(OSError, subprocess.CalledProcessError):
        return _git(*words).decode()
    return ""


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout
