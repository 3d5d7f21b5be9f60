"""The open loop, the same for every party: a process of its own that sends requests rendered beforehand.

    python -m benchmarks.generator < job.json        python -m benchmarks.generator --answer PORT

It sends at a fixed rate over as many connections as are free, and what finds none free waits; its time is counted from
when it should have left, so that a server that stalls is charged for all who would have come meanwhile. The clock that
releases them ticks once a millisecond, for every party alike. With `turn_s` what was due in even and in odd turns is
told apart too: something else is done in every other one. `--answer` is a server that does nothing, by which what the
load itself takes is told. Closed loops are wrk's (docs/decisions/0022-load.md).
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httptools
import uvloop

TICK_S = 0.001
LAST_ANSWERS_WITHIN_S = 20.0
#: What is due so soon after a turn began may wait behind the one before it.
SPILL_S = 0.5
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Load:
    """One run: the requests still to send, and the time that each answer took."""

    def __init__(self, requests: Iterator[bytes], rate: float) -> None:
        self.requests = requests
        self.ends_at = math.inf
        self.statuses: Counter[int] = Counter()
        self.ended, self.took = array("d"), array("d")
        self.free: list[Connection] = []
        self.under_way = 0
        self.late: deque[float] = deque()
        self.rate = rate
        self.ran_out = False
        self.over = asyncio.Event()

    def next_from(self, connection: Connection) -> None:
        """A connection is free: its next request, if it is to have one."""
        if self.late:
            return self.send(connection, self.late.popleft())
        self.free.append(connection)
        if not self.under_way and time.perf_counter() >= self.ends_at:
            self.over.set()
        return None

    def send(self, connection: Connection, since: float) -> None:
        """Send the next request, its time counted from `since`."""
        request = next(self.requests, None)
        if request is None:
            self.ran_out = True
            self.ends_at = min(self.ends_at, time.perf_counter())
            self.late.clear()
            if not self.under_way:
                self.over.set()
            return
        self.under_way += 1
        connection.send(request, since)

    def answered(self, connection: Connection, status: int) -> None:
        """An answer has come whole."""
        now = time.perf_counter()
        self.under_way -= 1
        self.statuses[status] += 1
        self.ended.append(now)
        self.took.append(now - connection.since)
        self.next_from(connection)

    def lost(self, waited: bool) -> None:
        """A connection was closed by the other side; under a request that counts as status 0."""
        if waited:
            self.under_way -= 1
            self.statuses[0] += 1
        self.over.set()

    async def release(self, began: float) -> None:
        """The clock: lets go whatever is due, on time or not."""
        count = 0
        while (now := time.perf_counter()) < self.ends_at:
            while (due := began + count / self.rate) <= now:
                count += 1
                if self.free:
                    self.send(self.free.pop(), due)
                else:
                    self.late.append(due)
            await asyncio.sleep(TICK_S)


class Connection(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.since = 0.0
        self.waits = False

    def connection_made(self, transport: Any) -> None:
        """Ready to send."""
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def send(self, request: bytes, since: float) -> None:
        """Send one request."""
        self.since, self.waits = since, True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.waits = False
        self.load.answered(self, self.parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side has closed."""
        self.load.lost(self.waits)


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run one job; what came of it, over the window that begins after the warm-up."""
    loop = asyncio.get_running_loop()
    requests = list(packed(Path(job["requests"]).read_bytes()))
    load = Load(iter(requests), job["rate"])
    connections = []
    for _ in range(job["connections"]):
        _, connection = await loop.create_connection(lambda: Connection(load), "127.0.0.1", job["port"])
        connections.append(connection)
    began = time.perf_counter()
    first, load.ends_at = began + job["warm_s"], began + job["warm_s"] + job["seconds"]
    load.free += connections
    await load.release(began)
    if not load.under_way:
        load.over.set()
    await asyncio.wait_for(load.over.wait(), job["warm_s"] + job["seconds"] + LAST_ANSWERS_WITHIN_S)
    while load.under_way:
        await asyncio.sleep(0.01)
    return _outcome(load, first, job.get("turn_s"))


def turn_of(moment_s: float, turn_s: float) -> int:
    """Which turn a moment of `time.perf_counter` falls into: 0 or 1."""
    return int(moment_s / turn_s) % 2


def _outcome(load: Load, first: float, turn_s: float | None) -> dict[str, Any]:
    took = sorted(took for ended, took in zip(load.ended, load.took, strict=True) if ended - took >= first)
    return {
        "answered": sum(load.statuses.values()),
        "statuses": dict(load.statuses),
        "ran_out": load.ran_out,
        "per_s": len(took) / (load.ends_at - first),
        "ms": _ms(took),
        "turns_ms": _turns_ms(load, first, turn_s) if turn_s else [],
    }


def _turns_ms(load: Load, first: float, turn_s: float) -> list[dict[str, float]]:
    turns: tuple[list[float], list[float]] = ([], [])
    for ended, took in zip(load.ended, load.took, strict=True):
        due = ended - took
        if due >= first and due % turn_s >= SPILL_S:
            turns[turn_of(due, turn_s)].append(took)
    return [_ms(sorted(each)) for each in turns]


SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def _ms(ordered: list[float]) -> dict[str, float]:
    return {name: _at(ordered, share) * 1000 for name, share in SHARES.items()}


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def pack(requests: Iterator[bytes]) -> bytes:
    """Requests as one file holds them."""
    return b"".join(part for request in requests for part in (struct.pack("<I", len(request)), request))


def packed(data: bytes) -> Iterator[bytes]:
    """The requests of such a file."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


class Answerer(asyncio.Protocol):
    """A server's side that reads a request and answers it with nothing."""

    def connection_made(self, transport: Any) -> None:
        """Ready to read."""
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self.transport.write(ANSWER)


async def _answer(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    """One job from standard input, its outcome to standard output; or the server that does nothing."""
    if sys.argv[1:2] == ["--answer"]:
        uvloop.run(_answer(int(sys.argv[2])))
    else:
        print(json.dumps(uvloop.run(run(json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
