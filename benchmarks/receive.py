"""Receiving: how many webhook entries are accepted and committed, and how soon one is answered.

Ours is the command `freshness receiver` as it is, its log in a file; receipts and orders are committed before the
answer, bells ring at a real Valkey, nobody works them off. Half of the entries bear a newer stamp of a known file and
are dispatched, the other half a stamp that is held. stripe-sync-engine is sent the same changes, one event a request:
half of them newer than its row, half not. dj-stripe is sent events that it only has to store.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

from receiver.webhook import PATH

from . import files, ground, wrk
from .ground import Ground, settle
from .load import Outcome, closed, paced, request
from .parties import HEADERS, Ours, Peer
from .peers import dj_stripe, stripe_sync
from .processes import ROOT, done, listens, running
from .stage import free_port, in_the_end
from .table import Figure, Mark, Measured, Row, Series

NAME = "receive"

FILES = 20_000
BATCH = 50
CONNECTIONS, OPEN_CONNECTIONS = 32, 128
WARM_S, SECONDS = 1, 3
#: More than any party answers.
MOST_BATCHES_A_S, MOST_EVENTS_A_S, MOST_STORED_A_S, MOST_NOTHING_A_S = 600, 10_000, 2_000, 150_000


@dataclass
class Rounds:
    """What the rounds have shown, a list for each party and measure."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """One round's figure."""
        self.values.setdefault(name, []).append(value)

    def add_times(self, name: str, outcome: Outcome) -> None:
        """One round's times."""
        for share in ("p50", "p99"):
            self.add(f"{name} {share}", outcome.ms[share])

    def series(self, name: str, label: str) -> Series:
        """All rounds' figures of one name."""
        return Series(label, tuple(self.values[name]))

    def latest(self, name: str) -> str:
        """The last round's figures whose names begin so."""
        found = {key: values[-1] for key, values in self.values.items() if key.startswith(name)}
        return ", ".join(f"{key.removeprefix(name).strip()} {value:,.4g}" for key, value in found.items())


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """Ours, the peers and the limit in turn, round by round; then, at half of our rate, ours and the peer's times."""
    say("peers: installing what is not here …")
    with ThreadPoolExecutor(2) as pool:
        for installed in [pool.submit(peer.install) for peer in (stripe_sync, dj_stripe)]:
            installed.result()
    seen = Rounds()
    with ground.ground() as here, ExitStack() as stack:
        ours = Ours(here, FILES)
        stack.enter_context(ours.receiver())
        stripe = Peer(here, stack, "stripe", stripe_sync.serving)
        django = Peer(here, stack, "dj-stripe", dj_stripe.serving)
        nothing = stack.enter_context(_nothing(here))
        seen.add("nothing /s", nothing(None).per_s)
        say(f"wrk against a server that does nothing: {seen.latest('nothing')}")
        turns: dict[str, Callable[[], None]] = {
            "ours": lambda: _ours(ours, seen),
            "stripe-sync-engine": lambda: _events(stripe, seen),
            "dj-stripe": lambda: _stored(django, seen),
            "set-wise": lambda: _limit(ours, seen),
        }
        for number in range(rounds):
            for name, measure in turns.items():
                measure()
                say(f"round {number + 1} of {rounds}: {name}: {seen.latest(name)}")
        rate = statistics.median(seen.values["ours one /s"]) / 2
        for number in range(rounds):
            _open(ours, stripe, rate, seen)
            seen.add_times("open nothing", nothing(rate))
            say(f"round {number + 1} of {rounds}: at {rate:.0f}/s: {seen.latest('open')}")
        return Measured(_rows(seen, rate), _versions(here), _figures(seen))


def _send(requests: Iterable[bytes], port: int, file: Path, rate: float | None = None) -> Outcome:
    """A closed loop, or at this rate."""
    if rate is None:
        return closed(requests, port, file, connections=CONNECTIONS, seconds=SECONDS, warm_s=WARM_S)
    return paced(requests, port, file, connections=OPEN_CONNECTIONS, seconds=SECONDS, warm_s=WARM_S, rate=rate)


