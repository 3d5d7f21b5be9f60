"""Announcements: rows written with what causes them, numbered after that commit, kept for 24 hours.

Numbers are given in a transaction of their own, one at a time under the counter's lock: who reads in order of number
never misses an event whose transaction committed late.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

FETCHING, HYDRATED, FRESH, PURGED = "fetching", "hydrated", "fresh", "purged"

KEPT_HOURS = 24
TICKET_LIFE_S = 60


@dataclass(frozen=True, slots=True)
class Event:
    """One announcement: `kind` is fetching, hydrated, fresh or purged; `at` is UTC."""

    id: int
    kind: str
    ref: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Events in order of number; `reset` if what follows the reader's last id is no longer known."""

    events: tuple[Event, ...]
    reset: bool = False


_WRITE = "INSERT INTO file_events (kind, ref) SELECT unnest(%(kinds)s::text[]), %(ref)s"

_COUNTER = "SELECT last_number FROM event_counter FOR UPDATE"

# In a statement of its own: its snapshot must be younger than the counter's lock.
_NUMBER = """
WITH waiting AS (
    SELECT id, row_number() OVER (ORDER BY id) AS place FROM file_events WHERE number IS NULL ORDER BY id LIMIT 1000
), numbered AS (
    UPDATE file_events e SET number = %(last)s + waiting.place FROM waiting WHERE e.id = waiting.id
    RETURNING e.number, e.kind, e.ref, e.at
), counted AS (
    UPDATE event_counter SET last_number = last_number + (SELECT count(*) FROM waiting)
)
SELECT number, kind, ref, at FROM numbered ORDER BY number
"""

_AFTER = """
SELECT number, kind, ref, at FROM file_events
WHERE number > %(after)s AND (%(ref)s::text IS NULL OR ref = %(ref)s) ORDER BY number LIMIT %(limit)s
"""

_SPAN = """
SELECT (SELECT min(number) FROM file_events WHERE number IS NOT NULL) AS oldest, last_number AS newest
FROM event_counter
"""


_ISSUE_TICKET = """
INSERT INTO event_tickets (digest, expires_at) VALUES (%(digest)s, mlm_now() + make_interval(secs => %(life)s))
"""


def write(conn: Connection, ref: str, kinds: Sequence[str]) -> None:
    """Announce something of a file, with the transaction that causes it."""
    if kinds:
        conn.exec_driver_sql(_WRITE, {"ref": ref, "kinds": list(kinds)})


def number_waiting(conn: Connection) -> list[Event]:
    """Number the events whose transactions have committed, and return them for sending. In its own transaction."""
    last = conn.exec_driver_sql(_COUNTER).scalar_one()
    return [Event(*row) for row in conn.exec_driver_sql(_NUMBER, {"last": last})]


def newest_id(conn: Connection) -> int:
    """The number of the newest event ever numbered; 0 if there was none."""
    return int(conn.exec_driver_sql(_SPAN).one().newest)


def after(conn: Connection, event_id: int | None, ref: str | None = None, limit: int = 500) -> Page:
    """Events after this id (None: from now on), of one file if `ref` is given.

    An id that is older than what is kept, or newer than anything numbered, gets a reset.
    """
    span = conn.exec_driver_sql(_SPAN).one()
    if event_id is None:
        return Page(())
    oldest = span.oldest if span.oldest is not None else span.newest + 1
    if event_id > span.newest or event_id < oldest - 1:
        return Page((), reset=True)
    rows = conn.exec_driver_sql(_AFTER, {"after": event_id, "ref": ref, "limit": limit})
    return Page(tuple(Event(*row) for row in rows))


def forget_old(conn: Connection) -> int:
    """Drop what is older than 24 hours, and tickets that ran out. Returns how many events went."""
    conn.exec_driver_sql("DELETE FROM event_tickets WHERE expires_at < mlm_now()")
    gone = conn.exec_driver_sql(
        "DELETE FROM file_events WHERE number IS NOT NULL AND at < mlm_now() - make_interval(hours => %(hours)s)",
        {"hours": KEPT_HOURS},
    )
    return gone.rowcount


def issue_ticket(conn: Connection) -> str:
    """A ticket for one event stream: good for 60 seconds, once."""
    ticket = secrets.token_urlsafe(32)
    conn.exec_driver_sql(_ISSUE_TICKET, {"digest": _digest(ticket), "life": TICKET_LIFE_S})
    return ticket


def redeem_ticket(conn: Connection, ticket: str) -> bool:
    """Whether the ticket was good; it is used up by this."""
    gone = conn.exec_driver_sql(
        "DELETE FROM event_tickets WHERE digest = %(digest)s RETURNING expires_at > mlm_now()",
        {"digest": _digest(ticket)},
    )
    return bool(gone.scalar())


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
