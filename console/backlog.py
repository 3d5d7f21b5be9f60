"""The whole backlog on one screen: the queues, whether MLM answers, what is stale, at work and given up."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from freshness.ledger import backlog, given_up, workers
from freshness.ledger.backlog import Backlog, HeldLease
from freshness.ledger.given_up import SameError
from jobs.broker import connect
from jobs.circuit import CircuitState, circuit_state
from jobs.inspecting import Fetched, Inspection, inspect

from . import away
from .cells import second, span
from .output import say, table

if TYPE_CHECKING:
    from jobs.house import House

#: Leases and errors on the screen; --json has all.
MOST_ROWS = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen. `queues` and `circuit` are None if Redis is away, and `away` says how."""

    queues: Inspection | None
    circuit: CircuitState | None
    away: str | None
    behind: Backlog
    given_up: list[SameError]
    leases: list[HeldLease]
    living_workers: int

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts."""
        queues = asdict(self.queues) if self.queues else {"queues": None, "fetched": None}
        return {
            **queues,
            "circuit": asdict(self.circuit) if self.circuit else None,
            "backlog": asdict(self.behind),
            "given_up": [asdict(each) for each in self.given_up],
            "leases": [asdict(each) for each in self.leases],
            "living_workers": self.living_workers,
        }


def look(house: House) -> Seen:
    """Look into PostgreSQL and into Redis. A Redis that is away hides the bells, not what is due.

    Raises:
        OperationalError: PostgreSQL is away.
    """
    import redis

    with house.engine.begin() as conn:
        behind = backlog.backlog(conn, house.rules)
        errors = given_up.by_error(conn, house.rules)
        held = backlog.leases(conn, house.rules)
        living = workers.living(conn)
    try:
        with connect(house.settings.redis_url or "", patient=False) as client:
            return Seen(inspect(client), circuit_state(client), None, behind, errors, held, living)
    except redis.RedisError as error:
        return Seen(None, None, f"Redis: {error}", behind, errors, held, living)


def tell(seen: Seen) -> None:
    """Print it for people. Times are UTC."""
    if seen.queues is not None:
        waits = [(each, each.oldest_wait_s) for each in seen.queues.queues]
        rows = [{**asdict(each), "oldest_waits": None if s is None else _seconds(s)} for each, s in waits]
        table(rows, ("queue", "waiting", "delayed", "in_flight", "dead", "oldest_waits"), alarming=("dead",))
        _tell_of_dead_bells(seen.queues)
    if is_away := away.told(seen.circuit):
        say(f"{is_away}\n")
    _tell_of_files(seen)
    if seen.behind.concerns:
        table(map(_concern(seen.behind.as_of), seen.behind.concerns), _CONCERN, alarming=("failing", "given_up"))
    if seen.given_up:
        _head("Given up, until a redrive (queues redrive --dry-run lists the files)")
        table(map(_error, seen.given_up[:MOST_ROWS]), ("concern", "files", "newest", "error"))
        _and_more(len(seen.given_up))
    if seen.queues is not None and seen.queues.fetched:
        _head("In flight: bells that workers have fetched")
        table(map(_fetched, seen.queues.fetched[:MOST_ROWS]), ("queue", "bells", "worker", "heard_of"))
        _and_more(len(seen.queues.fetched))
    if seen.leases:
        _head("At work, the longest first")
        table(
            (_lease(each, seen.behind.as_of) for each in seen.leases[:MOST_ROWS]), ("file", "concern", "for", "worker")
        )
        _and_more(len(seen.leases))


_CONCERN = ("concern", "stale", "at_work", "failing", "given_up", "oldest")


def _tell_of_dead_bells(seen: Inspection) -> None:
    if dead := sum(each.dead for each in seen.queues):
        say(f"{dead} dead: of a version that no worker here knows. Nothing is lost; they go after a week.\n")


def _tell_of_files(seen: Seen) -> None:
    behind = seen.behind
    if not behind.stale_files:
        said = "No file is stale"
    else:
        number = f"{behind.stale_files} file{'' if behind.stale_files == 1 else 's'}"
        since = f", the oldest for {span(behind.as_of - behind.oldest)}" if behind.oldest else ""
        said = f"{number} stale{since}"
    say(f"{said}; {behind.unconfirmed_files} to be confirmed.")
    if behind.stale_files and not seen.living_workers:
        click.secho("No worker is running: nothing is read until `freshness worker` runs.", fg="red")


def _concern(as_of: dt.datetime) -> Any:
    def shown(each: backlog.ConcernBacklog) -> dict[str, Any]:
        return {**asdict(each), "oldest": span(as_of - each.oldest) if each.oldest else None}

    return shown


def _error(each: SameError) -> dict[str, Any]:
    return {"concern": each.concern, "files": each.files, "newest": second(each.newest), "error": each.error}


def _fetched(each: Fetched) -> dict[str, Any]:
    return {**asdict(each), "heard_of": f"{_seconds(each.silent_s)} ago"}


def _lease(each: HeldLease, as_of: dt.datetime) -> dict[str, Any]:
    worker = each.worker if each.holds else f"{each.worker} (dead: anybody may take it)"
    return {
        "file": each.ref,
        "concern": each.concern,
        "for": span(as_of - each.since) if each.since else None,
        "worker": worker,
    }


def _head(text: str) -> None:
    click.secho(text, bold=True)


def _and_more(number: int) -> None:
    if number > MOST_ROWS:
        say(f"… and {number - MOST_ROWS} more; --json has them all.\n")


def _seconds(seconds: float) -> str:
    return span(dt.timedelta(seconds=seconds))
