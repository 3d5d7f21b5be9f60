"""Memory: what a receiver and a worker hold resident after much work, against after the first of it.

The receiver is sent a million entries in batches of 500, over four connections. A worker with eight threads, on a core
of its own, lands slices with shared reads, everything changed and nothing changed in turn; a hundred thousand slices
do not fit in the time that `make bench` has, so it stops after a while, and the row says how far it came. `LONG=1` lets
it go all the way. One run, whatever `ROUNDS` says: what counts is the growth within it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path

from receiver.webhook import PATH

from . import files, ground, slices
from .ground import Ground
from .one_core import one_core
from .parties import HEADERS, Ours
from .scale import LONG, scaled
from .seen import Seen
from .table import Figure, Mark, Measured, Row, Series
from .upstream import OTHER, SAME

NAME = "memory"

FILES, BATCH, CONNECTIONS = 20_000, 500, 4
FIRST, ENTRIES, SLICES = 10_000, scaled(1_000_000, 20_000), scaled(100_000, 20_000)
#: Files of one burst of slices, and how long the worker works if it is not let go all the way.
AT_ONCE, WORK_S = 200, 60.0
REST_S = 1.0


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """The receiver, then the worker."""
    seen = Seen()
    with ground.ground() as here:
        say(f"receiver: {_receiver(here, seen, say)}")
    with ground.ground() as here:
        say(f"worker: {_worker(here, seen)}")
        return Measured(_rows(seen), ground.versions(here.servers), _figures(seen))


def _receiver(here: Ground, seen: Seen, say: Callable[[str], None]) -> str:
    ours = Ours(here, FILES)
    with ours.receiver() as port:
        bodies = _bodies()
        _post(port, bodies, FIRST // BATCH)
        first = max(resident_mb(pid) for pid in ours.pids)
        say(f"receiver: {first:.1f} MB after {FIRST:,} entries")
        began = time.monotonic()
        _post(port, bodies, (ENTRIES - FIRST) // BATCH)
        took_s = time.monotonic() - began
        last = max(resident_mb(pid) for pid in ours.pids)
    ours.check(ENTRIES, ENTRIES)
    return seen.add(receiver_first=first, receiver_last=last, entries_a_s=(ENTRIES - FIRST) / took_s)


def _bodies() -> Iterator[bytes]:
    changes = files.changes(FILES)
    while True:
        yield f"[{','.join(files.text(*change) for change in islice(changes, BATCH))}]".encode()


def _post(port: int, bodies: Iterator[bytes], count: int) -> None:
    """Send so many batches, each connection its next when the last is answered; then a moment of rest.

    Raises:
        RuntimeError: one was not answered 200.
    """
    mine, refused, lock = iter(range(count)), list[int](), threading.Lock()

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                body = next(bodies) if next(mine, None) is not None else None
            if body is None:
                return connection.close()
            connection.request("POST", PATH, body, {**HEADERS, "content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                refused.append(answer.status)
                return connection.close()

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise RuntimeError(f"batches were answered {refused}")
    time.sleep(REST_S)


def _worker(here: Ground, seen: Seen) -> str:
    with one_core(here) as cores, ExitStack() as stack:
        ours = slices.Ours(here, cores, stack, "worker", 0, AT_ONCE, shared=True)
        with ours.worker() as pid:
            began, landed, first = time.monotonic(), 0, 0.0
            for how in cycle((OTHER, SAME)):
                landed += ours.drain(how, AT_ONCE)[1]
                if not first and landed >= FIRST:
                    first = resident_mb(pid)
                if landed >= SLICES or (first and not LONG and time.monotonic() - began > WORK_S):
                    break
            time.sleep(REST_S)
            last = resident_mb(pid)
            took_s = time.monotonic() - began
    return seen.add(worker_first=first, worker_last=last, slices=landed, slices_a_s=landed / took_s)


def resident_mb(pid: int) -> float:
    """What a process and its children hold in memory, in MB."""
    there = Path(f"/proc/{pid}")
    (line,) = (line for line in (there / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    children = {child for each in (there / "task").iterdir() for child in (each / "children").read_text().split()}
    return int(line.split()[1]) / 1024 + sum(resident_mb(int(child)) for child in children)


def _rows(seen: Seen) -> list[Row]:
    landed = seen.values["slices"][0]
    whole = "" if landed >= SLICES else f" ({SLICES:,} do not fit in the time of this run: LONG=1 goes all the way)"
    first = f"after the first {FIRST:,}"
    return [
        Row(
            "receiver", f"resident memory of the receiver after {ENTRIES:,} entries", "MB",
            seen.series("receiver_last"), seen.series("receiver_first", first), Mark(1.1, False),
            f"batches of {BATCH} over {CONNECTIONS} connections, half of the entries dispatched",
        ),
        Row(
            "worker", f"resident memory of a worker after {landed:,.0f} slices{whole}", "MB",
            seen.series("worker_last"), seen.series("worker_first", first), Mark(1.1, False),
            f"8 threads, shared reads, {AT_ONCE} files rung for at once, everything and nothing changed in turn",
        ),
    ]  # fmt: skip


def _figures(seen: Seen) -> list[Figure]:
    landed = seen.values["slices"][0]
    grown_kb = (seen.values["worker_last"][0] - seen.values["worker_first"][0]) * 1024
    grown = Series("ours", (grown_kb / max(1.0, landed - FIRST) * 1_000,))
    return [
        Figure("entries accepted meanwhile", "entries/s", seen.series("entries_a_s")),
        Figure("slices landed meanwhile", "slices/s", seen.series("slices_a_s")),
        Figure("growth of the worker for a thousand slices", "kB", grown),
    ]
