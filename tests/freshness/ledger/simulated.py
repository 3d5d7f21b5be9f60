"""A ledger on real PostgreSQL whose clock stands where the test says: `mlm.now` is set in every transaction."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

import databases
from sqlalchemy import Connection, Engine, event

from freshness.bell import Ring
from freshness.concerns import Concern
from freshness.ledger import (
    batches,
    captures,
    commits,
    confirmations,
    failures,
    files,
    leases,
    own_writes,
    status,
    workers,
)
from freshness.ledger.batches import Decided, Entry
from freshness.ledger.commits import Committed, Landed, Reading
from freshness.ledger.files import FileRef, Owner
from freshness.ledger.leases import Lease, NotNow
from freshness.ledger.orders import Placed
from freshness.ledger.own_writes import Exited
from freshness.ledger.status import FileStatus
from freshness.rules import Rules

#: Our clock when a simulation begins: in a week that the migrated database has a partition for.
BEGIN = dt.datetime.now(dt.UTC).replace(hour=12, minute=0, second=0, microsecond=0)

#: What MLM's stamps are counted from: two days before, so that none is racy that is not meant to be.
NOON = BEGIN - dt.timedelta(days=2)

#: A stamp of this moment: `RECENT + 5` is five seconds after the simulation began.
RECENT = 172_800.0

LOAN_FIELDS, BORROWERS, ASSETS, CONDITIONS, FEES = (
    Concern.LOAN_FIELDS, Concern.BORROWERS, Concern.ASSETS, Concern.CONDITIONS, Concern.FEES,
)  # fmt: skip

#: A lender with few concerns, one of which hangs on another.
FEW = (LOAN_FIELDS, BORROWERS, ASSETS)

LOT = Random(1)

#: The one stored value as it stands once a webhook's stamp has equalled a read's.
CALIBRATED = "UPDATE stamp_calibration SET auto_resolution_s = 1, alike_at = mlm_now(), unlike = 0, cleared_at = NULL"


def empty(engine: Engine) -> None:
    """Take everything out of a database but what its migrations have put there, and what it knows of MLM's stamps."""
    databases.empty(engine)
    with engine.begin() as conn:
        conn.exec_driver_sql("UPDATE event_counter SET last_number = 0")
        conn.exec_driver_sql(CALIBRATED)
        conn.exec_driver_sql("UPDATE backstop_turns SET begun_at = '-infinity', holder = NULL")


def at(seconds: float) -> dt.datetime:
    """The stamp so many seconds after noon."""
    return NOON + dt.timedelta(seconds=seconds)


def text_of(stamp: dt.datetime | float | str | None) -> str | None:
    """A stamp as MLM says it: seconds after noon become ISO 8601; other text stays as it is."""
    if isinstance(stamp, (int, float)):
        stamp = at(stamp)
    return stamp.isoformat() if isinstance(stamp, dt.datetime) else stamp


