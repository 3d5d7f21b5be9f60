"""`freshness worker`: reads what is stale back from MLM."""

from __future__ import annotations

import os
from pathlib import Path

import click

from console.alive import ALIVE, beating
from freshness.ledger import held_keys
from freshness.settings import load
from jobs import log
from jobs.house import House
from jobs.worker import GRACE_S, WorkerProcess


@click.command()
@click.option("--threads", type=click.IntRange(0, 64), default=8, show_default=True, help="For slices; 0: none.")
@click.option(
    "--prompt-threads", type=click.IntRange(0, 16), default=2, show_default=True, help="For captures; 0: none."
)
@click.option("--grace", type=click.FloatRange(0, 600), default=GRACE_S, show_default=True, help="Seconds to end in.")
@ALIVE
def command(threads: int, prompt_threads: int, grace: float, alive: Path | None) -> int:
    """Read what is stale back from MLM, slice by slice, until SIGTERM.

    Running slices then finish, fetched ones are handed back. More load: more of these; calls to MLM keep to
    MLM_MAX_CONCURRENCY and MLM_RATE over all of them together. Two pools that grow apart: some with
    --prompt-threads 0, some with --threads 0.
    """
    if not threads and not prompt_threads:
        raise click.UsageError("a worker without any thread would do nothing")
    settings = load(os.environ)
    settings.need("DATABASE_URL", "REDIS_URL", "FIELD_KEYS")
    log.configure("worker")
    house = House(settings, "worker", threads=threads + prompt_threads)
    with house.engine.begin() as conn:
        held_keys.must_hold(conn, house.keys, settings.field_keys_lost)
    house.declare()
    house.beat()
    worker = WorkerProcess(
        house.broker,
        prompt_threads=prompt_threads,
        bulk_threads=threads,
        grace_s=grace,
        on_tick=beating(alive, house.beat),
        stop=house.stopping,
    )
    code = worker.run()
    house.leave()
    house.traces.end()
    return code