def _enough(most_a_s: float) -> int:
    return int(most_a_s * (WARM_S + SECONDS))


def _take(ours: Ours, batch: int, count: int, rate: float | None = None) -> Outcome:
    """What our receivers make of this load, their receipts counted."""
    ours.make_fresh()
    outcome = _send(ours.requests(ours.port, batch, count), ours.port, ours.file, rate)
    ours.check(outcome.answered * batch, outcome.sent * batch)
    settle(ours.url)
    return outcome


def _sync(stripe: Peer, count: int, rate: float | None = None) -> Outcome:
    """What stripe-sync-engine makes of it, its rows counted.

    Raises:
        RuntimeError: too few have changed.
    """
    stripe.execute(stripe_sync.FRESH, held=files.HELD, customers=FILES)
    settle(stripe.url)
    requests = stripe_sync.requests(stripe.port, islice(files.changes(FILES), count))
    outcome = _send(requests, stripe.port, stripe.file, rate)
    changed = stripe.execute(stripe_sync.CHANGED, held=files.HELD)[0][0]
    if changed < 0.45 * min(FILES, outcome.answered):
        raise RuntimeError(f"half of {outcome.answered} events are newer, and {changed} rows have changed")
    settle(stripe.url)
    return outcome


def _ours(ours: Ours, seen: Rounds) -> None:
    for name, batch, most in (("batched", BATCH, MOST_BATCHES_A_S), ("one", 1, MOST_EVENTS_A_S)):
        outcome = _take(ours, batch, _enough(most))
        seen.add(f"ours {name} /s", outcome.per_s * batch)
        seen.add_times(f"ours {name}", outcome)


def _events(stripe: Peer, seen: Rounds) -> None:
    outcome = _sync(stripe, _enough(MOST_EVENTS_A_S))
    seen.add("stripe-sync-engine /s", outcome.per_s)
    seen.add_times("stripe-sync-engine", outcome)


def _stored(django: Peer, seen: Rounds) -> None:
    before = _stored_by(django)
    outcome = _send(dj_stripe.requests(django.port, _enough(MOST_STORED_A_S)), django.port, django.file)
    if not outcome.accounts_for(in_the_end(lambda: _stored_by(django) - before, outcome.sent)):
        raise RuntimeError("dj-stripe has not stored what it has answered")
    seen.add("dj-stripe /s", outcome.per_s)
    seen.add_times("dj-stripe", outcome)
    settle(django.url)


def _stored_by(django: Peer) -> int:
    return int(django.execute(dj_stripe.STORED)[0][0])


def _open(ours: Ours, stripe: Peer, rate: float, seen: Rounds) -> None:
    """Both at the same fixed rate."""
    count = _enough(rate) + int(rate)
    seen.add_times("open ours", _take(ours, 1, count, rate))
    seen.add_times("open stripe-sync-engine", _sync(stripe, count, rate))


def _limit(ours: Ours, seen: Rounds) -> None:
    """The ledger's statements alone, a process and a connection a core; they begin together."""
    ours.make_fresh()
    cores = os.cpu_count() or 1
    job = {
        "files": FILES, "batch": BATCH, "batches": _enough(MOST_BATCHES_A_S), "step": cores, "warm_s": WARM_S,
        "seconds": SECONDS,
    }  # fmt: skip
    with ExitStack() as stack:
        pipes = []
        for first in range(cores):
            argv = [sys.executable, "-m", "benchmarks.setwise", json.dumps({**job, "first": first})]
            process = stack.enter_context(
                subprocess.Popen(
                    argv, env=ours.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
                )
            )
            assert process.stdin is not None
            assert process.stdout is not None
            pipes.append((process.stdin, process.stdout))
        for _, said in pipes:
            said.readline()
        for told, _ in pipes:
            told.write("go\n")
            told.flush()
        counts = [json.loads(said.readline()) for _, said in pipes]
    total = sum(each["total"] for each in counts)
    ours.check(total, total)
    seen.add("set-wise /s", sum(each["inside"] for each in counts) / SECONDS)