class Ledger:
    """Verbs of the ledger, each in a transaction of its own, at `now`."""

    def __init__(self, engine: Engine, rules: Rules | None = None) -> None:
        self.engine = engine
        self.rules = rules or Rules(resolution_s=0.004, active=FEW)
        self.now = BEGIN
        self._tokens = itertools.count(1)

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += dt.timedelta(seconds=seconds)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that sees our clock."""
        with self.engine.begin() as conn:
            conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": self.now.isoformat()})
            yield conn

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """What a query shows, as dicts."""
        with self.begin() as conn:
            return [dict(row) for row in conn.exec_driver_sql(query, parameters).mappings()]

    def do(self, statement: str, **parameters: Any) -> None:
        """A statement on the side, as an operator or the portal would run it."""
        with self.begin() as conn:
            conn.exec_driver_sql(statement, parameters)

    def add_file(self, ref: str = "R1", kind: str = "loan") -> int:
        """The portal inserts a loan or lead; its file's id."""
        self.do(f"INSERT INTO {kind}s (mlm_reference_number) VALUES (%(ref)s)", ref=ref)
        return self.number("id", ref)

    def file(self, ref: str = "R1") -> dict[str, Any]:
        """The row of a file."""
        (row,) = self.rows("SELECT * FROM file_freshness WHERE ref = %(ref)s", ref=ref)
        return row

    def number(self, column: str, ref: str = "R1") -> Any:
        """One number of a file."""
        return self.file(ref)[column]

    def concern(self, concern: Concern, ref: str = "R1") -> dict[str, Any]:
        """The row of one concern of a file."""
        query = "SELECT c.* FROM file_concerns c JOIN file_freshness f ON f.id = c.file_id WHERE ref = %(r)s"
        (row,) = self.rows(f"{query} AND concern = %(c)s", r=ref, c=concern.value)
        return row

    def receipts(self, ref: str | None = "R1") -> list[dict[str, Any]]:
        """The receipts of a reference number, in the order they were written."""
        return self.rows(
            "SELECT * FROM mlm_webhook_receipts WHERE reference_number IS NOT DISTINCT FROM %(ref)s ORDER BY id",
            ref=ref,
        )

    def orders(self, ref: str = "R1") -> list[str]:
        """The causes of a file's orders, in their order."""
        query = "SELECT cause FROM refresh_orders WHERE file_id = %(id)s ORDER BY number"
        return [row["cause"] for row in self.rows(query, id=self.number("id", ref))]

    def import_file(self, ref: str = "R1") -> Placed:
        """Somebody imports a file."""
        with self.begin() as conn:
            return files.import_file(conn, ref)

    def receive(self, *entries: Entry) -> Decided:
        """Decide a batch."""
        with self.begin() as conn:
            return batches.receive(conn, self.rules, entries)

    def webhook(self, stamp: float | str | None, ref: str = "R1", event: str = "Modified") -> str:
        """MLM says that a file was changed; the outcome."""
        self.receive(Entry(ref, "2026110096", event, text_of(stamp)))
        return str(self.receipts(ref)[-1]["outcome"])

    def beat(self, worker: str = "w1") -> None:
        """The worker lives."""
        with self.begin() as conn:
            workers.beat(conn, worker, "here", 1)

    def take(self, concern: Concern, ref: str = "R1", worker: str = "w1") -> Lease | NotNow:
        """Take a slice, by a worker that lives; with shared reads, the first of what was taken."""
        taken = self.take_all(concern, ref, worker)
        return taken if isinstance(taken, NotNow) else taken[0]

    def take_all(self, concern: Concern, ref: str = "R1", worker: str = "w1") -> list[Lease] | NotNow:
        """Take a slice, by a worker that lives, with what is read in the same call."""
        self.beat(worker)
        with self.begin() as conn:
            token = uuid.UUID(int=next(self._tokens))
            return leases.take(conn, self.rules, self.number("id", ref), concern, worker, token)

    def lease(self, concern: Concern, ref: str = "R1", worker: str = "w1") -> Lease:
        """Take a slice that is to be had."""
        taken = self.take(concern, ref, worker)
        assert isinstance(taken, Lease), taken
        return taken

    def reading(self, stamp: float | str | None, asked: dt.datetime | None = None) -> Reading:
        """An answer of MLM's that was asked for, and came, just now."""
        return Reading(text_of(stamp), asked or self.now, self.now)

    def commit(
        self,
        lease: Lease,
        stamp: float | str | None,
        *,
        rows: int = 0,
        asked: dt.datetime | None = None,
        owner: Owner | None = None,
    ) -> Committed:
        """Commit a read, as `jobs` does: thrown away if it is older than what is held."""
        reading = self.reading(stamp, asked)
        with self.begin() as conn:
            if not commits.is_worth_landing(self.rules, lease, reading):
                return failures.thrown_away(conn, self.rules, lease, reading)
            conn.exec_driver_sql("SET LOCAL mlm.hydrating = 'on'")
            owner = owner or files.owner_of(lease.file) or self._new_loan(conn, lease.file.ref)
            return commits.commit_read(conn, self.rules, lease, reading, Landed(owner, {"loans": rows}))

    def fail(self, lease: Lease, *, final: bool = False) -> Committed:
        """The slice met an error."""
        with self.begin() as conn:
            return failures.failed(conn, self.rules, lease, "McFault: no", final=final, lot=LOT)

    def read(self, concern: Concern, stamp: float | str | None, ref: str = "R1", rows: int = 0) -> Committed:
        """Take a slice and commit what it read."""
        return self.commit(self.lease(concern, ref), stamp, rows=rows)

    def read_all(self, stamp: float | str | None, ref: str = "R1", rows: int = 0) -> None:
        """Every concern is read once, at this stamp."""
        for concern in self.rules.active:
            self.read(concern, stamp, ref, rows)

    def settled(self, stamp: float = 0, ref: str = "R1", kind: str = "loan") -> int:
        """A file that is fresh at this stamp."""
        file_id = self.add_file(ref, kind)
        with self.begin() as conn:
            files.refresh(conn, self.rules, FileRef(kind, ref))  # type: ignore[arg-type]
        owner = Owner(kind, self.number(f"{kind}_id", ref))  # type: ignore[arg-type]
        for concern in self.rules.active:
            self.commit(self.lease(concern, ref), stamp, owner=owner)
        assert self.state(ref) == "fresh", self.status(ref)
        return file_id

    def register(self, ref: str = "R1", *, capture: bool = True) -> int:
        """The portal begins a write."""
        with self.begin() as conn:
            return own_writes.register(conn, self.rules, FileRef("loan", ref), capture)

    def leave(self, own_write_id: int, ref: str = "R1", *, ok: bool = True) -> Exited:
        """The portal's write has ended."""
        with self.begin() as conn:
            return own_writes.exit_own_write(conn, self.rules, FileRef("loan", ref), own_write_id, ok)

    def own_write(self, own_write_id: int) -> dict[str, Any]:
        """The row of an own write."""
        (row,) = self.rows("SELECT * FROM own_writes WHERE id = %(id)s", id=own_write_id)
        return row

    def status(self, ref: str = "R1") -> FileStatus:
        """How fresh a file is."""
        with self.begin() as conn:
            return status.freshness_of(conn, self.rules, ref)

    def state(self, ref: str = "R1") -> str:
        """How fresh a file is, in one word."""
        return self.status(ref).state

    def _new_loan(self, conn: Connection, ref: str) -> Owner:
        made = conn.exec_driver_sql(
            "INSERT INTO loans (mlm_reference_number) VALUES (%(ref)s) RETURNING id", {"ref": ref}
        )
        return Owner("loan", made.scalar_one())


