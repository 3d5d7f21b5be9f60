"""Many histories, one after the other, on every core: `python -m tests.simulation.soak --seeds 2000`.

Prints what broke, with the seed that plays it again, and ends with a table; not 0 if anything broke.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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

    def add(self, told: Told) -> None:
        """One more history."""
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


def _play(where: tuple[str, str, str], seeds: multiprocessing.Queue[int | None], told: multiprocessing.Queue[Told]) -> None:
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
        players = [
            context.Process(target=_play, args=((servers.database_url, f"soak_{n}", servers.redis_url), seeds, told))
            for n in range(processes)
        ]
        for player in players:
            player.start()
        while total.histories < count:
            one = told.get()
            total.add(one)
            if one.broken:
                print(f"\nseed {one.seed}: {one.broken}", flush=True)
            if sys.stderr.isatty() or total.histories % 50 == 0:
                rate = total.histories / (time.monotonic() - began)
                print(f"\r{total.histories} of {count}, {rate:.2f} a second, {len(total.broken)} broken", end="", file=sys.stderr, flush=True)
        for player in players:
            player.join()
    _tell(total, time.monotonic() - began, as_json)
    return 1 if total.broken else 0


def _tell(total: Sum, took_s: float, as_json: bool) -> None:
    figures = {
        "histories": total.histories,
        "broken": len(total.broken),
        "seconds": round(took_s, 1),
        "histories a second": round(total.histories / took_s, 2),
        "statements": total.statements,
        "steps": dict(total.steps.most_common()),
    }
    print("\n" + (json.dumps(figures) if as_json else "\n".join(f"{name:20} {value}" for name, value in figures.items())))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many histories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one alone and print its trace")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
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
