"""What runs and what waits: processes, receipts, stamps, work, and batches on disk."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence

from sqlalchemy import Connection

from console.cells import span
from console.output import cell
from freshness.ledger import backlog, calibration, deliveries, receipts, weeks, workers
from freshness.ledger.rows import resolution_in_force
from freshness.ledger.workers import Process
from freshness.rules import Rules
from freshness.settings import Settings
from jobs.broker import connect
from jobs.inspecting import inspect
from receiver.spool import ASIDE, WAITS

from .finding import Finding, fail, ok, warn

#: A file that is stale for longer is worth a look.
LONG = dt.timedelta(minutes=5)

#: A bell that waits for longer likewise.
LONG_WAIT_S = 60.0

#: The schedule makes so many weeks ahead; with fewer than two it has not run for weeks.
WEEKS_AHEAD = 2


def processes(conn: Connection) -> list[Finding]:
    """Workers and schedulers: who lives, and who died without a word."""
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    heard = workers.heard_of(conn)
    return [
        _kind("workers", "worker", [each for each in heard if each.process == workers.WORKER], now),
        _kind("scheduler", "scheduler", [each for each in heard if each.process == workers.SCHEDULER], now),
    ]


_MISSED = {
    "worker": "nothing is read from MLM",
    "scheduler": "nothing is confirmed, and what was not heard is not rung for again",
}


def _kind(about: str, process: str, heard: Sequence[Process], now: dt.datetime) -> Finding:
    living = [each for each in heard if each.lives]
    if not living:
        last = max((each.beat_at for each in heard), default=None)
        since = f" (the last one was heard of {span(now - last)} ago)" if last else ""
        return fail(about, f"none lives{since}: {_MISSED[process]}", f"run: freshness {process}")
    told = ", ".join(f"{each.host}:{each.pid}" for each in living)
    if dead := [f"{each.host}:{each.pid}" for each in heard if not each.lives]:
        died = f"{len(living)} alive ({told}); ended without a word within the hour: {', '.join(dead)}"
        return warn(about, died, "was it killed, or did it run out of memory? Its log knows")
    return ok(about, f"{len(living)} alive ({told})")


def webhook(conn: Connection, rules: Rules) -> list[Finding]:
    """What has come from MLM, what was refused, what is known of stamps, and whether the weeks to come have tables."""
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    newest = receipts.newest_at(conn)
    refused, last = deliveries.refused_since(conn, now - dt.timedelta(days=1))
    return [_came(newest, now), _refused(refused, last, newest), _stamps(conn, rules), _weeks(conn)]


def _came(newest: dt.datetime | None, now: dt.datetime) -> Finding:
    if newest is None:
        return warn("webhook entries", "none has ever come", "give MLM the address …/api/v1/loans/mlm/webhook")
    return ok("webhook entries", f"the newest came {span(now - newest)} ago")


def _refused(count: int, last: dt.datetime | None, newest: dt.datetime | None) -> Finding:
    if not count or last is None:
        return ok("refused deliveries", "none within a day")
    told = f"{count} within a day, the last at {cell(last)}"
    if newest is not None and newest > last:
        return ok("refused deliveries", f"{told}; one was taken since")
    return warn("refused deliveries", told, "see: freshness doctor --last-delivery")


def _weeks(conn: Connection) -> Finding:
    reach = weeks.reach(conn)
    if reach.strays:
        where = "some lie in the default partition, and cannot be dropped by the week"
        return warn("receipts' weeks", where, "keep a scheduler running; they go by row, with the weekly prune")
    if reach.ahead < WEEKS_AHEAD:
        return warn("receipts' weeks", f"{reach.ahead} made ahead", "run: freshness scheduler; it makes them")
    return ok("receipts' weeks", f"{reach.ahead} made ahead")


def _stamps(conn: Connection, rules: Rules) -> Finding:
    """The resolution in force, and whether webhooks' stamps and reads' are known to be alike."""
    known = calibration.calibration_of(conn)
    resolution_s = resolution_in_force(conn, rules)
    how = "auto" if rules.resolution_s is None else "MLM_STAMP_RESOLUTION"
    told = f"resolution {resolution_s:g} s ({how})"
    if known.alike_at is not None:
        return ok("stamps", f"{told}; webhooks' and reads' are alike, seen at {cell(known.alike_at)}")
    if known.cleared_at is None:
        return ok("stamps", f"{told}; no webhook's has equalled a read's yet: until then every entry is read")
    zone = f"do both name their zone? Those that do not are read as {rules.zone.key} (MLM_STAMP_ZONE)"
    return warn("stamps", f"{told}; webhooks' and reads' are not alike since {cell(known.cleared_at)}", zone)


def work(conn: Connection, rules: Rules) -> list[Finding]:
    """What is stale, and what was given up."""
    seen = backlog.backlog(conn, rules)
    if seen.oldest is None:
        stale = ok("stale files", "none")
    else:
        age = seen.as_of - seen.oldest
        told = f"{seen.stale_files}, the oldest for {span(age)}"
        stale = warn("stale files", told, "see: freshness queues") if age > LONG else ok("stale files", told)
    if not seen.given_up:
        return [stale, ok("given up", "nothing")]
    what = ", ".join(f"{each.given_up} {each.concern}" for each in seen.concerns if each.given_up)
    return [stale, warn("given up", what, "see: freshness queues; then: freshness queues redrive")]


def queues(settings: Settings) -> Finding:
    """How long bells wait.

    Raises:
        RedisError: Redis is away.
    """
    with connect(settings.redis_url or "", patient=False) as client:
        depths = inspect(client).queues
    waiting = sum(each.waiting + each.delayed for each in depths)
    longest_s = max((each.oldest_wait_s for each in depths if each.oldest_wait_s is not None), default=0.0)
    told = f"bells waiting: {waiting}" + (
        f", the oldest for {span(dt.timedelta(seconds=longest_s))}" if waiting else ""
    )
    if longest_s > LONG_WAIT_S:
        return warn("queues", told, "run more workers, or raise MLM_RATE if MLM bears it")
    return ok("queues", told)


def spool(settings: Settings) -> list[Finding]:
    """The directory where batches wait while PostgreSQL is away, if there is one. Nothing is written to it."""
    path = settings.spool_dir
    if path is None:
        return []
    try:
        waiting = sum(name.endswith(WAITS) for name in os.listdir(path))
        aside = len(os.listdir(path / ASIDE)) if (path / ASIDE).exists() else 0
    except FileNotFoundError:
        return [warn("spool", f"{path} is not there yet", "a receiver makes it at its start; does one run here?")]
    except OSError as error:
        return [fail("spool", f"{path}: {error.strerror}", "let the receiver's user read and write there")]
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return [fail("spool", f"{path} may not be written to by this user", "run this as the receiver's user")]
    told = f"{path}: batches waiting: {waiting}, set aside: {aside}"
    if aside:
        return [warn("spool", told, f"look at {path / ASIDE}: moved back up, a batch is tried again")]
    return [warn("spool", told, "a receiver drains it: does one run here?") if waiting else ok("spool", told)]
