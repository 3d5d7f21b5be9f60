"""The webhook's sender, as MLM might be one: it sends again whatever was not answered 2xx, and remembers what was.

Changes are sent in batches of what has come up meanwhile, by four senders at once, as a body of the contract's form. A
batch that meets no answer, or another answer than 2xx, is sent again after `AGAIN_S`, until it is answered 2xx.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from mlm_client.sandbox.deliveries import entry
from mlm_client.sandbox.files import Change

from .house import WEBHOOK, WEBHOOK_TOKEN, Standing, until

SENDERS = 4
LARGEST_BATCH = 100
AGAIN_S = 0.5
LOOK_EVERY_S = 0.05
NO_ANSWER = 0

#: Which file an entry was of, and its stamp's text.
Key = tuple[str, str]

RECEIPTS = """
SELECT reference_number, last_modified_text, count(*) AS n FROM mlm_webhook_receipts
WHERE reference_number IS NOT NULL AND last_modified_text IS NOT NULL GROUP BY 1, 2
"""


class Account:
    """Every entry that was answered 2xx, by file and stamp, and every answer, by status."""

    def __init__(self) -> None:
        self.entries: Counter[Key] = Counter()
        self.answers: Counter[int] = Counter()
        self.without_retry_after = 0
        #: When each batch was sent first, by `time.monotonic`, and how many seconds later it was answered 2xx.
        self.delivered: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def answered(self, status: int, entries: list[dict[str, Any]], retry_after: bool) -> bool:
        """Take down an answer, `NO_ANSWER` where none came; whether it was 2xx."""
        good = 200 <= status < 300
        with self._lock:
            self.answers[status] += 1
            self.without_retry_after += status == 503 and not retry_after
            if good:
                self.entries.update(_key(each) for each in entries)
        return good

    def missing(self, house: Standing) -> list[str]:
        """Entries that were answered 2xx more often than they have receipts."""
        found = {(row.reference_number, row.last_modified_text): row.n for row in house.rows(RECEIPTS)}
        with self._lock:
            answered = dict(self.entries)
        return [f"{ref} {stamp}" for (ref, stamp), times in answered.items() if found.get((ref, stamp), 0) < times]

    def refused(self) -> int:
        """How many answers were 4xx."""
        return sum(times for status, times in self.answers.items() if 400 <= status < 500)


class Sender:
    """Sends what the store tells, from entering until leaving the block."""

    def __init__(self, house: Standing, account: Account) -> None:
        self._house = house
        self._account = account
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque()
        self._under_way = 0
        self._held = False
        self._over = False
        self._state = threading.Condition()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        #: Entries of files that this says True of are never sent.
        self.loses: Callable[[str], bool] = lambda ref: False
        #: A change is sent this long after its save.
        self.delay_s = 0.0

    def __enter__(self) -> Sender:
        self._house.mlm.store.listeners.append(self._hear)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._house.mlm.store.listeners.remove(self._hear)
        with self._state:
            self._over = True
            self._state.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is sent while the block runs; what came up meanwhile is one batch afterwards."""
        self._held = True
        try:
            yield
        finally:
            with self._state:
                self._held = False
                self._state.notify_all()

    def wait_until_idle(self, within_s: float = 60.0) -> None:
        """Wait until every change was answered 2xx. Raises NotWithin."""
        until(lambda: not self._waiting and not self._under_way, "every entry is answered 2xx", within_s)

    def _hear(self, change: Change) -> None:
        if self.loses(change.version.content.ref):
            return
        with self._state:
            self._waiting.append((time.monotonic() + self.delay_s, entry(change, self._house.mlm.dials.now)))
            self._state.notify()

    def _send(self) -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {WEBHOOK_TOKEN}"}, timeout=10) as client:
            while (batch := self._next()) is not None:
                began = time.monotonic()
                while not self._over:
                    if self._post(client, batch):
                        self._account.delivered.append((began, time.monotonic() - began))
                        break
                    time.sleep(AGAIN_S)
                with self._state:
                    self._under_way -= 1

    def _next(self) -> list[dict[str, Any]] | None:
        with self._state:
            while not self._over:
                batch: list[dict[str, Any]] = []
                while self._is_due() and len(batch) < LARGEST_BATCH:
                    batch.append(self._waiting.popleft()[1])
                if batch:
                    self._under_way += 1
                    return batch
                self._state.wait(LOOK_EVERY_S)
            return None

    def _is_due(self) -> bool:
        return bool(self._waiting) and not self._held and self._waiting[0][0] <= time.monotonic()

    def _post(self, client: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        try:
            answer = client.post(self._house.url + WEBHOOK, json=batch)
        except httpx.TransportError:
            return self._account.answered(NO_ANSWER, batch, False)
        return self._account.answered(answer.status_code, batch, "retry-after" in answer.headers)


def _key(entry: dict[str, Any]) -> Key:
    return entry["referenceNumber"], entry["values"]["sLastModifiedTimestamp"]
