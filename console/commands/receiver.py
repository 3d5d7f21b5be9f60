"""`freshness receiver`: takes the webhook, portal calls and event streams, and shows the web console."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from dataclasses import replace

import click
import structlog
from sqlalchemy.exc import SQLAlchemyError

from console.apart import console_apart
from console.errors import CannotListen
from freshness.ledger import held_keys
from freshness.settings import load
from jobs import log as logs
from jobs.house import House
from receiver.app import make_app
from receiver.doors import Door
from receiver.problems import postgres_is_away
from receiver.server import serve

log = structlog.get_logger(__name__)

#: Requests at the database at once in one process.
THREADS = 16

#: Threads that nothing holds up have ended by then.
THREADS_END_WITHIN_S = 0.5


@click.command()
@click.option("--host", help="Address to listen on; HOST by default.")
@click.option("--port", type=click.IntRange(0, 65_535), help="PORT by default.")
@click.option("--grace", type=click.FloatRange(0, 600), default=20, show_default=True, help="Seconds to end in.")
@click.option("--share-port", is_flag=True, help="Let other receivers that say so listen at this address too.")
def command(host: str | None, port: int | None, grace: float, share_port: bool) -> None:
    """Take MLM's webhook, portal calls and event streams over HTTP, until SIGTERM, and show the web console.

    More load: more of these, on one PostgreSQL and one Redis. One uses no more than one core; with --share-port several
    serve one address, and a new one can begin before an old one ends.
    """
    settings = load(os.environ)
    settings.need("DATABASE_URL", "REDIS_URL")
    settings = replace(settings, host=host or settings.host, port=settings.port if port is None else port)
    logs.configure("receiver")
    house = House(settings, "receiver", threads=THREADS)
    if settings.field_keys:
        _hold_keys(house)
    door = Door.of((), proxies=settings.trusted_proxies)
    with console_apart(settings, lambda request: str(door.caller(request))) as console:
        app = make_app(
            settings=settings,
            rules=house.rules,
            engine=house.engine,
            bell=house.bell,
            redis_url=settings.redis_url,
            threads=THREADS,
            more_routes=console,
            process=house.worker_id,
            traces=house.traces,
        )
        gc.freeze()  # what is made by now stays: to look through it for garbage held deliveries up for 50 ms (measured)
        try:
            serve(app, settings.host, settings.port, grace_s=round(grace), share_port=share_port)
        except OSError as error:
            raise CannotListen(settings.host, settings.port, error) from None
    house.traces.end()
    _leave_behind_what_hangs()


def _hold_keys(house: House) -> None:
    """Begin with no wrong key. Without PostgreSQL a receiver begins all the same: it has its spool.

    Raises:
        KeyNotHeld: what was sealed last was sealed with a key that FIELD_KEYS does not hold.
    """
    try:
        with house.engine.begin() as conn:
            held_keys.must_hold(conn, house.keys, house.settings.field_keys_lost)
    except SQLAlchemyError as error:
        if not postgres_is_away(error):
            raise
        log.warning("receiver.keys_not_looked_at", error=type(error).__name__)


def _leave_behind_what_hangs() -> None:
    """End now, though PostgreSQL may hold up threads for longer than the grace. Their senders were told to try again.

    What such a thread was at is rolled back, or was committed.
    """
    hanging = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    deadline = time.monotonic() + THREADS_END_WITHIN_S
    for each in hanging:
        each.join(max(0.0, deadline - time.monotonic()))
    if any(each.is_alive() for each in hanging):
        logging.shutdown()
        os._exit(0)
