"""Who is measured at receiving: the product's receiver, and a peer; each with a database of its own."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import redis

from migrations.upgrade import upgrade
from receiver.webhook import PATH

from . import files
from .ground import Ground, execute, settle
from .load import request
from .processes import running, says
from .stage import free_port, in_the_end

TOKEN = "benchmark"
HEADERS = {"authorization": f"Bearer {TOKEN}"}

#: As many as it takes to use the machine: one uses no more than a core.
RECEIVERS = os.cpu_count() or 1

#: How many more of one kind than of the other there may be: what the last batches under way make uneven.
UNEVEN = 50 * 64


class Ours:
    """The product's receivers, one a core at one port, and their database. `pids`: their processes, while they run;
    `port`: where they listen."""

    port: int

    def __init__(self, here: Ground, known: int, name: str = "ours") -> None:
        self.here, self.known = here, known
        self.pids: list[int] = []
        self.file = here.directory / f"{name}.requests"
        self.url = here.database(name)
        upgrade(self.url)
        execute(self.url, files.RECEIPT_WEEKS)
        execute(self.url, files.CALIBRATED)
        self.fill()
        self.environment = {
            **os.environ,
            "DATABASE_URL": self.url,
            "REDIS_URL": here.servers.redis_url,
            "MLM_WEBHOOK_TOKEN": TOKEN,
            "FIELD_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        }

    def fill(self) -> None:
        """Put the files there that changes are told of, and leave no work behind."""
        execute(self.url, files.LOANS, held=files.HELD, files=self.known)
        execute(self.url, files.THEIR_NUMBERS, held=files.HELD)
        execute(self.url, files.THEIR_CONCERNS, held=files.HELD, concerns=files.ACTIVE)
        settle(self.url)

    @contextmanager
    def receiver(self) -> Iterator[int]:
        """The receivers, for as long as the block runs; their port."""
        self.port = free_port()
        environment = {**self.environment, "PORT": str(self.port)}
        argv = [sys.executable, "-m", "console", "receiver", "--share-port"]
        with ExitStack() as stack:
            logs = [self.here.directory / f"receiver-{number}.log" for number in range(RECEIVERS)]
            for log in logs:
                log.unlink(missing_ok=True)
            stack.callback(self.pids.clear)
            are_up = [says(log, "Application startup complete") for log in logs]

            def all_are_up() -> bool:
                return all(is_up() for is_up in are_up)

            for log in logs:  # none is waited for before the last has been started
                ready = all_are_up if log is logs[-1] else lambda: True
                self.pids.append(stack.enter_context(running(argv, log, environment, ready)))
            yield self.port

    def make_fresh(self) -> None:
        """Bring everything back to where a turn begins: files are fresh, receipts and bells none."""
        execute(self.url, files.FRESH_AGAIN, held=files.HELD)
        execute(self.url, files.FORGET)
        with redis.Redis.from_url(self.here.servers.redis_url) as client:
            client.flushall()
        settle(self.url)

    def check(self, answered: int, sent: int) -> None:
        """Every entry answered has its receipt, and at most those sent; half of them were dispatched as newer, half
        held; every order is there.

        Raises:
            RuntimeError: not so: what was measured is not what is said.
        """
        in_the_end(lambda: sum(count for *_, count in self.received()[0]), sent)
        rows, orders = self.received()
        counts = {(outcome, reason): count for outcome, reason, count in rows}
        newer = counts.get(("dispatched", "newer"), 0)
        held = sum(count for (outcome, _), count in counts.items() if outcome == "held")
        sound = newer + held == sum(counts.values()) and orders == newer and abs(newer - held) <= UNEVEN
        if not sound or not answered <= newer + held <= sent:
            raise RuntimeError(f"{answered} of {sent} entries were answered, and left {counts} and {orders} orders")

    def received(self) -> tuple[list[tuple[Any, ...]], int]:
        """How many receipts of each outcome and reason there are since the round began, and how many orders."""
        return execute(self.url, files.RECEIVED), execute(self.url, files.ORDERED)[0][0]

    def requests(self, port: int, batch: int, count: int) -> Iterator[bytes]:
        """So many deliveries of so many entries."""
        changes = files.changes(self.known)
        for _ in range(count):
            body = f"[{','.join(files.text(*change) for change in islice(changes, batch))}]"
            yield request(port, PATH, HEADERS, body.encode())


#: What runs a peer: on this database, at this port, its log there.
Serving = Callable[[str, int, Path], AbstractContextManager[None]]


class Peer:
    """A peer that stays up while others are measured; idle, it costs nothing."""

    def __init__(self, here: Ground, stack: ExitStack, name: str, serving: Serving) -> None:
        self.url, self.port = here.database(name), free_port()
        self.file = here.directory / f"{name}.requests"
        stack.enter_context(serving(self.url, self.port, here.directory / f"{name}.log"))

    def execute(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement in its database."""
        return execute(self.url, query, **parameters)
