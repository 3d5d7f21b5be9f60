"""Browsing receipts: a page at a time, newest first, in a time that does not depend on how many there are.

A page begins behind the last receipt of the page before, so it costs what it shows. A filter that no index answers is
held against the newest `LOOK` receipts behind that place and no more: a page may then be short, and says how far it
looked, and the next one goes on there. Of one file or one loan number, and of the rare outcomes, every receipt is
found at once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ..guard import Outcome
from .files import find_by_number, find_by_ref

#: Receipts that one page looks through at most: some 5 ms of PostgreSQL, which deliveries share.
LOOK = 5_000

#: Where receipts are looked for first: to plan for two weeks of them takes half a millisecond, for 19 two (measured).
RECENT = dt.timedelta(days=8)

#: Files that bear one loan number: more than one only after MLM gave a number again.
MOST_FILES = 5

#: Outcomes so rare that they are looked up by their index (`ix_mlm_webhook_receipts_outcome`).
RARE = (Outcome.UNKNOWN_FILE, Outcome.UNSUPPORTED_EVENT, Outcome.MALFORMED)

_COLUMNS = (
    "id, received_at, file_id, reference_number, loan_number, loan_id, lead_id, event_type, outcome, reason, "
    "last_modified_at, last_modified_text, mark_before, order_number, served_at, data_updated_at, rows_changed, "
    "replay_of, sender, subject, subject_id"
)

_ONE = f"SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE received_at = %(at)s AND id = %(id)s"  # noqa: S608

_SAME_ORDER = f"""
SELECT {_COLUMNS} FROM mlm_webhook_receipts
WHERE file_id = %(file_id)s AND order_number = %(order)s AND received_at BETWEEN %(since)s AND %(until)s
ORDER BY received_at LIMIT %(limit)s
"""  # noqa: S608

_ORDER = "SELECT placed_at, due_at, cause FROM refresh_orders WHERE file_id = %(file_id)s AND number = %(order)s"

_RUNS = """
SELECT concern, order_number, started_at, finished_at, outcome, stamp, rows_changed, error FROM slice_runs
WHERE file_id = %(file_id)s AND order_number >= %(order)s
    AND finished_at BETWEEN %(since)s AND coalesce(%(until)s::timestamptz, mlm_now())
ORDER BY finished_at, id LIMIT %(limit)s
"""


# Receipts that no file leads to. The second leaves out what the first has.
_STRAY = (
    "reference_number = %(search)s",
    "loan_number = %(search)s AND reference_number IS DISTINCT FROM %(search)s",
)


class Place(NamedTuple):
    """A receipt's place in time: the key of its row."""

    at: dt.datetime
    id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which receipts; None asks for all. `search` is a whole reference or loan number, `slower_s` leaves those that
    took longer to be served (or wait for longer), `changed` those that changed our data, or did not."""

    search: str | None = None
    outcome: str | None = None
    sender: str | None = None
    event: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    slower_s: float | None = None
    changed: bool | None = None
    unserved: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One page of receipts, newest first; where the next one begins (None: this is the last), and, if it was looked
    through so many that it broke off there, the time that it got to."""

    receipts: Sequence[dict[str, Any]]
    next: Place | None
    looked_back_to: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Consequences:
    """What one receipt came to: its order, the runs of slices that served it, what else the same order served."""

    order: dict[str, Any] | None
    runs: Sequence[dict[str, Any]]
    same_order: Sequence[dict[str, Any]]


def page(conn: Connection, wanted: Wanted, after: Place | None = None, limit: int = 50, look: int = LOOK) -> Found:
    """One page behind `after`, or the newest."""
    recent = _recent(wanted, after)
    found = _page(conn, recent, after, limit, look) if recent else None
    return found if found and found.next else _page(conn, wanted, after, limit, look)


def _recent(wanted: Wanted, after: Place | None) -> Wanted | None:
    """The same within the last `RECENT`, where all that a page looks at is likely to be; None if it is not."""
    if wanted.search is not None or wanted.outcome in RARE:
        return None
    since = (after.at if after else wanted.until or dt.datetime.now(dt.UTC)) - RECENT
    return None if wanted.since is not None and wanted.since >= since else replace(wanted, since=since)


