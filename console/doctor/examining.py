"""The whole examination, part by part: what cannot be reached leaves out only what needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import redis
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from freshness.errors import SettingError
from freshness.rules import Rules, rules_of
from freshness.settings import load
from jobs.house import House

from . import backstopped, configured, keys, mlm, running, servers
from .finding import Finding, State, fail


def examine(environ: Mapping[str, str]) -> Iterator[tuple[str, list[Finding]]]:
    """Each part's title and findings, as soon as it was looked at. What is wrong is a finding, never an error."""
    yield "Settings", configured.findings(environ)
    settings = load(configured.readable(environ))
    house = House(settings, "doctor", threads=2)
    rules, names = _rules(house)
    postgresql = servers.postgresql(house) if settings.database_url else []
    redis_server = servers.redis_server(house) if settings.redis_url else []
    tables, both = _all_well(postgresql), _all_well(postgresql) and _all_well(redis_server)
    clocks = _asked("clocks", lambda: [servers.clocks(house)]) if both else []
    yield "Servers", [*names, *postgresql, *redis_server, *clocks]
    if both:
        yield "MLM", _asked("MLM", lambda: _in_postgresql(house, lambda conn: mlm.findings(house, rules, conn)))
    spool = running.spool(settings)
    if tables:
        sealed = partial(keys.findings, settings)
        yield "Keys", _asked("sealed values", lambda: _in_postgresql(house, sealed))
        processes = _asked("processes", lambda: _in_postgresql(house, running.processes))
        yield "Running", [*processes, *spool]
        yield "Webhook", _asked("webhook", lambda: _in_postgresql(house, lambda conn: running.webhook(conn, rules)))
        work = _asked("work", lambda: _in_postgresql(house, lambda conn: running.work(conn, rules)))
        yield "Work", [*work, *(_asked("queues", lambda: [running.queues(settings)]) if both else [])]
        yield "Backstops", _asked("backstops", lambda: _in_postgresql(house, partial(backstopped.findings, settings)))
    elif spool:
        yield "Running", spool


def _rules(house: House) -> tuple[Rules, list[Finding]]:
    """The rules in force; if MLM_NAMES cannot be read, those without it, and a finding that says so."""
    try:
        return house.rules, []
    except SettingError as error:
        return rules_of(house.settings), [fail("MLM_NAMES", str(error).removeprefix("MLM_NAMES: "))]


def _all_well(found: list[Finding]) -> bool:
    return bool(found) and not any(each.state is State.FAIL for each in found)


def _in_postgresql(house: House, look: Callable[[Connection], list[Finding]]) -> list[Finding]:
    with house.engine.begin() as conn:
        return look(conn)


def _asked(about: str, ask: Callable[[], list[Finding]]) -> list[Finding]:
    """What was found, or that it could not be: a server has gone meanwhile, or refuses."""
    try:
        return ask()
    except (SQLAlchemyError, redis.RedisError) as error:
        return [fail(about, f"cannot be looked at: {servers.why(error)}")]
