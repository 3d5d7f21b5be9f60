"""What is counted for `/metrics`: every metric by name, with its labels and its line of help.

One table, so that alerts, the dashboard and the documentation can be held to it. Labels are words of ours from a short
list; never a file, a reference, or anything that came from outside. Counted metrics are kept by each process (`Tally`)
and added up in PostgreSQL (`ledger.tallies`); measured ones say how things stand (`ledger.measures`).
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from .concerns import ALL
from .guard import Outcome

#: One number of one metric: the metric's name, and the labels' values in the order of its declaration.
Series = tuple[str, tuple[str, ...]]

#: Where a histogram keeps its sum, in the place of a bucket's bound.
SUM = "sum"


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that is counted. `known`: values of its one label that stand there as 0 before the first is counted."""

    name: str
    help: str
    labels: tuple[str, ...]
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """Lengths of time in seconds, counted by how long; `bounds` ascending, what is longer counts in `+Inf`."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]

    def bucket(self, seconds: float) -> str:
        """The bound of the bucket that this length falls into."""
        place = bisect_left(self.bounds, seconds)
        return f"{self.bounds[place]:g}" if place < len(self.bounds) else "+Inf"


@dataclass(frozen=True, slots=True)
class Gauge:
    """How something stands."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


CONCERNS = tuple(concern.value for concern in ALL)
BACKSTOPS = ("poll", "rounds", "audit")

