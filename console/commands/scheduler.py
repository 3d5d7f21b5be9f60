"""`freshness scheduler`: rings for what is due and was not heard, and keeps the house tidy."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import click

from console.alive import ALIVE, beating
from freshness.settings import load
from jobs import log
from jobs.house import House
from jobs.schedule import make_schedule


@click.command()
@ALIVE
def command(alive: Path | None) -> None:
    """Sweep every 2 seconds for what is due, confirm what is quiet, prune weekly, until SIGTERM.

    One is enough; a second one does no harm.
    """
    settings = load(os.environ)
    settings.need("DATABASE_URL", "REDIS_URL")
    log.configure("scheduler")
    house = House(settings, "scheduler", threads=4)
    ticks = house.ticks()
    ticks["beat"] = replace(ticks["beat"], call=beating(alive, ticks["beat"].call))
    schedule = make_schedule(ticks)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: house.stopping.set())
    schedule.start()
    while not house.stopping.wait(60):
        pass
    schedule.shutdown(wait=True)
    house.leave()
