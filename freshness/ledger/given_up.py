"""Given up: concerns that failed eight times in a row and rest, and how they get another chance.

A concern is given up for the newest order of its file. So an order is all it takes: it counts from 0 again
(docs/protocol.md, "The state of a file"). The order is the file's, like every other: all its concerns are read again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from ..readiness import GIVE_UP_AFTER
from ..rules import Rules
from .orders import Placed, place
from .rows import concern_rows, file_under_lock, slice_states

CAUSE = "redrive"

# `error` is the last error without the file's reference in it, so that the same error of many files is one.
_GIVEN_UP = f"""
SELECT f.id AS file_id, f.ref, c.concern, c.attempts, c.first_error_at, c.last_error_at,
       coalesce(c.last_error, 'no error was written down') AS last_error,
       coalesce(replace(c.last_error, f.ref, '…'), 'no error was written down') AS error
FROM file_freshness f JOIN file_concerns c ON c.file_id = f.id
WHERE f.served < f.ordered AND c.served < f.ordered AND c.tried_order = f.ordered AND c.attempts >= {GIVE_UP_AFTER}
  AND c.concern = ANY(%(active)s)
"""  # noqa: S608 - a statement of ours

_LIST = f"""
SELECT file_id, ref, concern, attempts, first_error_at, last_error_at, last_error
FROM ({_GIVEN_UP}) g
WHERE (%(concern)s::text IS NULL OR concern = %(concern)s)
  AND (%(ref)s::text IS NULL OR ref = %(ref)s)
  AND (%(error)s::text IS NULL OR position(lower(%(error)s) IN lower(last_error)) > 0
       OR position(lower(%(error)s) IN lower(error)) > 0)
  AND (%(same_error)s::text IS NULL OR error = %(same_error)s)
ORDER BY file_id, concern LIMIT %(limit)s::bigint
"""  # noqa: S608 - a statement of ours

_BY_ERROR = f"""
SELECT concern, error, count(*) AS files, min(last_error_at) AS oldest, max(last_error_at) AS newest
FROM ({_GIVEN_UP} ORDER BY f.id LIMIT %(among)s::bigint) g GROUP BY concern, error ORDER BY files DESC, concern, error
"""  # noqa: S608 - a statement of ours


@dataclass(frozen=True, slots=True)
class Filter:
    """Which to list; None asks for all, and as a limit for however many there are. `error` is a part of the error's
    text, letter case aside; `same_error` is the whole of it, as `SameError` has it."""

    concern: str | None = None
    error: str | None = None
    ref: str | None = None
    limit: int | None = None
    same_error: str | None = None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """One concern of a file that was given up: how often it was tried, when first and last, and its last error."""

    file_id: int
    ref: str
    concern: str
    attempts: int
    first_error_at: dt.datetime | None
    last_error_at: dt.datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class SameError:
    """Concerns of many files that were given up for the same error; "…" stands for the file's reference."""

    concern: str
    error: str
    files: int
    oldest: dt.datetime | None
    newest: dt.datetime | None


def listed(conn: Connection, rules: Rules, wanted: Filter) -> list[GivenUp]:
    """What was given up and passes the filter, file by file in ascending id."""
    rows = conn.exec_driver_sql(_LIST, {**_parameters(rules), **asdict(wanted)})
    return [GivenUp(*row) for row in rows]


def by_error(conn: Connection, rules: Rules, among: int | None = None) -> list[SameError]:
    """What was given up, counted by concern and error, the most frequent first; of the first so many, if `among`."""
    return [SameError(*row) for row in conn.exec_driver_sql(_BY_ERROR, {**_parameters(rules), "among": among})]


def redrive(conn: Connection, rules: Rules, file_id: int) -> Placed | None:
    """Order a file of which something is given up; None if by now nothing is. Takes the file's lock."""
    file = file_under_lock(conn, file_id)
    if file is None:
        return None
    states = slice_states(conn, rules, file, concern_rows(conn, rules, file))
    if not any(state.given_up for state in states.values()):
        return None
    return place(conn, file_id, CAUSE)


def _parameters(rules: Rules) -> dict[str, object]:
    return {"active": [concern.value for concern in rules.active]}
