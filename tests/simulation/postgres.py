"""PostgreSQL for the simulation: real, with the simulation's clock, and every statement a point where turns change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from .scheduler import Crashed, Scheduler

_SET_NOW = "SELECT set_config('mlm.now', %s, false)"

#: Raised inside the very transaction that breaks a rule of docs/protocol.md: "within an epoch none goes back".
GUARDS = """
CREATE OR REPLACE FUNCTION simulation_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch OR NEW.ordered < OLD.ordered OR NEW.served < OLD.served OR NEW.epoch = OLD.epoch AND (
        NEW.mark < OLD.mark OR NEW.captured < OLD.captured OR NEW.wanted < OLD.wanted
        OR NEW.mark IS NULL AND OLD.mark IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'a number of file % went back: % -> %', OLD.ref,
            (OLD.epoch, OLD.mark, OLD.captured, OLD.wanted, OLD.ordered, OLD.served),
            (NEW.epoch, NEW.mark, NEW.captured, NEW.wanted, NEW.ordered, NEW.served) USING ERRCODE = 'SIM01';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION simulation_concern() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.served < OLD.served THEN
        RAISE EXCEPTION '`served` of % of file % went back: % -> %', OLD.concern, OLD.file_id, OLD.served, NEW.served
            USING ERRCODE = 'SIM01';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER simulation BEFORE UPDATE ON file_freshness FOR EACH ROW EXECUTE FUNCTION simulation_file();
CREATE OR REPLACE TRIGGER simulation BEFORE UPDATE ON file_concerns FOR EACH ROW EXECUTE FUNCTION simulation_concern();
"""
RULE_BROKEN = "SIM01"

#: Whoever has a lock here stands still for as long as another runs: to wait longer than this changes nothing.
_SHORTEST_WAIT = "SET LOCAL lock_timeout = 1"

_BLOCKED = "SELECT pg_blocking_pids(%s) <> '{}'"

#: Rows that a migration has put there.
_KEPT = ("alembic_version", "event_counter", "stamp_calibration", "backstop_turns")
_TABLES = """
SELECT string_agg(quote_ident(relname), ', ') FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace AND relname <> ALL (%s)
"""


class Clock:
    """The one clock of a history: seconds since 1970, ours, PostgreSQL's and, but for its own offset, MLM's."""

    def __init__(self, begin: dt.datetime) -> None:
        self.now = begin.timestamp()

    def __call__(self) -> float:
        return self.now

    @property
    def text(self) -> str:
        """As PostgreSQL reads it."""
        return dt.datetime.fromtimestamp(self.now, dt.UTC).isoformat()


class Postgres:
    """One database, prepared once, used by one history after the other."""

    def __init__(self, url: str) -> None:
        self._conninfo = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.admin = psycopg.connect(self._conninfo, autocommit=True)
        self._locks = psycopg.connect(self._conninfo, autocommit=True)
        self.clock: Clock = Clock(dt.datetime.now(dt.UTC))
        self.scheduler: Scheduler | None = None
        with self.admin.transaction():
            self.admin.execute(GUARDS)
        #: Statements and commits of actors so far.
        self.statements = self.commits = 0
        self.engine = sa.create_engine(
            "postgresql+psycopg://", creator=self._connect, poolclass=sa.QueuePool, pool_size=40, max_overflow=0
        )

        self._looking = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"), connect_args={"options": "-c timezone=UTC"}
        )

    def empty(self) -> None:
        """As it was when its migrations had run, and the stamps are known to be the same on both paths."""
        tables = self.admin.execute(_TABLES, [list(_KEPT)]).fetchone()
        assert tables is not None
        self.admin.execute(f"TRUNCATE {tables[0]} RESTART IDENTITY CASCADE")
        self.admin.execute("UPDATE event_counter SET last_number = 0")
        self.admin.execute(
            "UPDATE stamp_calibration SET auto_resolution_s = 1, alike_at = now(), unlike = 0, cleared_at = NULL"
        )
        self.admin.execute("UPDATE backstop_turns SET begun_at = '-infinity', holder = NULL")

    def rows(self, query: str, *parameters: Any) -> list[Any]:
        """What a query of the simulation itself shows, at the simulation's time."""
        self.admin.execute(_SET_NOW, [self.clock.text])
        return self.admin.execute(query, parameters or None).fetchall()

    @contextmanager
    def looking(self) -> Iterator[sa.Connection]:
        """A connection of the simulation's own, at the simulation's time. Nothing on it is a point."""
        with self._looking.connect() as conn:
            conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, false)", {"now": self.clock.text})
            yield conn

    def is_blocked(self, backend: int) -> bool:
        """Whether this backend waits for another."""
        row = self._locks.execute(_BLOCKED, [backend]).fetchone()
        return bool(row and row[0])

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        self._looking.dispose()
        self.admin.close()
        self._locks.close()

    def point(self, at: str) -> None:
        """A point where turns change, if a history runs."""
        if self.scheduler is not None:
            self.scheduler.point(at)

    def _connect(self) -> psycopg.Connection[Any]:
        # No limits of time: how long an actor stands still is the lot's business, not the clock's on the wall.
        connection = _Connection.connect(self._conninfo, options="-c timezone=UTC", cursor_factory=_Cursor)
        connection.postgres = self
        return connection


class _Connection(psycopg.Connection[Any]):
    """A connection that sees the simulation's clock, and whose commit is a point."""

    postgres: Postgres
    told_now: str = ""
    impatient: bool = False

    def commit(self) -> None:
        if self.info.transaction_status != TransactionStatus.IDLE:
            self.postgres.point("commit")
        super().commit()
        self.postgres.commits += 1
        self._ended()

    def rollback(self) -> None:
        super().rollback()
        self.told_now = ""
        self._ended()

    def _ended(self) -> None:
        self.impatient = False
        if self.postgres.scheduler is not None:
            self.postgres.scheduler.released()


class _Cursor(psycopg.Cursor[Any]):
    """A cursor each of whose statements is a point, and sees the simulation's clock."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> _Cursor:
        connection = self.connection
        assert isinstance(connection, _Connection)
        postgres = connection.postgres
        scheduler = postgres.scheduler
        if scheduler is None:
            return super().execute(query, params, **options)
        if scheduler.is_dead():
            raise Crashed
        if str(query).startswith("SET LOCAL lock_timeout"):
            query, connection.impatient = _SHORTEST_WAIT, True
        scheduler.using(connection.info.backend_pid, connection.impatient)
        scheduler.point(_named(query))
        postgres.statements += 1
        if str(query).startswith("ROLLBACK TO"):
            connection.told_now, connection.impatient = "", False
        now = postgres.clock.text
        if connection.told_now != now and connection.info.transaction_status != TransactionStatus.INERROR:
            super().execute(_SET_NOW, [now])
            connection.told_now = now
        return super().execute(query, params, **options)


def _named(query: Any) -> str:
    """A statement, short, for the trace."""
    words = str(query).split()
    return " ".join(words[:6])
