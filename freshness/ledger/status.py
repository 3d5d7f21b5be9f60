"""Status: is this file fresh, as of which version, and if not, why? One answer for portal, terminal and pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from ..concerns import Concern, upstream_of
from ..errors import UnknownFile
from ..readiness import SliceState, Wait, why_not
from ..rules import Rules
from ..state import State
from . import unconfirmed
from .files import FileRef, find, find_by_ref
from .rows import ConcernRow, FileRow, concern_rows, files_with_concerns, slice_states

STILL_A_LEAD = "MLM's last answer still called it a lead: nothing has landed in the loan yet"


@dataclass(frozen=True, slots=True)
class ConcernStatus:
    """One concern: what it holds and since when, whether it is behind, and what it is waiting for."""

    concern: str
    held: dt.datetime | None
    landed_at: dt.datetime | None
    state: str
    why: str | None
    behind_since: dt.datetime | None
    served: int
    attempts: int
    next_try_at: dt.datetime | None
    last_error: str | None
    last_error_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class FileStatus:
    """One file: its state in one word and since when, the numbers behind it, and each concern."""

    kind: str | None
    ref: str
    state: str
    since: dt.datetime | None
    why: str | None
    mark: dt.datetime | None
    wanted: dt.datetime | None
    captured: dt.datetime | None
    ordered: int
    served: int
    epoch: int
    confirmed_at: dt.datetime | None
    confirm_at: dt.datetime | None
    as_of: dt.datetime
    concerns: tuple[ConcernStatus, ...]


_LAST_ORDERS = """
SELECT number, placed_at, due_at, cause FROM refresh_orders WHERE file_id = %(file_id)s ORDER BY number DESC LIMIT %(n)s
"""

_LAST_RUNS = """
SELECT concern, order_number, started_at, finished_at, outcome, stamp, rows_changed, unread, error, worker
FROM slice_runs WHERE file_id = %(file_id)s ORDER BY finished_at DESC LIMIT %(n)s
"""

_LAST_RECEIPTS = """
SELECT id, received_at, event_type, outcome, reason, last_modified_at, mark_before, order_number, served_at,
       data_updated_at, rows_changed
