"""A burst: 5,000 webhooks over 50 files, sent as fast as they are answered; how often is a file read because of it?

Ours is the whole product, its worker at work from the first webhook on. A hundred times over each of 50 files is saved
in MLM, and a batch tells of it, each sent when the one before is answered; `live`, every batch is sent as soon as its
saves are made, so that reads race with saves; `late`, all saves are made before the first is sent, as after an outage
of the webhook. Counted are the reads that ask for more than the stamp. When no file is stale, every value of every file
is compared with MLM's: the last change has landed, or the measurement fails.

BullMQ's debounce (deduplication by the file's id, the newest job's data in place of the older's, the delay begun anew)
is given the same 5,000 as jobs, fifty at once. Its job does nothing but remember what it was given.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import httpx

from mlm_client.sandbox.deliveries import entry
from mlm_client.sandbox.editing import CONCERNS, touch
from mlm_client.sandbox.files import Change
from receiver.webhook import PATH

from . import ground
from .parties import HEADERS
from .peers import bullmq
from .table import Figure, Mark, Measured, Row, Series
from .whole import NO_BACKSTOPS, Whole, timed, whole

NAME = "burst"

FILES, SAVES = 50, 100
SETTINGS = {"MLM_STAMP_RESOLUTION": "0.004", "MLM_RATE": "1000", **NO_BACKSTOPS}
LIVE, LATE = "live", "late"
#: More than a run's calls, and what the sandbox's log keeps.
CALLS = 10_000


@dataclass(frozen=True)
class Burst:
    """What one burst came to: reads, seconds until the last webhook was answered, and from then until all was here."""

    reads: int
    sending_s: float
    landing_s: float


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """Ours, with saves made meanwhile and beforehand, and the peer, in turn."""
    say("peer: installing if it is not here …")
    bullmq.install()
    seen: dict[str, list[Burst]] = {LIVE: [], LATE: [], bullmq.LABEL: []}
    with ground.ground() as here, ExitStack() as stack:
        house = stack.enter_context(whole(here, "burst", FILES, **SETTINGS))
        stack.enter_context(house.working())
        house.import_all()
        _burst(house, 2, live=True)  # webhooks and reads are seen to agree by these
        for number in range(rounds):
            seen[LIVE].append(_burst(house, SAVES, live=True))
            seen[LATE].append(_burst(house, SAVES, live=False))
            seen[bullmq.LABEL].append(Burst(*bullmq.debounced(here.servers.redis_url, FILES, SAVES)))
            told = "; ".join(f"{name} {each[-1].reads} in {each[-1].sending_s:.2f} s" for name, each in seen.items())
            say(f"round {number + 1} of {rounds}: {told}")
        return Measured(_rows(seen), [*ground.versions(here.servers), bullmq.told()], _figures(seen))


def _burst(house: Whole, saves: int, *, live: bool) -> Burst:
    """So many saves of every file, a batch of webhooks for each; all is fresh and equal to MLM afterwards."""
    saved: list[Change] = []
    house.mlm.deliveries.target(None, None)
    house.mlm.store.listeners.append(saved.append)
    house.mlm.calls.clear()
    turns = iter(range(saves))
    batches = (_told(house, saved, turn) for turn in turns)
    bodies = batches if live else iter(list(batches))
    with httpx.Client(base_url=f"http://127.0.0.1:{house.port}", headers=HEADERS, timeout=30) as receiver:

        def send() -> None:
            for body in bodies:
                receiver.post(PATH, content=body, headers={"content-type": "application/json"}).raise_for_status()

        sending_s = timed(send)
    landing_s = timed(house.rests)
    time.sleep(0.2)
    house.rests()
    house.is_equal()
    house.mlm.store.listeners.remove(saved.append)
    reads = [call for call in house.mlm.calls.newest("LoadByRefNumber", limit=CALLS) if len(call.ids) > 1]
    return Burst(len(reads), sending_s, landing_s)


def _told(house: Whole, saved: list[Change], turn: int) -> bytes:
    """Save every file once; the body of the webhook that tells of it."""
    saved.clear()
    refs = house.mlm.store.refs()
    random.Random(turn).shuffle(refs)
    for place, ref in enumerate(refs):
        touch(house.mlm.store, house.mlm.maker, ref, CONCERNS[(turn + place) % len(CONCERNS)])
    return json.dumps([entry(change, house.mlm.dials.now) for change in saved]).encode()


def _rows(seen: dict[str, list[Burst]]) -> list[Row]:
    sent = f"{FILES * SAVES:,} webhooks over {FILES} files, batches of {FILES} as fast as answered"
    under = f"{sent}; resolution 4 ms, rate 1000/s, 8 calls at once; every change landed"
    runs = _series(seen, bullmq.LABEL, lambda each: each.reads)
    return [
        Row(
            name,
            f"reads of files, saves made {when}",
            "reads",
            Series("ours", tuple(each.reads for each in seen[name])),
            runs,
            Mark(2, False),
            under,
        )
        for name, when in ((LIVE, "while webhooks are sent"), (LATE, "before"))
    ]


def _figures(seen: dict[str, list[Burst]]) -> list[Figure]:
    figures = []
    for name, told in ((LIVE, "ours, live"), (LATE, "ours, late"), (bullmq.LABEL, bullmq.LABEL)):
        sending, landing = (
            _series(seen, name, of) for of in (lambda each: each.sending_s, lambda each: each.landing_s)
        )
        figures.append(Figure(f"{told}: until all is sent", "s", sending))
        figures.append(Figure(f"{told}: from then until the last has landed", "s", landing))
    return figures


def _series(seen: dict[str, list[Burst]], name: str, of: Callable[[Burst], float]) -> Series:
    return Series(name, tuple(of(each) for each in seen[name]))
