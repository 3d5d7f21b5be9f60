"""Own writes of the portal to MLM: their echo is known, and an outsider's edit beside them is not lost.

One is open from registration until it is captured or closed. Whatever makes it doubtful that our copy equals what MLM
shows (another write at the same time, a slice that landed in between, a bad end) closes it, and a closed one orders.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection

from .. import stamp
from ..bell import Ring, Work
from ..errors import UnknownOwnWrite, UnreadableStamp
from ..rules import REGISTRATION_LIFE_S, Rules
from . import unconfirmed
from .files import FileRef, Owner, ensure, find, mirror_mark
from .orders import place
from .rows import COLUMNS, FileRow, concern_rows, file_under_lock, resolution_in_force

#: `capture_mark` takes `since` to be this much earlier than it says (docs/protocol.md, "An own write").
SINCE_MARGIN_S = 60.0

#: Advisory locks of registrations: this number and the file's id.
_LOCK_SPACE = 0x4F57 << 44

_OPEN = "closed_at IS NULL AND captured_at IS NULL AND abandoned_at IS NULL AND (exited_at IS NULL OR capture_wanted)"

_LOCK_FILE = "SELECT pg_advisory_xact_lock(%(space)s + %(file_id)s)"

_REGISTER = """
WITH others AS (
    UPDATE own_writes SET closed_at = coalesce(closed_at, mlm_now())
    WHERE file_id = %(file_id)s AND exited_at IS NULL AND abandoned_at IS NULL RETURNING id
)
INSERT INTO own_writes (file_id, capture, registered_at, closed_at)
SELECT %(file_id)s, %(capture)s, mlm_now(), CASE WHEN EXISTS (SELECT FROM others) THEN mlm_now() END
RETURNING id, closed_at IS NOT NULL AS closed
"""

_EXIT = """
UPDATE own_writes SET exited_at = mlm_now(), exited_well = %(ok)s, next_try_at = mlm_now(),
    capture_wanted = %(ok)s AND capture AND closed_at IS NULL AND abandoned_at IS NULL,
    closed_at = CASE WHEN %(ok)s THEN closed_at ELSE coalesce(closed_at, mlm_now()) END
WHERE id = %(id)s AND file_id = %(file_id)s AND exited_at IS NULL
RETURNING capture_wanted, closed_at IS NOT NULL OR abandoned_at IS NOT NULL AS closed
"""

_EXISTS = "SELECT EXISTS (SELECT FROM own_writes WHERE id = %(id)s AND file_id = %(file_id)s)"

_CLOSE = "UPDATE own_writes SET closed_at = mlm_now(), capture_wanted = false WHERE id = %(id)s"

_LOCK_OPEN = f"SELECT id FROM own_writes WHERE file_id = %(file_id)s AND {_OPEN} ORDER BY id FOR UPDATE"  # noqa: S608

# A condition is met before a row that meets it is locked: so the open own writes come first, the file after them.
_LOCK_OPEN_THEN_FILE = f"""
WITH still_open AS MATERIALIZED ({_LOCK_OPEN})
SELECT {COLUMNS}, ARRAY(SELECT id FROM still_open) AS still_open FROM file_freshness
WHERE id = %(file_id)s AND (SELECT count(*) FROM still_open) >= 0 FOR NO KEY UPDATE
"""  # noqa: S608 - column names of ours

_CLOSE_THESE = "UPDATE own_writes SET closed_at = mlm_now() WHERE id = ANY(%(ids)s)"

_SEEN = """
SELECT coalesce(max(id), 0) AS newest,
       coalesce(array_agg(id) FILTER (WHERE exited_at IS NULL AND abandoned_at IS NULL), '{}') AS under_way
FROM own_writes WHERE file_id = %(file_id)s
"""

#: Whether an own write of the file has exited that had not when it was `seen`, under the file's lock. Ids tell, not
#: times: an exit counts from its commit, and that may come long after its `exited_at`.
EXITED_SINCE = """
EXISTS (SELECT FROM own_writes WHERE file_id = %(file_id)s AND exited_at IS NOT NULL
        AND (id > %(newest)s OR id = ANY(%(under_way)s::bigint[])))