def _page(conn: Connection, wanted: Wanted, after: Place | None, limit: int, look: int) -> Found:
    filters, parameters = _filters(wanted)
    branches, more = _branches(conn, wanted, _bounds(wanted, after))
    parameters |= more | {"limit": limit + 1, "look": look if filters else limit + 1}
    parameters |= {"since": wanted.since, "until": wanted.until, "at": after and after.at, "id": after and after.id}
    # Not materialized: it stops at the last receipt that the page shows, which most filters find soon.
    query = f"""
SELECT * FROM ({_looked(branches)} LIMIT %(look)s) looked {"WHERE" if filters else ""} {" AND ".join(filters)}
ORDER BY received_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608 - statements of ours; all that came from outside is a parameter
    found = conn.exec_driver_sql(query, parameters)
    names = tuple(found.keys())
    shown = [dict(zip(names, row, strict=True)) for row in found.all()]
    if len(shown) > limit:
        return Found(shown[:limit], Place(shown[limit - 1]["received_at"], shown[limit - 1]["id"]), None)
    last = conn.exec_driver_sql(_last_looked(branches), parameters).one_or_none() if filters else None
    if last is None:
        return Found(shown, None, None)
    # The second statement counts what came meanwhile: nothing that is shown comes again for it.
    place = min([Place(*last), *(Place(row["received_at"], row["id"]) for row in shown[-1:])])
    return Found(shown, place, place.at)


def one(conn: Connection, place: Place) -> dict[str, Any] | None:
    """The receipt at this place."""
    row = conn.exec_driver_sql(_ONE, {"at": place.at, "id": place.id}).mappings().one_or_none()
    return dict(row) if row else None


def consequences(conn: Connection, receipt: dict[str, Any], limit: int = 60) -> Consequences:
    """What it came to, as far as the trails reach back."""
    order = receipt["order_number"]
    if order is None or receipt["file_id"] is None:
        return Consequences(None, (), ())
    parameters = {
        "file_id": receipt["file_id"], "order": order, "since": receipt["received_at"], "until": receipt["served_at"],
        "limit": limit,
    }  # fmt: skip
    placed = conn.exec_driver_sql(_ORDER, parameters).mappings().one_or_none()
    runs = [dict(row) for row in conn.exec_driver_sql(_RUNS, parameters).mappings()]
    begun = placed["placed_at"] if placed else receipt["received_at"]
    around = {
        "since": begun - dt.timedelta(minutes=1),
        "until": (receipt["served_at"] or dt.datetime.now(dt.UTC)) + dt.timedelta(minutes=1),
    }
    same = conn.exec_driver_sql(_SAME_ORDER, {**parameters, **around}).mappings()
    others = [dict(row) for row in same if row["id"] != receipt["id"]]
    return Consequences(dict(placed) if placed else None, runs, others)


def replayed(conn: Connection, receipt: dict[str, Any]) -> dict[str, Any] | None:
    """The receipt that this one replays, found by what both name: there is no index on ids."""
    if receipt["replay_of"] is None or receipt["reference_number"] is None:
        return None
    found = page(conn, Wanted(search=receipt["reference_number"]), limit=1000, look=1000)
    return next((each for each in found.receipts if each["id"] == receipt["replay_of"]), None)


def _branches(conn: Connection, wanted: Wanted, bounds: str) -> tuple[list[str], dict[str, Any]]:
    """The queries that together hold all candidates, each by an index and in order."""
    if wanted.search is not None:
        file = find_by_ref(conn, wanted.search)
        ids = [file.id] if file else find_by_number(conn, wanted.search)[:MOST_FILES]
        of_files = [_branch(f"file_id = %(file_{i})s", bounds) for i in range(len(ids))]
        strays = [_branch(f"file_id IS NULL AND {condition}", bounds) for condition in _STRAY]
        return [*of_files, *strays], {"search": wanted.search} | {f"file_{i}": each for i, each in enumerate(ids)}
    if wanted.outcome in RARE:
        return [_branch(f"outcome = '{Outcome(wanted.outcome).value}'", bounds)], {}
    return [_branch("true", bounds)], {}


def _looked(branches: Sequence[str]) -> str:
    return f"SELECT * FROM ({' UNION ALL '.join(branches)}) b ORDER BY received_at DESC, id DESC"  # noqa: S608


def _last_looked(branches: Sequence[str]) -> str:
    """The place of the last receipt that a page looks at; no row if there are fewer."""
    return f"SELECT received_at, id FROM ({_looked(branches)} OFFSET %(look)s - 1 LIMIT 1) last"  # noqa: S608


def _branch(condition: str, bounds: str) -> str:
    return f"""
(SELECT {_COLUMNS} FROM mlm_webhook_receipts WHERE {condition} {bounds}
 ORDER BY received_at DESC, id DESC LIMIT %(look)s)"""  # noqa: S608


def _bounds(wanted: Wanted, after: Place | None) -> str:
    """The bounds in time that there are, and no others: an index is used for a plain comparison only."""
    bounds = ""
    if wanted.since is not None:
        bounds += " AND received_at >= %(since)s"
    if wanted.until is not None:
        bounds += " AND received_at < %(until)s"
    if after is not None:
        bounds += " AND received_at <= %(at)s AND (received_at, id) < (%(at)s, %(id)s::bigint)"
    return bounds


def _filters(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    """The conditions that are held against what was looked at, and their parameters."""
    filters: list[str] = []
    if wanted.outcome is not None and (wanted.search is not None or wanted.outcome not in RARE):
        filters.append("outcome = %(outcome)s")
    if wanted.sender is not None:
        filters.append("sender = %(sender)s")
    if wanted.event is not None:
        filters.append("lower(event_type) = lower(%(event)s)")
    if wanted.slower_s is not None:
        filters.append(
            "order_number IS NOT NULL"
            " AND coalesce(served_at, mlm_now()) - received_at > make_interval(secs => %(slower)s)"
        )
    if wanted.changed is not None:
        filters.append("data_updated_at IS NOT NULL" if wanted.changed else "data_updated_at IS NULL")
    if wanted.unserved:
        filters.append("order_number IS NOT NULL AND served_at IS NULL")
    parameters = {"outcome": wanted.outcome, "sender": wanted.sender, "event": wanted.event}
    return filters, {**parameters, "slower": wanted.slower_s}
