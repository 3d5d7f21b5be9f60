"""PostgreSQL and Redis: whether they can be reached, are of a version that works, and go by our clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import redis
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from redis.connection import SSLConnection
from sqlalchemy.exc import SQLAlchemyError

from jobs.broker import connect
from jobs.house import House
from migrations.upgrade import alembic_config

from .finding import Finding, fail, ok, warn

OLDEST_POSTGRESQL, OLDEST_REDIS = 150_000, (6, 2)

#: Clocks further apart than this are worth a look. Queues take a worker for dead that seems silent for 10 s, and read
#: that off the clocks of their machines.
SKEW_S, WORST_SKEW_S = 1.0, 5.0

_OUR_OWN = ("localhost", "127.0.0.1", "::1")

#: Seconds since 1970.
Clock = Callable[[], float]

_POSTGRESQL = """
SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
       current_setting('transaction_read_only')::boolean AS read_only,
       to_regclass('alembic_version') IS NOT NULL AS ours
"""


def postgresql(house: House) -> list[Finding]:
    """Version, whether it can be written to, and whether its tables are those of this program."""
    try:
        with house.engine.connect() as conn:
            row = conn.exec_driver_sql(_POSTGRESQL).one()
            steps = conn.exec_driver_sql("SELECT version_num FROM alembic_version") if row.ours else None
            step = steps.scalar() if steps else None
            on_the_way = encryption("PostgreSQL", *_way_to_postgresql(conn), "sslmode=verify-full&sslrootcert=…")
    except SQLAlchemyError as error:
        return [fail("PostgreSQL", why(error), "is it up, and does DATABASE_URL name it?")]
    if row.number < OLDEST_POSTGRESQL:
        first = fail("PostgreSQL", row.version, "use PostgreSQL 15 or newer")
    elif row.read_only:
        first = fail("PostgreSQL", f"{row.version}, read only", "let DATABASE_URL name the primary, not a standby")
    else:
        first = ok("PostgreSQL", row.version)
    return [first, on_the_way, _migrations(house, step)]


def encryption(about: str, host: str, encrypted: bool, parameters: str) -> Finding:
    """Whether others on the network can read along; `parameters` of the URL see to it that they cannot."""
    about = f"{about} on the way"
    if encrypted:
        return ok(about, "TLS")
    if host in _OUR_OWN or host.startswith("/"):
        return ok(about, "does not leave this machine")
    return warn(about, "plain: borrowers' data crosses the network", f"end its URL with ?{parameters}")


def _way_to_postgresql(conn: sa.Connection) -> tuple[str, bool]:
    link = conn.connection.driver_connection
    return (link.pgconn.host.decode(), link.pgconn.ssl_in_use) if isinstance(link, psycopg.Connection) else ("", True)


def _migrations(house: House, step: str | None) -> Finding:
    scripts = ScriptDirectory.from_config(alembic_config(house.settings.database_url or ""))
    head, known = scripts.get_current_head(), {each.revision for each in scripts.walk_revisions()}
    if step == head:
        return ok("migrations", f"up to date, at step {head}")
    if step is None:
        return fail("migrations", "the database has none of our tables", "run: freshness migrate")
    if step not in known:
        newer = f"at step {step}, of a newer version than this one, which knows {head}"
        return warn("migrations", newer, "in the midst of an upgrade that is as it should be; else upgrade this one")
    return fail("migrations", f"at step {step} of {head}", "run: freshness migrate")


def redis_server(house: House) -> list[Finding]:
    """Version, whether it takes writes, and whether it may throw our keys away."""
    try:
        with connect(house.settings.redis_url or "", patient=False) as client:
            told: Mapping[str, Any] = client.info()
            link = client.connection_pool
            host, encrypted = link.connection_kwargs.get("host", "/"), issubclass(link.connection_class, SSLConnection)
    except redis.RedisError as error:
        away = "the receiver goes on, orders wait as rows; nothing is read from MLM until it is back"
        return [fail("Redis", why(error), away)]
    on_the_way = encryption("Redis", host, encrypted, "ssl_ca_certs=…, and begin it with rediss://")
    return [_redis_version(told), on_the_way, _persistence(told), _eviction(told)]


def _redis_version(told: Mapping[str, Any]) -> Finding:
    number = str(told.get("redis_version", "0"))
    name = f"Valkey {told['valkey_version']}" if "valkey_version" in told else f"Redis {number}"
    if tuple(int(part) for part in number.split(".")[:2]) < OLDEST_REDIS:
        return fail("Redis", name, "use Redis 6.2 or newer, or Valkey")
    if told.get("role") == "slave":
        return fail("Redis", f"{name}, a replica", "let REDIS_URL name the primary")
    if told.get("cluster_enabled"):
        return fail("Redis", f"{name}, in cluster mode", "use one that is not: its scripts touch keys of many slots")
    return ok("Redis", name)


def _persistence(told: Mapping[str, Any]) -> Finding:
    about = "Redis persistence"
    if told.get("rdb_last_bgsave_status") == "err" or told.get("aof_last_write_status") == "err":
        return fail(about, "its last write to disk failed", "free its disk: Redis may refuse every write until then")
    if told.get("aof_enabled"):
        return ok(about, "append-only file")
    return ok(about, "none needed: what a restart forgets are bells, and the sweep rings again within seconds")


def _eviction(told: Mapping[str, Any]) -> Finding:
    about, policy, limit = "Redis eviction", told.get("maxmemory_policy", "noeviction"), told.get("maxmemory", 0)
    if policy == "noeviction":
        return ok(about, policy)
    set_it = "set maxmemory-policy noeviction: bells and the budget of calls to MLM could be thrown away"
    return warn(about, f"{policy}{'' if limit else ', without a maxmemory'}", set_it)


def clocks(house: House, ours: Clock = time.time) -> Finding:
    """How far PostgreSQL's and Redis' clocks are from ours. Both could be reached a moment ago.

    Raises:
        RedisError, SQLAlchemyError: one cannot be reached any more.
    """
    with house.engine.connect() as conn, connect(house.settings.redis_url or "", patient=False) as client:
        conn.exec_driver_sql("SELECT 1")
        client.ping()  # both are connected from here on: what follows takes a round trip
        ahead = {
            "PostgreSQL": _ahead(lambda: _postgresql_s(conn), ours),
            "Redis": _ahead(lambda: _redis_s(client), ours),
        }
    told = ", ".join(f"{name} {s:+.2f} s" for name, s in ahead.items())
    worst = max(abs(s) for s in ahead.values())
    set_them = "set the machines' clocks by NTP: a worker may be taken for dead by another's clock"
    if worst > WORST_SKEW_S:
        return fail("clocks", f"from ours: {told}", set_them)
    return warn("clocks", f"from ours: {told}", set_them) if worst > SKEW_S else ok("clocks", f"from ours: {told}")


def _ahead(theirs: Clock, ours: Clock) -> float:
    """By how many seconds another clock is ahead of ours, the way to it taken out."""
    before = ours()
    at = theirs()
    return at - (before + ours()) / 2


def _postgresql_s(conn: sa.Connection) -> float:
    return float(conn.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one())


def _redis_s(client: redis.Redis) -> float:
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1_000_000


def why(error: Exception) -> str:
    """A server's own first line: SQLAlchemy's quotes statements."""
    return (str(getattr(error, "orig", None) or error) or type(error).__name__).splitlines()[0]