"""

_END = """
UPDATE own_writes SET abandoned_at = mlm_now(), closed_at = coalesce(closed_at, mlm_now())
WHERE id IN (
    SELECT id FROM own_writes WHERE exited_at IS NULL AND abandoned_at IS NULL
        AND registered_at < mlm_now() - make_interval(secs => %(life)s)
    ORDER BY id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
RETURNING file_id
"""

_MAKE_OWNER = {
    kind: f"INSERT INTO {kind}s (mlm_reference_number) VALUES (%(ref)s) ON CONFLICT (mlm_reference_number) DO NOTHING"  # noqa: S608 - a table of ours
    for kind in ("loan", "lead")
}

# In a statement of its own: whoever made it first has committed only while we waited.
_OWNER = {
    kind: f"SELECT id FROM {kind}s WHERE mlm_reference_number = %(ref)s"  # noqa: S608 - a table of ours
    for kind in ("loan", "lead")
}

_SEED = """
UPDATE file_freshness SET
    mark_seen_at = CASE WHEN %(v)s > coalesce(mark, '-infinity') THEN mlm_now() ELSE mark_seen_at END,
    mark = greatest(mark, %(v)s), captured = greatest(captured, %(v)s), confirm_at = NULL
WHERE id = %(file_id)s
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file's own writes as one transaction saw them: the newest's id, and those that had not exited."""

    newest: int
    under_way: tuple[int, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """For `EXITED_SINCE`, beside the file's id."""
        return {"newest": self.newest, "under_way": list(self.under_way)}


@dataclass(frozen=True, slots=True)
class Exited:
    """What an exit came to, the own write's id, and the rings for after the commit."""

    outcome: Literal["capturing", "ordered", "nothing"]
    own_write_id: int | None = None
    rings: tuple[Ring, ...] = ()


def register(conn: Connection, rules: Rules, file: FileRef, capture: bool) -> int:
    """Register an own write, in a transaction of its own that commits before MLM is called.

    Takes an advisory lock of the file, never its row. If another own write of the file has not exited, both are
    closed: neither could vouch for what the other wrote.

    Raises:
        UnknownFile: we have no such file.
    """
    own_write_id, _ = _register(conn, find(conn, file).id, capture)
    return own_write_id


def exit_own_write(conn: Connection, rules: Rules, file: FileRef, own_write_id: int, ok: bool) -> Exited:
    """End an own write: with `ok` as the last statement of the transaction of its local half, or right after it.

    Closed meanwhile or ended badly: an order. Else, if it captures, a capture. A second exit changes nothing, but a
    bad one still orders.

    Raises:
        UnknownFile, UnknownOwnWrite: there is none such.
    """
    found = find(conn, file)
    key = {"id": own_write_id, "file_id": found.id}
    row = conn.exec_driver_sql(_EXIT, {**key, "ok": ok}).one_or_none()
    if row is None and not conn.exec_driver_sql(_EXISTS, key).scalar():
        raise UnknownOwnWrite(own_write_id)
    if not ok or (row is not None and row.closed):
        cause = "an own write was closed meanwhile" if ok else "an own write ended badly"
        return Exited("ordered", own_write_id, place(conn, found.id, cause).rings)
    if row is not None and row.capture_wanted:
        return Exited("capturing", own_write_id, (_capture_ring(found.id, own_write_id),))
    return Exited("nothing", own_write_id)


def capture_mark(conn: Connection, rules: Rules, file: FileRef, since: dt.datetime | None) -> Exited:
    """The short form, after a write: registered and exited in one.

    If a slice of the file committed after `since` less a minute (None, or ahead of our clock: a write timeout ago),
    or one is at work this moment, the capture could not vouch for it: an order.

    Raises:
        UnknownFile: we have no such file.
    """
    found = find(conn, file)
    own_write_id, closed = _register(conn, found.id, capture=True)
    exited = conn.exec_driver_sql(_EXIT, {"id": own_write_id, "file_id": found.id, "ok": True}).one()
    row = file_under_lock(conn, found.id)
    assert row is not None  # noqa: S101 - found above, and files are never deleted
    at_work = any(concern.leased for concern in concern_rows(conn, rules, row).values())
    if since is None or since > row.now:
        since = row.now - dt.timedelta(seconds=rules.call_timeout_s)
    doubtful = row.slice_committed_at is not None and row.slice_committed_at > since - dt.timedelta(
        seconds=SINCE_MARGIN_S
    )
    if closed or exited.closed or doubtful or at_work:
        conn.exec_driver_sql(_CLOSE, {"id": own_write_id})
        return Exited("ordered", own_write_id, place(conn, row.id, "a slice landed beside an own write").rings)
    return Exited("capturing", own_write_id, (_capture_ring(row.id, own_write_id),))


def seed_mark(conn: Connection, rules: Rules, file: FileRef, stamp_text: str | None) -> Exited:
    """After the portal created the file in MLM: its first stamp is ours. Makes the file and its loan or lead if absent.

    Without a stamp it is read, by a capture. The file is unconfirmed, and read once quiet or when something orders it.

    Raises:
        UnreadableStamp: the text names no instant.
    """
    conn.exec_driver_sql(_MAKE_OWNER[file.kind], {"ref": file.ref})
    owner_id = conn.exec_driver_sql(_OWNER[file.kind], {"ref": file.ref}).scalar_one()
    file_id = ensure(conn, file.ref)
    if stamp_text is None:
        own_write_id, _ = _register(conn, file_id, capture=True)
        exited = conn.exec_driver_sql(_EXIT, {"id": own_write_id, "file_id": file_id, "ok": True}).one()
        if exited.closed:
            return Exited("ordered", own_write_id, place(conn, file_id, "an own write was closed meanwhile").rings)
        return Exited("capturing", own_write_id, (_capture_ring(file_id, own_write_id),))
    now = conn.exec_driver_sql("SELECT mlm_now()").scalar_one()
    read = stamp.parse(stamp_text, rules.zone, now)
    if isinstance(read, stamp.Unreadable):
        raise UnreadableStamp(read.why)
    coarse = stamp.truncate(read.instant, resolution_in_force(conn, rules))
    mirror_mark(conn, Owner(file.kind, owner_id), coarse)
    file_under_lock(conn, file_id)
    v = stamp.truncate(read.instant, resolution_in_force(conn, rules))
    conn.exec_driver_sql(_SEED, {"file_id": file_id, "v": v})
    unconfirmed.note(conn, rules, file_id)  # sets `confirm_at` anew: quiet counts from here
    return Exited("nothing")


def close_open(conn: Connection, file_id: int) -> None:
    """Close the file's open own writes, before its row is locked; waits for the exits that are being committed.

    A capture must not vouch for what may have landed over it.
    """
    if still_open := conn.exec_driver_sql(_LOCK_OPEN, {"file_id": file_id}).scalars().all():
        conn.exec_driver_sql(_CLOSE_THESE, {"ids": list(still_open)})


def close_open_and_lock(conn: Connection, file_id: int) -> FileRow | None:
    """Close the file's open own writes and lock its row, in that order, in one statement if none is open."""
    found = conn.exec_driver_sql(_LOCK_OPEN_THEN_FILE, {"file_id": file_id}).one_or_none()
    if found is None:
        return None
    *columns, still_open = found
    if still_open:
        conn.exec_driver_sql(_CLOSE_THESE, {"ids": still_open})
    return FileRow(*columns)


def seen(conn: Connection, file_id: int) -> Seen:
    """The file's own writes as they stand, for `exited_since`."""
    row = conn.exec_driver_sql(_SEEN, {"file_id": file_id}).one()
    return Seen(row.newest, tuple(row.under_way))


def exited_since(conn: Connection, file_id: int, seen: Seen) -> bool:
    """Whether an own write of the file has exited that had not when it was `seen`. Under the file's lock."""
    parameters = {"file_id": file_id, **seen.parameters}
    return bool(conn.exec_driver_sql(f"SELECT {EXITED_SINCE}", parameters).scalar())


def end_abandoned(conn: Connection, limit: int = 200) -> list[int]:
    """End the registrations that have not exited after 5 minutes: closed, ordered. Returns their files' ids."""
    rows = conn.exec_driver_sql(_END, {"life": REGISTRATION_LIFE_S, "limit": limit})
    file_ids = sorted({row.file_id for row in rows})
    for file_id in file_ids:
        place(conn, file_id, "an own write never exited")
    return file_ids


def _register(conn: Connection, file_id: int, capture: bool) -> tuple[int, bool]:
    conn.exec_driver_sql(_LOCK_FILE, {"space": _LOCK_SPACE, "file_id": file_id})
    row = conn.exec_driver_sql(_REGISTER, {"file_id": file_id, "capture": capture}).one()
    return row.id, row.closed


def _capture_ring(file_id: int, own_write_id: int) -> Ring:
    return Ring(Work.CAPTURE, file_id, own_write_id=own_write_id)
