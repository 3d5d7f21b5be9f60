"""Pacing: calls to MLM keep to a number under way and a rate, and away from an MLM that is away, over all workers.

One Lua script in Redis decides (`pacing.lua`), on Redis' clock. What it holds to:

* At most `limit` calls are under way. A quarter of the places, at least one when there are two, is kept for prompt
  calls, and a prompt call that waits has the next place.
* In any window of t seconds at most `rate` × t + `burst` calls begin. The burst is a fifth of a second's calls, at
  least two; half of it is kept for prompt calls, so a prompt call begins at once while bulk calls use up the whole
  rate. Prompt calls that use up the whole rate leave none for bulk calls. Signing in, and the second try after a
  refused ticket, belong to the call.
* While the circuit is open (`circuit`) no place is given, but one a window. Whether it opens or closes is decided with
  the return of a place, by how its call ended.
* A place is a lease of 6 s that `refresh` renews each second: a killed worker's places come free within 6 s.

Keys in Redis: `mlm:pace:bulk`, `mlm:pace:prompt` (holders), `mlm:pace:due` (the rate), `mlm:pace:waits` (a prompt call
waits), and the circuit's. `FLUSHALL` forgets the rate's burst, and the holders until the next refresh.
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
import structlog

from .circuit import ANSWERED, FAILED_KEY, OPEN_KEY, CircuitRules, Ending, ending_of
from .errors import MlmAway, NoPlace, PacingAway, Stopping

log = structlog.get_logger(__name__)

KEYS = ("mlm:pace:bulk", "mlm:pace:prompt", "mlm:pace:due", "mlm:pace:waits", OPEN_KEY, FAILED_KEY)

#: Six refreshes: one that is late by a slow Redis or a busy interpreter does no harm.
LEASE_S = 6.0

#: How soon to ask again when all places are taken; nobody is told when one comes free.
PROMPT_POLL_MS = 5
BULK_POLL_MS = 20
#: A prompt call that waits is known to for this long: several polls, so that one that was killed blocks nobody.
PROMPT_WAITS_MS = 100

#: The longest sleep at once: a new rate, or a flush, is noticed within it.
LONGEST_SLEEP_S = 1.0

#: A process that heard that the circuit is open asks again after this long, so that work which cannot be done costs
#: Redis nothing.
REMEMBERED_S = 1.0

# What the script answers: to "acquire", and to "release".
_GRANTED, _WAIT, _AWAY = 0, 1, 2
_OPENED, _CLOSED, _PROBE_FAILED, _IS_OPEN = 1, 2, 3, 4


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
        circuit: CircuitRules = CircuitRules(),  # noqa: B008  (frozen)
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
        self._circuit = circuit
        self._away_until = 0.0  # by time.monotonic()
        self._stop = stop or threading.Event()
        self._held: dict[str, bool] = {}  # holder -> whether it is prompt
        self._holding = threading.Lock()
        # Of this process's waiting threads only the first of each kind asks Redis; the others wait their turn here.
        self._turns = {True: threading.Lock(), False: threading.Lock()}

    @contextmanager
    def place(self, *, prompt: bool, deadline_s: float) -> Iterator[None]:
        """Hold a place for one call to MLM while the block runs, after waiting for it `deadline_s` at most.

        An `MlmError` that ends the block says how MLM is. If it finds the circuit open, or opens it, `MlmAway` is
        raised in its place: the failure is MLM's and not to be held against the work. Only `SignInFailed` is let
        through.

        Raises:
            NoPlace: none came free in time.
            MlmAway: the circuit is open; raised at once, whatever the deadline.
            PacingAway: Redis cannot be asked.
            Stopping: the process is stopping.
        """
        holder = self._wait(prompt, time.monotonic() + deadline_s, deadline_s)
        try:
            yield
        except BaseException as error:
            ending = ending_of(error)
            away_s = self._release(holder, ending)
            if away_s is not None and ending.kind == "away":
                raise MlmAway(away_s) from None
            raise
        self._release(holder, ANSWERED)

    def is_away(self) -> bool:
        """Whether this process heard within the last second that the circuit is open: no call would leave now."""
        return time.monotonic() < self._away_until

    def refresh(self) -> None:
        """Renew the leases of all places held here. Call it each second; it never raises.

        A place that Redis had given up or forgotten counts again: its call is under way.
        """
        with self._holding, suppress(redis.RedisError):
            if self._held:
                bulk = [holder for holder, prompt in self._held.items() if not prompt]
                prompt = [holder for holder, prompt in self._held.items() if prompt]
                self._ask("refresh", len(bulk), *bulk, *prompt)

    def _wait(self, prompt: bool, ends: float, deadline_s: float) -> str:
        turn = self._turns[prompt]
        if not turn.acquire(timeout=max(0.0, ends - time.monotonic())):
            raise NoPlace(deadline_s)
        try:
            while True:
                if self._stop.is_set():
                    raise Stopping
                holder = str(uuid.uuid4())
                said, wait_s = self._acquire(holder, prompt)
                if said == _GRANTED:
                    with self._holding:
                        self._held[holder] = prompt
                    return holder
                if said == _AWAY:
                    raise MlmAway(self._hear_of_away(wait_s))
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    raise NoPlace(deadline_s)
                self._stop.wait(min(wait_s, left_s, LONGEST_SLEEP_S))
        finally:
            turn.release()

    def _acquire(self, holder: str, prompt: bool) -> tuple[int, float]:
        """What the script says, and after how many seconds to ask again."""
        poll_us = (PROMPT_POLL_MS if prompt else BULK_POLL_MS) * 1000
        places = (int(prompt), self._limit, self.kept_places)
        rate = (self._interval_us, self.burst, self.kept_burst)
        try:
            return self._ask("acquire", holder, *places, *rate, poll_us, PROMPT_WAITS_MS)
        except redis.RedisError as error:
            raise PacingAway(error) from None

    def _release(self, holder: str, ending: Ending) -> float | None:
        """Give a place back and say how its call ended. Seconds until the next probe if the circuit is open now."""
        with self._holding:
            del self._held[holder]
        try:
            what, seconds = self._ask("release", holder, *self._circuit.weighing(ending))
        except redis.RedisError:  # the place's lease ends by itself; of this call the circuit does not hear
            return None
        if what == _CLOSED:
            self._away_until = 0.0
            log.info("circuit.closed", open_s=round(seconds, 3))
        if what in (_OPENED, _PROBE_FAILED):
            tell = log.error if ending.kind == "refused" else log.warning
            tell(f"circuit.{ending.kind}", why=ending.why, opened=what == _OPENED, next_probe_s=round(seconds, 3))
        return self._hear_of_away(seconds) if what in (_OPENED, _PROBE_FAILED, _IS_OPEN) else None

    def _hear_of_away(self, wait_s: float) -> float:
        self._away_until = time.monotonic() + min(wait_s, REMEMBERED_S)
        return wait_s

    def _ask(self, *args: str | int) -> tuple[int, float]:
        """What the script answers: a number, and seconds."""
        what, us = self._script(keys=KEYS, args=[args[0], self._lease_us, *args[1:]])
        return what, us / 1_000_000
