"""Many histories, one after the other, on every core: `python -m tests.simulation.soak --seeds 2000`.

Prints what broke, with the seed that plays it again, and ends with a table; not 0 if anything broke.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog

from console.embedded import embedded
from migrations.upgrade import upgrade

from .history import History, Told
from .postgres import Postgres


@dataclass
class Sum:
    """What many histories came to."""

    histories: int = 0
    statements: int = 0
    broken: list[tuple[int, str]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)

    last_broke: bool = False

    def add(self, told: Told) -> None:
        """One more history."""
        self.last_broke = told.broken is not None
        self.histories += 1
        self.statements += told.statements
        self.steps += told.steps
        if told.broken:
            self.broken.append((told.seed, told.broken))


@contextmanager
def database(admin_url: str, name: str) -> Iterator[Postgres]:
    """A migrated database of its own, ready for histories; gone afterwards."""
    url = sa.make_url(admin_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        try:
            upgrade(url)
            postgres = Postgres(url)
            try:
                yield postgres
            finally:
                postgres.close()
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def quiet() -> None:
    """Nothing of ours logs: a history tells itself in its trace."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


#: The URL of a server, the name of the database to make there, and the URL of a Redis.
Where = tuple[str, str, str]


def _play(where: Where, seeds: multiprocessing.Queue[int | None], told: multiprocessing.Queue[Told]) -> None:
    quiet()
    admin_url, name, redis_url = where
    with database(admin_url, name) as postgres:
        while (seed := seeds.get()) is not None:
            told.put(History(postgres, redis_url, seed).run())


def soak(first: int, count: int, processes: int, as_json: bool) -> int:
    """Play `count` histories from seed `first` on; the exit code."""
    began, total = time.monotonic(), Sum()
    with embedded(durable=False) as servers:
        context = multiprocessing.get_context("spawn")
        seeds: multiprocessing.Queue[int | None] = context.Queue()
        told: multiprocessing.Queue[Told] = context.Queue()
        for seed in [*range(first, first + count), *[None] * processes]:
            seeds.put(seed)
        places = [(servers.database_url, f"soak_{number}", servers.redis_url) for number in range(processes)]
        players = [context.Process(target=_play, args=(place, seeds, told)) for place in places]
        for player in players:
            player.start()
        while total.histories < count:
            total.add(_next(told, players))
            _show(total, count, time.monotonic() - began)
        for player in players:
            player.join()
    _tell(total, time.monotonic() - began, as_json)
    return 1 if total.broken else 0


def _next(told: multiprocessing.Queue[Told], players: list[Any]) -> Told:
    """The next history that has ended. Raises RuntimeError if one of those who play them has died."""
    while True:
        try:
            return told.get(timeout=5)
        except queue.Empty:
            if any(player.exitcode for player in players):
                raise RuntimeError("a process that plays histories has died") from None


def _show(total: Sum, count: int, took_s: float) -> None:
    """What broke, at once; and how far it is: on a terminal always, in a log now and then."""
    if total.last_broke:
        seed, why = total.broken[-1]
        print(f"\nseed {seed}: {why}\n  again: python -m tests.simulation.soak --seed {seed}", flush=True)
    line = f"{total.histories} of {count}, {total.histories / took_s:.2f} a second, {len(total.broken)} broken"
    if sys.stderr.isatty():
        print(f"\r{line} ", end="", file=sys.stderr)
    elif total.histories % 50 == 0:
        print(line, file=sys.stderr)


def _tell(total: Sum, took_s: float, as_json: bool) -> None:
    figures = {
        "histories": total.histories,
        "broken": len(total.broken),
        "seconds": round(took_s, 1),
        "histories a second": round(total.histories / took_s, 2),
        "statements": total.statements,
        "things that happened": sum(total.steps.values()),
    }
    if as_json:
        print(json.dumps(figures | {"broken": dict(total.broken), "happened": dict(total.steps)}))
        return
    print()
    for name, value in [*figures.items(), *((f"  {name}", times) for name, times in total.steps.most_common())]:
        print(f"{name:32} {value:>12}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=200, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one alone and print its trace")
    parser.add_argument(
        "--processes",
        type=int,
        default=2 * (os.cpu_count() or 1),
        help="how many at once; two a core, for half of the time PostgreSQL works",
    )
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    given = parser.parse_args()
    if given.seed is not None:
        quiet()
        with embedded(durable=False) as servers, database(servers.database_url, "soak") as postgres:
            told = History(postgres, servers.redis_url, given.seed).run()
        print("\n".join(told.trace))
        print(told.broken or "nothing broke", told.digest)
        return 1 if told.broken else 0
    return soak(given.first, given.seeds, given.processes, given.json)


if __name__ == "__main__":
    sys.exit(main())