FROM mlm_webhook_receipts WHERE file_id = %(file_id)s ORDER BY received_at DESC LIMIT %(n)s
"""

_OWN_WRITES = """
SELECT id, capture, registered_at, exited_at, exited_well, closed_at, captured_at, abandoned_at, last_error
FROM own_writes WHERE file_id = %(file_id)s ORDER BY id DESC LIMIT %(n)s
"""


def freshness_of(conn: Connection, rules: Rules, file: FileRef | str) -> FileStatus:
    """How fresh a file is. A plain reference number finds it whatever its kind.

    A loan that the portal made of a lead holds nothing before a read of its fields has made it one here too: however
    fresh the lead is, the loan is not.

    Raises:
        UnknownFile: we have no such file.
    """
    found = _find(conn, file)
    concerns = concern_rows(conn, rules, found)
    status = _status(conn, rules, found, concerns, unconfirmed.state(conn, found, concerns))
    if isinstance(file, FileRef) and (file.kind, found.kind) == ("loan", "lead") and status.state == State.FRESH:
        return replace(status, state=State.UNCONFIRMED.value, since=None, why=STILL_A_LEAD)
    return status


def freshness_of_each(conn: Connection, rules: Rules, file_ids: Sequence[int]) -> list[FileStatus]:
    """How fresh each of these files is, in this order; a handful of statements for a page of them."""
    found = files_with_concerns(conn, rules, file_ids)
    states = unconfirmed.states(conn, found)
    return [_status(conn, rules, *each, state) for each, state in zip(found, states, strict=True)]


def story_of(conn: Connection, file: FileRef | str, rows: int = 12) -> dict[str, list[dict[str, Any]]]:
    """What happened to a file lately, newest first: orders, runs of slices, receipts, own writes.

    Raises:
        UnknownFile: we have no such file.
    """
    parameters = {"file_id": _find(conn, file).id, "n": rows}
    queries = {"orders": _LAST_ORDERS, "runs": _LAST_RUNS, "receipts": _LAST_RECEIPTS, "own_writes": _OWN_WRITES}
    return {
        name: [dict(row) for row in conn.exec_driver_sql(query, parameters).mappings()]
        for name, query in queries.items()
    }


def _find(conn: Connection, file: FileRef | str) -> FileRow:
    if isinstance(file, FileRef):
        return find(conn, file)
    found = find_by_ref(conn, file)
    if found is None:
        raise UnknownFile(None, file)
    return found


def _status(
    conn: Connection, rules: Rules, file: FileRow, concerns: Mapping[Concern, ConcernRow], state: State
) -> FileStatus:
    states = slice_states(conn, rules, file, concerns)
    statuses = tuple(_concern(rules, file, row, states[c]) for c, row in concerns.items())
    return FileStatus(
        kind=file.kind,
        ref=file.ref,
        state=state.value,
        since=_since(file, state, concerns.values()),
        why=_why(state, statuses, is_doubted=unconfirmed.is_doubted(file, concerns)),
        mark=file.mark,
        wanted=file.wanted,
        captured=file.captured,
        ordered=file.ordered,
        served=file.served,
        epoch=file.epoch,
        confirmed_at=file.confirmed_at,
        confirm_at=file.confirm_at,
        as_of=file.now,
        concerns=statuses,
    )


def _concern(rules: Rules, file: FileRow, row: ConcernRow, state: SliceState) -> ConcernStatus:
    behind = row.held is None or (file.newest is not None and row.held < file.newest)
    word = "stale" if state.stale else "unconfirmed" if behind else "fresh"
    if state.given_up:
        word = "given up"
    return ConcernStatus(
        concern=row.concern.value,
        held=row.held,
        landed_at=row.landed_at,
        state=word,
        why=_why_waiting(rules, row.concern, why_not(state, file.now)) if state.stale else None,
        behind_since=row.behind_since if state.stale else None,
        served=row.served,
        attempts=row.attempts,
        next_try_at=row.next_try_at,
        last_error=row.last_error,
        last_error_at=row.last_error_at,
    )


def _why_waiting(rules: Rules, concern: Concern, wait: Wait | None) -> str:
    if wait is None:
        return "waits for a worker"
    if wait is Wait.UPSTREAM:
        return f"waits for {upstream_of(concern, rules.active)}"
    return wait.value


def _since(file: FileRow, state: State, concerns: Any) -> dt.datetime | None:
    if state is State.DELETED:
        return file.deleted_at
    if state is State.STALE:
        return min(
            (row.behind_since for row in concerns if row.served < file.ordered and row.behind_since), default=None
        )
    if state is State.UNCONFIRMED:
        return file.unconfirmed_since
    return max((row.landed_at for row in concerns if row.landed_at), default=None)


def _why(state: State, concerns: tuple[ConcernStatus, ...], *, is_doubted: bool) -> str | None:
    if state is State.FRESH:
        return None
    if state is State.DELETED:
        return "MLM no longer has it"
    if state is State.UNSTAMPED:
        return "MLM's last answer bore no stamp that can be read: every webhook orders it"
    if state is State.STALE:
        late = [f"{c.concern}: {c.why}" + (f" ({c.last_error})" if c.last_error else "") for c in concerns if c.why]
        return "; ".join(late)
    low = [c.concern for c in concerns if c.state == "unconfirmed"]
    if low:
        return f"{', '.join(low)}: held below the newest stamp we know of; confirmed once the file is quiet"
    if is_doubted:
        return (
            "MLM may not show yet what a webhook or a read told before the file began anew here; confirmed when it must"
        )
    return "an own write that was closed has not ended yet"
