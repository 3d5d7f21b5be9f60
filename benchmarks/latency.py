"""Latency: how soon after its webhook a change is here, idle and under twenty changes a second.

The whole product as it runs, an MLM that answers at once. The clock starts before the webhook is sent and stops when
another connection sees the commit that brought the changed row. Idle, one change at a time, at rest between; it is held
against the floor of its hops (`hops`), measured in the same round. Under load, changes fall due twenty a second whether
the one before is here or not, and each is counted from when it was due.

Beside them: how long a capture's request waits behind a thousand slices, when MLM is asked as often as it bears; and
what a big file takes (`big`).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from freshness.concerns import ALL
from freshness.ledger import files
from hydrators.registry import question_of
from jobs.bell import depth
from jobs.broker import Queue
from mlm_client.sandbox.editing import touch
from mlm_client.sandbox.stamps import webhook_stamp_text
from receiver.webhook import PATH

from . import big, ground
from .hops import Floor, hops
from .parties import HEADERS
from .seen import Seen, share
from .stage import until
from .table import Figure, Mark, Measured, Row
from .whole import NO_BACKSTOPS, THREADS, WORKERS, Whole, whole

NAME = "latency"

FILES, WAITING = 100, 1_000
CHANGES, CAPTURES = 20, 20
RATE_A_S, LOAD_S = 20, 10
RESOLUTION_S = 0.004
FIELDS, ASSETS = "loan_fields", "assets"
PORTAL_TOKEN = "benchmark-portal"
SETTINGS = {
    "MLM_STAMP_RESOLUTION": str(RESOLUTION_S), "MLM_RATE": "1000", "PORTAL_API_TOKEN": PORTAL_TOKEN, **NO_BACKSTOPS,
}  # fmt: skip

#: What a change needs that an outsider makes, its file's job and its slice's a message each: the receipt with its
#: order, the lease, the rows, a commit each. An asset's rows follow its borrowers', of the same read.
HOPS = {
    FIELDS: {"requests": 1, "commits": 3, "pickups": 2, "calls": 1, "waits_ms": RESOLUTION_S * 1e3},
    ASSETS: {"requests": 1, "commits": 5, "pickups": 2, "calls": 1, "waits_ms": RESOLUTION_S * 1e3},
}

_LANDED = """
SELECT r.id, f.ref, r.concern FROM slice_runs r JOIN file_freshness f ON f.id = r.file_id
WHERE r.id > %(after)s AND r.rows_changed IS NOT NULL
"""
_NEWEST = "SELECT coalesce(max(id), 0) FROM slice_runs"

#: A commit may show later than one with a newer id, but by no more ids than these.
BEHIND = 60
#: How often it is looked for what has landed: idle, and under load, where looking takes from what is looked at.
LOOK_S, LOOK_UNDER_LOAD_S = 0.001, 0.005

# Where the time of each run went, in milliseconds.
_STEPS = """
SELECT r.concern, (1e3 * extract(epoch FROM p.received_at - to_timestamp(t.sent)))::float AS received,
       (1e3 * extract(epoch FROM r.started_at - p.received_at))::float AS leased,
       (1e3 * extract(epoch FROM r.asked_at - r.started_at))::float AS asked,
       (1e3 * extract(epoch FROM r.finished_at - r.asked_at))::float AS landed,
       (1e3 * extract(epoch FROM to_timestamp(t.seen) - r.finished_at))::float AS seen
