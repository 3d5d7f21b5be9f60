"""What was asked of the sandbox: a bounded log of calls, counters, and how many were under way at once."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

_KEPT_CALLS = 10_000


@dataclass(slots=True)
class Call:
    """One SOAP call. `outcome`: ok, not_found, refused, ticket, or the form of fault it was struck with."""

    at: float
    operation: str = ""
    ref: str = ""
    ids: tuple[str, ...] = ()
    soap: str = ""
    outcome: str = "ok"
    stamp: str = ""
    behind: bool = False
    duration_ms: float = 0.0


class CallLog:
    """The calls, oldest first. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self.clear()

    def clear(self) -> None:
        """Forget the calls and set every counter to zero; calls under way stay counted as such."""
        with self._lock:
            self.calls: deque[Call] = deque(maxlen=_KEPT_CALLS)
            self.by_operation: Counter[str] = Counter()
            self.by_outcome: Counter[str] = Counter()
            self.under_way = getattr(self, "under_way", 0)
            self.most_under_way = self.under_way
            self.sign_ins = self.sign_ins_refused = self.edocs = self.total = 0

    @contextmanager
    def call(self) -> Iterator[Call]:
        """Log one call around its handling, which fills it in."""
        call = Call(at=time.time())
        started = time.perf_counter()
        with self._lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield call
        finally:
            call.duration_ms = round((time.perf_counter() - started) * 1000, 3)
            with self._lock:
                self.under_way -= 1
                self.total += 1
                self.calls.append(call)
                self.by_operation[call.operation] += 1
                self.by_outcome[call.outcome] += 1
                self._lock.notify_all()

    def signed_in(self, good: bool) -> None:
        """Count a sign-in."""
        with self._lock:
            self.sign_ins += good
            self.sign_ins_refused += not good

    def edocs_called(self) -> None:
        """Count a call to the e-docs service, which nobody should make."""
        with self._lock:
            self.edocs += 1

    def wait_for(self, total: int, timeout_s: float) -> bool:
        """Wait until `total` calls have ended since the last clear; False when time runs out."""
        with self._lock:
            return self._lock.wait_for(lambda: self.total >= total, timeout_s)

    def newest(self, operation: str = "", ref: str = "", limit: int = 1000) -> list[Call]:
        """The newest calls, oldest first, of one operation or file if named."""
        with self._lock:
            found = [
                call
                for call in self.calls
                if (not operation or call.operation == operation) and (not ref or call.ref == ref)
            ]
        return found[-limit:] if limit else []

    def counters(self) -> dict[str, Any]:
        """Every counter, as JSON has it."""
        with self._lock:
            return {
                "total": self.total,
                "under_way": self.under_way,
                "most_under_way": self.most_under_way,
                "by_operation": dict(self.by_operation),
                "by_outcome": dict(self.by_outcome),
                "sign_ins": self.sign_ins,
                "sign_ins_refused": self.sign_ins_refused,
                "edocs": self.edocs,
            }


def call_json(call: Call) -> dict[str, Any]:
    """A call as JSON has it."""
    return {**asdict(call), "ids": list(call.ids)}