def due(ledger: Ledger) -> list[Ring]:
    """The confirmations that are due now."""
    with ledger.begin() as conn:
        return confirmations.due(conn, ledger.rules)


def confirm(ledger: Ledger, stamp: float | str | None) -> tuple[Ring, ...]:
    """A confirmation meets this stamp; its rings."""
    with ledger.begin() as conn:
        asking = confirmations.begin(conn, ledger.number("id"))
        assert asking is not None
        return confirmations.finish(conn, ledger.rules, asking, text_of(stamp))


def own_write_captured_at(ledger: Ledger, stamp: float) -> None:
    """The portal writes, and MLM shows this stamp after it."""
    own_write = ledger.register()
    ledger.leave(own_write)
    with ledger.begin() as conn:
        begun = captures.begin(conn, own_write)
        assert begun is not None
        captures.finish(conn, ledger.rules, begun, text_of(stamp))


def not_found(ledger: Ledger, lease: Lease) -> Committed:
    """MLM does not have the file; purged as `jobs` does it, if it is gone."""
    with ledger.begin() as conn:
        done = failures.not_found(conn, ledger.rules, lease)
    if done.outcome != "gone":
        return done
    with ledger.begin() as conn:
        if (owner := files.owner_of(lease.file)) is not None:
            files.mark_owner_deleted(conn, owner)
        own_writes.close_open(conn, lease.file.id)
        return failures.gone(conn, ledger.rules, lease)


def purge(ledger: Ledger) -> None:
    """MLM does not have the file, twice."""
    not_found(ledger, ledger.lease(LOAN_FIELDS))
    ledger.later(61)
    assert not_found(ledger, ledger.lease(LOAN_FIELDS)).outcome == "purged"


def modified(ref: str | None, stamp: float | str | None) -> Entry:
    """One `Modified` entry."""
    return Entry(ref, None, "Modified", text_of(stamp))


def causes(orders: Sequence[str], word: str) -> int:
    """How many of these orders say this word."""
    return sum(word in cause for cause in orders)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements of the block."""
    statements: list[str] = []

    def note(_conn: Connection, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)