FROM unnest(%(runs)s::bigint[], %(sent)s::float[], %(seen)s::float[]) AS t (run, sent, seen)
JOIN slice_runs r ON r.id = t.run
JOIN mlm_webhook_receipts p ON p.file_id = r.file_id AND p.order_number = r.order_number
"""
STEPS = ("received", "leased", "asked", "landed", "seen")


@dataclass
class Watch:
    """Another connection that sees commits of slices, and tells how long each change took that it was told of."""

    connection: psycopg.Connection[Any]
    every_s: float
    pending: dict[tuple[str, str], float] = field(default_factory=dict)
    took_ms: dict[str, list[float]] = field(default_factory=lambda: {FIELDS: [], ASSETS: []})
    #: For each change that was seen: the run that brought it, and when it was told of and seen.
    runs: list[tuple[int, float, float]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    over: threading.Event = field(default_factory=threading.Event)

    def expect(self, ref: str, concern: str, since: float) -> None:
        """A change of this concern is told of; the time it takes counts from `since`. One still awaited stays so."""
        self.pending.setdefault((ref, concern), since)

    def look(self, last: int) -> None:
        """Look for what lands after the run `last`, until told that it is over."""
        self.seen.update(range(last - BEHIND, last + 1))
        while not self.over.is_set():
            rows = self.connection.execute(_LANDED, {"after": last - BEHIND}).fetchall()
            now = time.perf_counter()
            for number, ref, concern in rows:
                last = max(last, number)
                if number not in self.seen:
                    self.seen.add(number)
                    since = self.pending.pop((ref, concern), None)
                    if since is not None:
                        self.took_ms[concern].append((now - since) * 1e3)
                        self.runs.append((number, time.time() - (now - since), time.time()))
            time.sleep(self.every_s)

    def steps(self) -> dict[str, dict[str, float]]:
        """Of each concern, the medians of the steps of its changes, in milliseconds."""
        runs, sent, ended = (list(each) for each in zip(*self.runs, strict=True))
        found = self.connection.execute(_STEPS, {"runs": runs, "sent": sent, "seen": ended}).fetchall()
        return {
            concern: {
                step: share([row[place] for row in found if row[0] == concern], 0.5)
                for place, step in enumerate(STEPS, start=1)
            }
            for concern in (FIELDS, ASSETS)
        }


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """The floor, idle and under load, round by round; then captures behind many slices, and a big file."""
    seen = Seen()
    with ground.ground() as here, ExitStack() as stack:
        house = stack.enter_context(whole(here, "latency", FILES + WAITING, **SETTINGS))
        house.mlm.deliveries.target(None, None)
        refs = house.mlm.store.refs()
        busy, waiting = refs[:FILES], refs[FILES:]
        receiver = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{house.port}", timeout=30, trust_env=False)
        )
        with house.working():
            house.import_all(busy)
            teller = Teller(house, receiver)
            question = question_of(list(ALL), house.house.names).to_xml()
            upstream = house.mlm.loan_service_url.partition("/los/")[0]
            asked = (here.database("hops"), upstream, busy[0], question, teller.change(busy[0], FIELDS))
            _idle(house, teller, busy, 3, Seen())  # connections, caches, and stamps that are seen to be alike
            for number in range(rounds):
                with hops(here, *asked) as each:
                    floor = each.measure()
                told = [_floor(floor, seen), _idle(house, teller, busy, CHANGES, seen)]
                told.append(_load(house, teller, busy, seen))
                say(f"round {number + 1} of {rounds}: {'; '.join(told)}")
            house.is_equal(busy)
        say(f"captures: {_captures(house, receiver, busy, waiting, seen)}")
        say(f"a big file: {big.measure(house, busy[-1], seen)}")
        return Measured(_rows(seen), ground.versions(here.servers), _figures(seen))


@dataclass
class Teller:
    """Edits files in MLM, and sends the webhook that tells of it."""

    house: Whole
    receiver: httpx.Client

    def change(self, ref: str, concern: str) -> bytes:
        """Edit a file in MLM; the body of the webhook."""
        done = touch(self.house.mlm.store, self.house.mlm.maker, ref, concern)
        stamp = webhook_stamp_text(done.version.stamp, self.house.mlm.dials.now)
        entry = {"eventType": "Modified", "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}
        return json.dumps([entry]).encode()

    def send(self, body: bytes) -> None:
        """Send it."""
        headers = {**HEADERS, "content-type": "application/json"}
        self.receiver.post(PATH, content=body, headers=headers).raise_for_status()


@contextmanager
def _watching(house: Whole, every_s: float) -> Iterator[Watch]:
    """A watch, looking for as long as the block runs."""
    with psycopg.connect(house.environment["DATABASE_URL"], autocommit=True) as connection:
        watch = Watch(connection, every_s)
        newest = connection.execute(_NEWEST).fetchone()
        thread = threading.Thread(target=watch.look, args=newest)
        thread.start()
        try:
            yield watch
        finally:
            watch.over.set()
            thread.join()


def _idle(house: Whole, teller: Teller, refs: Sequence[str], changes: int, seen: Seen) -> str:
    """So many changes of each concern, one at a time."""
    with _watching(house, LOOK_S) as watch:
        for number in range(changes):
            for concern in (FIELDS, ASSETS):
                ref = refs[number % len(refs)]
                body = teller.change(ref, concern)
                watch.expect(ref, concern, time.perf_counter())
                teller.send(body)
                until(lambda: not watch.pending, 10, every_s=0.002)
                house.rests()
                time.sleep(0.05)
        for concern, steps in watch.steps().items():
            seen.add(**{f"step_{concern}_{step}": value for step, value in steps.items()})
    return _shares("idle", watch.took_ms, seen)


def _load(house: Whole, teller: Teller, refs: Sequence[str], seen: Seen) -> str:
    """So many changes falling due a second."""
    with _watching(house, LOOK_UNDER_LOAD_S) as watch, ThreadPoolExecutor(4) as senders:
        began, sent = time.perf_counter() + 0.5, []
        for number in range(RATE_A_S * LOAD_S):
            ref, concern = refs[number % len(refs)], (FIELDS, ASSETS)[number % 2]
            due = began + number / RATE_A_S
            body = teller.change(ref, concern)
            time.sleep(max(0.0, due - time.perf_counter()))
            watch.expect(ref, concern, due)
            sent.append(senders.submit(teller.send, body))
        for each in sent:
            each.result()
        until(lambda: not watch.pending, 30)
        house.rests()
    return _shares("load", watch.took_ms, seen)


def _captures(house: Whole, receiver: httpx.Client, refs: Sequence[str], waiting: Sequence[str], seen: Seen) -> str:
    """From an own write's exit to its capture's arrival at MLM, thousands of slices waiting and MLM at its rate."""
    portal = {"Authorization": f"Bearer {PORTAL_TOKEN}"}
    queue = house.house.redis
    took_ms = []
    with house.working(MLM_RATE="20"):
        with house.house.engine.begin() as conn:
            rings = [ring for ref in waiting for ring in files.import_file(conn, ref).rings]
        house.house.bell(rings)
        until(lambda: depth(queue, Queue.LOAN_SYNC_ASSOC) > WAITING * 0.9, 60)
        time.sleep(2.0)  # the burst is spent, calls go at the rate
        before = depth(queue, Queue.LOAN_SYNC_ASSOC)
        for number in range(CAPTURES):
            ref = refs[number % len(refs)]
            path = f"/api/v1/loans/{ref}/mlm/own-writes"
            if receiver.get(f"/api/v1/loans/{ref}/freshness", headers=portal).status_code == 404:
                path = path.replace("/loans/", "/leads/")
            own_write = receiver.post(path, headers=portal, json={"capture": True}).json()["id"]
            since = time.time()
            receiver.post(f"{path}/{own_write}/exit", headers=portal, json={"ok": True}).raise_for_status()
            took_ms.append((_arrival(house, ref, since) - since) * 1e3)
            time.sleep(0.2)
        after = depth(queue, Queue.LOAN_SYNC_ASSOC)
    shares = {f"capture_{name}": share(took_ms, part) for name, part in (("p50", 0.5), ("p95", 0.95))}
    return seen.add(**shares, waited_before=before, waited_after=after)


def _arrival(house: Whole, ref: str, since: float) -> float:
    """When the first call for this file after `since` arrived at MLM."""
    arrived: list[float] = []

    def look() -> bool:
        arrived.extend(call.at for call in list(house.mlm.calls.calls) if call.ref == ref and call.at >= since)
        return bool(arrived)

    until(look, 10, every_s=0.01)
    return min(arrived)


def _floor(floor: Floor, seen: Seen) -> str:
    sums = {f"floor_{concern}": floor.of(**needed) for concern, needed in HOPS.items()}  # type: ignore[arg-type]
    each = {"request": floor.request, "commit": floor.commit, "pickup": floor.pickup, "call": floor.call}
    return seen.add(**each, **sums)


def _shares(name: str, took_ms: dict[str, list[float]], seen: Seen) -> str:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return seen.add(
        **{
            f"{name}_{concern}_{at}": share(took, part)
            for concern, took in took_ms.items()
            for at, part in shares.items()
        }
    )


_STEP = {
    "received": "until it is being decided",
    "leased": "until its slice is taken",
    "asked": "until MLM is asked",
    "landed": "until its rows are written",
    "seen": "until another connection sees them",
}
_WHAT = {FIELDS: "loan field", ASSETS: "asset"}


def _rows(seen: Seen) -> list[Row]:
    told = f"{WORKERS} workers of {THREADS} threads, MLM_RATE=1000, resolution 4 ms, nine concerns in one read"
    under = f"{RATE_A_S} changes/s for {LOAD_S} s over {FILES} files, loan fields and assets in turn, {told}"
    rows = [
        Row(
            f"idle-{concern}", f"webhook → {what} changed, idle: p50", "ms", seen.series(f"idle_{concern}_p50"),
            seen.series(f"floor_{concern}", "the floor of its hops"), Mark(1.5, False),
            f"{CHANGES} a round, one at a time, {told}; {_needed(concern)}",
        )
        for concern, what in _WHAT.items()
    ]  # fmt: skip
    return rows + [
        Row(
            f"load-{concern}", f"webhook → {what} changed, under load: p99", "ms", seen.series(f"load_{concern}_p99"),
            None, Mark(500, False, "ms"), under,
        )
        for concern, what in _WHAT.items()
    ]  # fmt: skip


def _needed(concern: str) -> str:
    names = {"requests": "request", "commits": "commits", "pickups": "enqueues and pick-ups", "calls": "SOAP call"}
    told = ", ".join(f"{HOPS[concern][key]:g} {name}" for key, name in names.items())
    return f"floor: {told}, and the wait of one resolution"


def _figures(seen: Seen) -> list[Figure]:
    measured = {
        "request": "hop: a request to a server that does nothing",
        "commit": "hop: a commit of one row",
        "pickup": "hop: a message of Dramatiq's, enqueued and picked up",
        "call": "hop: a SOAP call with zeep, for all nine concerns",
        **{
            f"step_{concern}_{step}": f"webhook → {what} changed, idle, of it: {_STEP[step]}"
            for concern, what in _WHAT.items()
            for step in STEPS
        },
        **{f"idle_{concern}_p95": f"webhook → {what} changed, idle: p95" for concern, what in _WHAT.items()},
        **{f"load_{concern}_p50": f"webhook → {what} changed, under load: p50" for concern, what in _WHAT.items()},
        "capture_p50": f"own write's exit → its capture at MLM, {WAITING:,} slices waiting, MLM_RATE=20: p50",
        "capture_p95": f"own write's exit → its capture at MLM, {WAITING:,} slices waiting, MLM_RATE=20: p95",
    }
    return [*(Figure(what, "ms", seen.series(name)) for name, what in measured.items()), *big.figures(seen)]
