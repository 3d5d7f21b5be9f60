"""Pacing: calls to MLM keep to a number under way and a rate, over all workers together.

One Lua script in Redis decides (`pacing.lua`), on Redis' clock. What it holds to:

* At most `limit` calls are under way. A quarter of the places, at least one when there are two, is kept for prompt
  calls, and a prompt call that waits has the next place.
* In any window of t seconds at most `rate` × t + `burst` calls begin. The burst is a fifth of a second's calls, at
  least two; half of it is kept for prompt calls, so a prompt call begins at once while bulk calls use up the whole
  rate. Prompt calls that use up the whole rate leave none for bulk calls.
* A place is a lease of 6 s that `refresh` renews each second: a killed worker's places come free within 6 s.

Keys in Redis: `mlm:pace:bulk`, `mlm:pace:prompt` (holders), `mlm:pace:due` (the rate), `mlm:pace:waits` (a prompt call
waits). `FLUSHALL` forgets the rate's burst, and the holders until the next refresh.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from .errors import NoPlace, PacingAway, Stopping

KEYS = ("mlm:pace:bulk", "mlm:pace:prompt", "mlm:pace:due", "mlm:pace:waits")

#: Six refreshes: one that is late by a slow Redis or a busy interpreter does no harm.
LEASE_S = 6.0

#: How soon to ask again when all places are taken; nobody is told when one comes free.
PROMPT_POLL_MS = 5
BULK_POLL_MS = 20
#: A prompt call that waits is known to for this long: several polls, so that one that was killed blocks nobody.
PROMPT_WAITS_MS = 100

#: The longest sleep at once: a new rate, or a flush, is noticed within it.
LONGEST_SLEEP_S = 1.0


class Pacer:
    """Places for calls to MLM of one process. Safe to use from any number of threads.

    `limit` and `rate` (calls a second) are `MLM_MAX_CONCURRENCY` and `MLM_RATE`; all processes must be given the same.
    `stop` ends every wait. Somebody must call `refresh` each second.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        limit: int,
        rate: float,
        stop: threading.Event | None = None,
        lease_s: float = LEASE_S,
    ) -> None:
        self._client = client
        self._script = client.register_script(Path(__file__).with_suffix(".lua").read_text("utf-8"))
        half_burst = max(1, math.floor(rate / 10))
        #: Calls that may begin at once after a pause.
        self.burst = 2 * half_burst
        #: Places and burst that only prompt calls may use.
        self.kept_places = max(1, limit // 4) if limit > 1 else 0
        self.kept_burst = half_burst
        self._limit, self._interval_us = limit, math.ceil(1_000_000 / rate)
        self._lease_us = round(lease_s * 1_000_000)
        self._stop = stop or threading.Event()
        self._held: dict[str, bool] = {}  # holder -> whether it is prompt
        self._holding = threading.Lock()
        # Of this process's waiting threads only the first of each kind asks Redis; the others wait their turn here.
        self._turns = {True: threading.Lock(), False: threading.Lock()}

    @contextmanager
    def place(self, *, prompt: bool, deadline_s: float) -> Iterator[None]:
        """Hold a place for one call to MLM while the block runs, after waiting for it `deadline_s` at most.

        Raises:
            NoPlace: none came free in time.
            PacingAway: Redis cannot be asked.
            Stopping: the process is stopping.
        """
        holder = self._wait(prompt, time.monotonic() + deadline_s, deadline_s)
        try:
            yield
        finally:
            self._release(holder)

    def refresh(self) -> None:
        """Renew the leases of all places held here. Call it each second; it never raises.

        A place that Redis had given up or forgotten counts again: its call is under way.
        """
        with self._holding, suppress(redis.RedisError):
            if self._held:
                bulk = [holder for holder, prompt in self._held.items() if not prompt]
                prompt = [holder for holder, prompt in self._held.items() if prompt]
                self._script(keys=KEYS, args=["refresh", self._lease_us, len(bulk), *bulk, *prompt])

    def _wait(self, prompt: bool, ends: float, deadline_s: float) -> str:
        turn = self._turns[prompt]
        if not turn.acquire(timeout=max(0.0, ends - time.monotonic())):
            raise NoPlace(deadline_s)
        try:
            while True:
                if self._stop.is_set():
                    raise Stopping
                holder = str(uuid.uuid4())
                wait_s = self._ask(holder, prompt)
                if wait_s == 0:
                    with self._holding:
                        self._held[holder] = prompt
                    return holder
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    raise NoPlace(deadline_s)
                self._stop.wait(min(wait_s, left_s, LONGEST_SLEEP_S))
        finally:
            turn.release()

    def _ask(self, holder: str, prompt: bool) -> float:
        """0 if granted, else after how many seconds to ask again."""
        args: list[str | int] = [
            *("acquire", self._lease_us, holder, int(prompt), self._limit, self.kept_places),
            *(self._interval_us, self.burst, self.kept_burst),
            *((PROMPT_POLL_MS if prompt else BULK_POLL_MS) * 1000, PROMPT_WAITS_MS),
        ]
        try:
            return int(self._script(keys=KEYS, args=args)) / 1_000_000
        except redis.RedisError as error:
            raise PacingAway(error) from None

    def _release(self, holder: str) -> None:
        with self._holding:
            prompt = self._held.pop(holder)
        with suppress(redis.RedisError):  # else the lease ends by itself
            self._client.zrem(KEYS[prompt], holder)
