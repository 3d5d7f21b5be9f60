"""The webhook's sender: changes become entries, entries become batches, batches are POSTed.

Listens to the store from any thread and sends from the server's event loop. What the public record leaves open about
it (MLM's wire, §4) is a knob: form, batching, delay, doubles, order, loss, retries. Without a target
nothing waits and nothing is sent.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from mlm_client.sandbox.files import Change
from mlm_client.sandbox.knobs import Dials, Knobs
from mlm_client.sandbox.stamps import webhook_stamp_text

_KEPT_DELIVERIES = 5_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to deliver a batch. `status` is None where no answer came, and `error` says why.

    `cause` is change, duplicate, retry or resend; `batch` numbers the body, tries of one body share it.
    """

    id: int
    batch: int
    at: float
    cause: str
    entries: int
    refs: tuple[str, ...]
    status: int | None
    error: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class _Batch:
    number: int
    refs: tuple[str, ...]
    entries: list[dict[str, Any]]


def entry(change: Change, knobs: Knobs) -> dict[str, Any]:
    """A change as an entry, in the form that the knobs say."""
    content = change.version.content
    values = {"sLastModifiedTimestamp": webhook_stamp_text(change.version.stamp, knobs)}
    values |= {name: content.fields.get(name, "") for name in knobs.webhook_value_fields}
    told = {
        "event": knobs.webhook_events.get(change.event, change.event),
        "number": content.number,
        "reference": content.ref,
        "values": values,
    }
    return {name: told[key] for key, name in knobs.webhook_keys.items() if name and key in told}


def body(entries: list[dict[str, Any]], knobs: Knobs) -> Any:
    """The JSON body of a batch."""
    if knobs.webhook_root == "object":
        return {knobs.webhook_root_key: entries}
    return entries[0] if knobs.webhook_root == "single" else entries


