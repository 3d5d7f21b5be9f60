"""`freshness worker`: reads what is stale back from MLM."""

from __future__ import annotations

import os

import click

from freshness.settings import load
from jobs import log
from jobs.house import House
from jobs.worker import GRACE_S, WorkerProcess


@click.command()
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="For slices.")
@click.option("--prompt-threads", type=click.IntRange(1, 16), default=2, show_default=True, help="For captures.")
@click.option("--grace", type=click.FloatRange(0, 600), default=GRACE_S, show_default=True, help="Seconds to end in.")
def command(threads: int, prompt_threads: int, grace: float) -> int:
    """Read what is stale back from MLM, slice by slice, until SIGTERM.

    Running slices then finish, fetched ones are handed back. More load: more of these; calls to MLM keep to
    MLM_MAX_CONCURRENCY and MLM_RATE over all of them together.
    """
    settings = load(os.environ)
    settings.need("DATABASE_URL", "REDIS_URL", "FIELD_KEYS")
    log.configure("worker")
    house = House(settings, "worker", threads=threads + prompt_threads)
    house.declare()
    house.beat()
    worker = WorkerProcess(
        house.broker,
        prompt_threads=prompt_threads,
        bulk_threads=threads,
        grace_s=grace,
        on_tick=house.beat,
        stop=house.stopping,
    )
    code = worker.run()
    house.leave()
    house.traces.end()
    return code
