"""Which files may need a confirmation, kept as two columns that a partial index finds.

`unconfirmed_since` says since when, `confirm_at` when to look next. Whatever moves a number of a file calls
`note` under its lock; the sweep (`confirmations.due`) asks the exact question again before it spends a call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from ..concerns import Concern
from ..readiness import GIVE_UP_AFTER
from ..rules import Rules
from ..state import Holding, State, needs_confirmation, state_of
from .rows import ConcernRow, FileRow, concern_rows, file_row

_OPEN_CANDIDATE = """
UPDATE file_freshness SET unconfirmed_since = coalesce(unconfirmed_since, mlm_now()),
       confirm_at = %(at)s
WHERE id = %(file_id)s
"""

_END_DOUBT = "UPDATE file_freshness SET doubted_until = NULL, doubted_below = NULL WHERE id = %(file_id)s"

_CLOSE_CANDIDATE = """
UPDATE file_freshness SET unconfirmed_since = NULL, confirm_at = NULL, confirmations = 0
WHERE id = %(file_id)s
"""

_CLOSED_UNEXITED = """
SELECT DISTINCT file_id FROM own_writes
WHERE file_id = ANY(%(file_ids)s) AND closed_at IS NOT NULL AND exited_at IS NULL AND abandoned_at IS NULL
"""


def note(conn: Connection, rules: Rules, file_id: int) -> State:
    """Bring the two columns in line with the numbers as they stand now, and say what state the file is in."""
    file = file_row(conn, file_id)
    assert file is not None  # noqa: S101 - the caller holds its lock
    return note_of(conn, rules, file, concern_rows(conn, rules, file))


def note_of(conn: Connection, rules: Rules, file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> State:
    """The same, for who knows the numbers as they stand now."""
    waits_for_a_doubt = file.confirm_at is not None and file.confirm_at == file.doubted_until
    if file.doubted_until is not None and not is_doubted(file, concerns):
        end_doubt(conn, file.id)
        file = replace(file, doubted_until=None, doubted_below=None)
    is_noted = file.unconfirmed_since is not None or file.confirm_at is not None or file.confirmations > 0
    if is_candidate(file, concerns):
        at = doubt_to_wait_out(file, concerns) or file.now + dt.timedelta(seconds=rules.quiet_s)
        if file.unconfirmed_since is None or file.confirm_at is None or (waits_for_a_doubt and at < file.confirm_at):
            conn.exec_driver_sql(_OPEN_CANDIDATE, {"file_id": file.id, "at": at})
    elif is_noted and not _may_come_to_be(file, concerns):
        conn.exec_driver_sql(_CLOSE_CANDIDATE, {"file_id": file.id})
    return state(conn, file, concerns)


def is_candidate(file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> bool:
    """Whether the file is to be confirmed once it is quiet. A deleted one is only if it is doubted: it holds nothing by
    right. An unstamped one is not: every webhook of it orders, and the rounds see when it shows a stamp again."""
    if file.unstamped:
        return False
    return is_doubted(file, concerns) or (file.deleted_at is None and _holds_too_little(file, concerns))


def doubt_to_wait_out(file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> dt.datetime | None:
    """Until when a candidate waits that is one only for a doubt, which no confirmation before then could end."""
    if file.doubted_until is None or file.doubted_until <= file.now:
        return None
    is_all = file.deleted_at is not None or not _holds_too_little(file, concerns)
    return file.doubted_until if is_all else None


def is_doubted(file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> bool:
    """Whether what the file holds may be older than what was announced and is not known any more."""
    if file.doubted_until is None:
        return False
    below = file.doubted_below
    return below is None or any(holding.is_behind(below) for holding in holdings_of(concerns))


def end_doubt(conn: Connection, file_id: int) -> None:
    """The file is doubted no more. Under its lock."""
    conn.exec_driver_sql(_END_DOUBT, {"file_id": file_id})


def _holds_too_little(file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> bool:
    return needs_confirmation(holdings_of(concerns), ordered=file.ordered, newest=file.newest)


def _may_come_to_be(file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> bool:
    """Whether a file that is no candidate now, for what is behind is due to run, may be one again without more cause:
    it keeps its place."""
    behind = any(holding.is_behind(file.newest) for holding in holdings_of(concerns))
    return behind and file.deleted_at is None and not file.unstamped


def state(conn: Connection, file: FileRow, concerns: Mapping[Concern, ConcernRow]) -> State:
    """The file's state in one word."""
    return states(conn, [(file, concerns)])[0]


def states(conn: Connection, files: Sequence[tuple[FileRow, Mapping[Concern, ConcernRow]]]) -> list[State]:
    """Each file's state in one word; one statement at most for all of them."""
    said = [_state_by_numbers(file, concerns, write_under_way=False) for file, concerns in files]
    fresh = [file.id for (file, _), state in zip(files, said, strict=True) if state is State.FRESH]
    written = set(conn.exec_driver_sql(_CLOSED_UNEXITED, {"file_ids": fresh}).scalars()) if fresh else set()
    return [
        _state_by_numbers(file, concerns, write_under_way=True) if file.id in written else state
        for (file, concerns), state in zip(files, said, strict=True)
    ]


def _state_by_numbers(file: FileRow, concerns: Mapping[Concern, ConcernRow], *, write_under_way: bool) -> State:
    return state_of(
        holdings_of(concerns),
        ordered=file.ordered,
        newest=file.newest,
        deleted=file.deleted_at is not None,
        unstamped=file.unstamped,
        write_under_way=write_under_way,
        doubted=is_doubted(file, concerns),
    )


def holdings_of(concerns: Mapping[Concern, ConcernRow]) -> list[Holding]:
    """What each concern holds, as the pure functions take it."""
    return [Holding(row.held, row.served, row.attempts >= GIVE_UP_AFTER) for row in concerns.values()]