DELIVERIES = Counter(
    "freshness_deliveries", "Deliveries to MLM's webhook, by the status they were answered with", ("status",), ("200",)
)
ENTRIES = Counter(
    "freshness_receipts",
    "Entries of MLM's webhook that were decided, by outcome",
    ("outcome",),
    tuple(outcome.value for outcome in Outcome),
)
SENDER_DELIVERIES = Counter(
    "freshness_sender_deliveries",
    "Deliveries to another sender's webhook, by the status they were answered with",
    ("sender", "status"),
)
SENDER_ENTRIES = Counter(
    "freshness_sender_receipts", "Entries of other senders that were decided, by outcome", ("sender", "outcome")
)
SLICES = Counter("freshness_slices", "Runs of slices that ended, by concern and how", ("concern", "outcome"))
SERVED_S = Histogram(
    "freshness_served_seconds",
    "From the oldest webhook that had ordered a concern to its rows landed, once a commit",
    ("concern",),
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600),
)
CALLS = Counter("freshness_mlm_calls", "Calls to MLM that ended, by operation and result", ("operation", "result"))
CALL_S = Histogram(
    "freshness_mlm_call_seconds",
    "How long calls to MLM took, sign-in included, the wait for a place left out",
    ("operation",),
    (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
BACKSTOP_LOOKED = Counter(
    "freshness_backstop_looked", "Files or list entries that a backstop looked at", ("backstop",), BACKSTOPS
)
BACKSTOP_ORDERED = Counter("freshness_backstop_ordered", "Orders that a backstop placed", ("backstop",), BACKSTOPS)
BACKSTOP_HEALED = Counter(
    "freshness_backstop_healed",
    "Orders of a backstop that brought rows where nothing else had asked for them",
    ("backstop",),
    BACKSTOPS,
)
BACKSTOP_MISSED = Counter(
    "freshness_backstop_missed",
    "Rows that differed from MLM in files that called themselves fresh; there should be none",
    ("backstop",),
    BACKSTOPS,
)
BACKSTOP_FAILED = Counter("freshness_backstop_failed", "What a backstop could not look at", ("backstop",), BACKSTOPS)

COUNTED: tuple[Counter | Histogram, ...] = (
    DELIVERIES, ENTRIES, SENDER_DELIVERIES, SENDER_ENTRIES, SLICES, SERVED_S, CALLS, CALL_S,
    BACKSTOP_LOOKED, BACKSTOP_ORDERED, BACKSTOP_HEALED, BACKSTOP_MISSED, BACKSTOP_FAILED,
)  # fmt: skip

STALE_FILES = Gauge("freshness_stale_files", "Files with an order that not every concern has served")
OLDEST_S = Gauge("freshness_stale_oldest_seconds", "Age of the oldest order that is not served; 0 if none is stale")
UNCONFIRMED = Gauge("freshness_unconfirmed_files", "Files that are not stale, and wait for their confirmation")
CAPTURES = Gauge("freshness_captures_waiting", "Own writes that have exited and wait for their capture")
STALE = Gauge("freshness_stale_slices", "Files of which this concern is stale", ("concern",))
FAILING = Gauge("freshness_failing_slices", "Those of them that have failed and are to be tried again", ("concern",))
GIVEN_UP = Gauge("freshness_given_up_slices", "Those of them that were given up, until a redrive", ("concern",))
CONCERN_OLDEST_S = Gauge("freshness_stale_slices_oldest_seconds", "Age of the oldest of them", ("concern",))
NEWEST_RECEIPT = Gauge("freshness_last_receipt_timestamp_seconds", "When the newest entry of a webhook was received")
MEASURED_AT = Gauge("freshness_measured_timestamp_seconds", "When a scheduler counted what is stale last")
CALIBRATED = Gauge("freshness_stamps_alike", "1 while webhooks' stamps are known to equal reads'; 0: all entries order")
PROCESSES = Gauge("freshness_processes", "Workers and schedulers that live", ("process",))
BELLS = Gauge("freshness_queue_messages", "Bells in a queue, by where they stand", ("queue", "state"))
WAIT_S = Gauge("freshness_queue_oldest_wait_seconds", "How long the bell at a queue's head has been due", ("queue",))
CIRCUIT = Gauge("freshness_circuit_state", "1 for the state that the circuit to MLM is in", ("state",))
CIRCUIT_OPEN_S = Gauge("freshness_circuit_open_seconds", "How long the circuit has not been closed; 0 while it is")
SPOOLED = Gauge("freshness_spool_batches", "Batches in the SPOOL_DIR of the process that was asked", ("state",))
SPOOL_WRITABLE = Gauge("freshness_spool_writable", "1 if the SPOOL_DIR of the process that was asked can be written to")
UP = Gauge("freshness_up", "1 if the process that was asked reaches this part in time", ("part",))

GAUGES: tuple[Gauge, ...] = (
    STALE_FILES, OLDEST_S, UNCONFIRMED, CAPTURES, STALE, FAILING, GIVEN_UP, CONCERN_OLDEST_S, NEWEST_RECEIPT,
    MEASURED_AT, CALIBRATED, PROCESSES, BELLS, WAIT_S, CIRCUIT, CIRCUIT_OPEN_S, SPOOLED, SPOOL_WRITABLE, UP,
)  # fmt: skip


class Tally:
    """What one process has counted and not handed over yet. Safe to use from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Series, float] = {}

    def count(self, metric: Counter, *labels: str, by: float = 1) -> None:
        """Count something once, or `by` so much."""
        self._add({(metric.name, labels): by})

    def observe(self, metric: Histogram, *labels: str, seconds: float) -> None:
        """Count a length of time."""
        self._add({(metric.name, (*labels, metric.bucket(seconds))): 1, (metric.name, (*labels, SUM)): seconds})

    def take(self) -> dict[Series, float]:
        """What was counted since it was taken last; whoever takes it hands it over, or puts it back."""
        with self._lock:
            taken, self._counts = self._counts, {}
            return taken

    def put_back(self, taken: Mapping[Series, float]) -> None:
        """What was taken could not be handed over: the next one to take it has it too."""
        self._add(taken)

    def _add(self, counts: Mapping[Series, float]) -> None:
        with self._lock:
            for series, by in counts.items():
                self._counts[series] = self._counts.get(series, 0) + by