class Deliveries:
    """The sender. `hear` takes changes; `run` sends until cancelled."""

    def __init__(self, dials: Dials, url: str | None = None, token: str | None = None) -> None:
        self.dials = dials
        self.url = url
        self.token = token
        self._state = threading.Condition()
        self._waiting: deque[tuple[float, Change]] = deque()
        self._under_way = 0
        self._sent = 0
        self._batches: deque[_Batch] = deque(maxlen=_KEPT_DELIVERIES)
        self._made = 0
        self._log: deque[Delivery] = deque(maxlen=_KEPT_DELIVERIES)
        self._wake: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        dials.listeners.append(lambda: self._wake())

    def target(self, url: str | None, token: str | None) -> None:
        """Where webhooks go from now on, and with which bearer; no URL stops them."""
        self.url, self.token = url, token
        self._wake()

    def hear(self, change: Change) -> None:
        """A change of a file, to be sent when its time comes; the knobs may lose it here."""
        if self.url is None or self.dials.strikes("webhook_loss"):
            return
        with self._state:
            self._waiting.append((time.monotonic() + self.dials.now.webhook_delay_ms / 1000, change))
        self._wake()

    def log(self, limit: int = 1000) -> list[Delivery]:
        """The newest deliveries, oldest first."""
        with self._state:
            return list(self._log)[-limit:] if limit else []

    def counters(self) -> dict[str, int]:
        """How many changes wait, bodies are under way, tries were made."""
        with self._state:
            return {"waiting": len(self._waiting), "under_way": self._under_way, "sent": self._sent}

    def wait_until_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until no change waits and no body is under way, retries included; False when time runs out."""
        with self._state:
            return self._state.wait_for(lambda: not self._waiting and not self._under_way, timeout_s)

    def wait_for(self, sent: int, timeout_s: float = 10.0) -> bool:
        """Wait until `sent` tries were made in all; False when time runs out."""
        with self._state:
            return self._state.wait_for(lambda: self._sent >= sent, timeout_s)

    def resend(self, batches: Iterable[int] = (), refs: Iterable[str] = ()) -> int:
        """Send again the batches of these numbers, and those with an entry of these files; how many."""
        if self._loop is None:
            return 0
        numbers, names = set(batches), set(refs)
        with self._state:
            found = [batch for batch in self._batches if batch.number in numbers or names & set(batch.refs)]
            self._under_way += len(found)
        for batch in found:
            self._loop.call_soon_threadsafe(self._spawn, batch, "resend", 0.0)
        return len(found)

    async def run(self) -> None:
        """Send what is heard, from this event loop, until cancelled."""
        self._loop = loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._wake = wake
        self._client("")  # 30 ms for its TLS settings: now, not on the first webhook's way
        try:
            while True:
                pause_s = self._send_due()
                if pause_s is None or pause_s > 0:
                    await _either(woken, pause_s)
                woken.clear()
        finally:
            self._wake = lambda: None
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for client in self._clients.values():
                await client.aclose()

    def _send_due(self) -> float | None:
        """Start every batch that is due and has a place; seconds to the next, None to wait for news."""
        knobs = self.dials.now
        window_s, size = knobs.webhook_window_ms / 1000, knobs.webhook_batch_size
        if knobs.webhook_root == "single":
            size = 1
        while not knobs.webhook_held:
            with self._state:
                if not self._waiting or self._under_way >= knobs.webhook_parallel:
                    return None
                now = time.monotonic()
                left_s = self._waiting[0][0] + window_s - now
                if left_s > 0 and len(self._waiting) < size:
                    return left_s
                changes: list[Change] = []
                while self._waiting and len(changes) < size and self._waiting[0][0] <= now:
                    changes.append(self._waiting.popleft()[1])
                if not changes:
                    return self._waiting[0][0] - now
            self._launch(changes, knobs)
        return None

    def _launch(self, changes: list[Change], knobs: Knobs) -> None:
        """Make one batch of `changes`, with the doubles and the disorder that the knobs want, and send it."""
        chance = self.dials.strikes
        entries: list[dict[str, Any]] = []
        for change in changes:
            told = entry(change, knobs)
            entries += [told, told] if chance("webhook_duplicate_within") else [told]
        if knobs.webhook_shuffle_share and chance("webhook_shuffle"):
            self.dials.random.shuffle(entries)
        self._made += 1
        batch = _Batch(self._made, tuple(change.version.content.ref for change in changes), entries)
        twice = chance("webhook_duplicate_across")
        held_back_s = knobs.webhook_reorder_ms / 1000 if chance("webhook_reorder") else 0.0
        with self._state:
            self._batches.append(batch)
            self._under_way += 1 + twice
        self._spawn(batch, "change", held_back_s)
        if twice:
            self._spawn(batch, "duplicate", held_back_s)

    def _spawn(self, batch: _Batch, cause: str, delay_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(batch, cause, delay_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, batch: _Batch, cause: str, delay_s: float) -> None:
        """Deliver one batch, with retries; counted as under way from before until the last try."""
        try:
            if delay_s:
                await asyncio.sleep(delay_s)
            tries = 0
            while not await self._try(batch, cause):
                knobs = self.dials.now
                if knobs.webhook_retry == "none" or tries >= knobs.webhook_retry_limit:
                    return
                growth = 2**tries if knobs.webhook_retry == "exponential" else 1
                await asyncio.sleep(knobs.webhook_retry_ms / 1000 * growth)
                tries, cause = tries + 1, "retry"
        finally:
            with self._state:
                self._under_way -= 1
                self._state.notify_all()
            self._wake()

    async def _try(self, batch: _Batch, cause: str) -> bool:
        """POST once and log it; whether the answer is a 2xx."""
        knobs, url = self.dials.now, self.url
        if url is None:
            return True
        bearer = knobs.webhook_bearer or self.token
        headers = {"Authorization": f"Bearer {bearer}"} if bearer and bearer != "none" else {}
        at, started, status, error = time.time(), time.perf_counter(), None, ""
        try:
            client = self._client(knobs.webhook_source_address)
            timeout = httpx.Timeout(knobs.webhook_timeout_s)
            bodies = [body(batch.entries, knobs)]
            if knobs.webhook_root == "single":
                bodies = [body([each], knobs) for each in batch.entries]
            for each in bodies:
                status = (await client.post(url, json=each, headers=headers, timeout=timeout)).status_code
                if not 200 <= status < 300:
                    break
        except (httpx.HTTPError, httpx.InvalidURL) as broken:
            status, error = None, type(broken).__name__
        duration_ms = round((time.perf_counter() - started) * 1000, 3)
        with self._state:
            self._sent += 1
            made = (self._sent, batch.number, at, cause, len(batch.entries), batch.refs, status, error, duration_ms)
            self._log.append(Delivery(*made))
            self._state.notify_all()
        return status is not None and 200 <= status < 300

    def _client(self, address: str) -> httpx.AsyncClient:
        """The client whose calls leave from this local address; blank for any."""
        if address not in self._clients:
            transport = httpx.AsyncHTTPTransport(local_address=address or None)
            self._clients[address] = httpx.AsyncClient(transport=transport, trust_env=False)
        return self._clients[address]


async def _either(woken: asyncio.Event, timeout_s: float | None) -> None:
    """Wait for the event, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await woken.wait()


def delivery_json(delivery: Delivery) -> dict[str, Any]:
    """A delivery as JSON has it."""
    return {**asdict(delivery), "refs": list(delivery.refs)}