@contextmanager
def _nothing(here: Ground) -> Iterator[Callable[[float | None], Outcome]]:
    """A server that does nothing, under such requests as ours is sent: what the load itself takes."""
    port = free_port()
    argv = [sys.executable, "-m", "benchmarks.generator", "--answer", str(port)]
    one = request(port, PATH, HEADERS, f"[{files.text(1, files.HELD)}]".encode())
    with running(argv, here.directory / "nothing.log", os.environ, listens(port)):
        yield lambda rate: _send(
            repeat(one, _enough(rate or MOST_NOTHING_A_S) + 1_000), port, here.directory / "nothing.requests", rate
        )


def _rows(seen: Rounds, rate: float) -> list[Row]:
    half = "resolution 1 s, half of the entries dispatched"
    batches, one = f"batches of {BATCH} over {CONNECTIONS} connections, {half}", f"{CONNECTIONS} connections, {half}"
    batched, ours = seen.series("ours batched /s", "ours"), seen.series("ours one /s", "ours")
    stripe = seen.series("stripe-sync-engine /s", "stripe-sync-engine")
    django, limit = seen.series("dj-stripe /s", "dj-stripe"), seen.series("set-wise /s", "set-wise SQL alone")
    ours_p99, stripe_p99 = (seen.series(f"open {name} p99", name) for name in ("ours", "stripe-sync-engine"))
    paced = f"open loop, {rate:,.0f} requests/s of one entry, {half}"
    entries, requests = "entries accepted and committed", "requests of one entry"
    return [
        Row(
            "batches-peer", entries, "entries/s", batched, stripe, Mark(8, True), f"{batches}; the peer: one a request"
        ),
        Row(
            "batches-limit", entries, "entries/s", batched, limit, Mark(0.6, True), f"{batches}; one connection a core"
        ),
        Row("requests-peer", requests, "requests/s", ours, stripe, Mark(1, True), one),
        Row("requests-django", requests, "requests/s", ours, django, Mark(15, True), one),
        Row("p99", "p99 at half of our rate", "ms", ours_p99, stripe_p99, Mark(1, False), paced),
    ]


def _figures(seen: Rounds) -> list[Figure]:
    nothing = seen.series("nothing /s", "nothing")
    figures = [Figure("a server that does nothing, closed loop", "requests/s", nothing)]
    for name, what in _TIMED.items():
        figures += [Figure(f"{what}: {share}", "ms", seen.series(f"{name} {share}", name)) for share in ("p50", "p99")]
    return figures


def _versions(here: Ground) -> list[str]:
    processes, connections = stripe_sync.PROCESSES, stripe_sync.CONNECTIONS
    return [
        *ground.versions(here.servers),
        f"stripe-sync-engine {stripe_sync.VERSION} behind Fastify ({processes} process, {connections} connections)",
        f"Node.js {done(['node', '--version']).strip()}",
        f"dj-stripe {dj_stripe.VERSION} behind gunicorn ({dj_stripe.PROCESSES} × {dj_stripe.THREADS} threads)",
        wrk.version(),
    ]


_TIMED = {
    "ours batched": f"ours, batches of {BATCH}, closed loop",
    "ours one": "ours, one entry a request, closed loop",
    "stripe-sync-engine": "stripe-sync-engine, closed loop",
    "dj-stripe": "dj-stripe, closed loop",
    "open ours": "ours, open loop at half of our rate",
    "open stripe-sync-engine": "stripe-sync-engine, open loop at half of our rate",
    "open nothing": "a server that does nothing, open loop at half of our rate",
}
