"""Restores: MLM came back from a backup, and an operator says so: files begin anew.

It is found out without this too, file by file (docs/protocol.md, "A slice", 5, and "Confirmation"); but a read must
first be late, and until then a file waits for a stamp that MLM does not have any more.
"""

from __future__ import annotations

from sqlalchemy import Connection

from ..errors import UnknownFile
from ..rules import Rules
from . import epochs, own_writes, unconfirmed
from .files import owner_of
from .orders import Placed, place
from .rows import file_row

CAUSE = "MLM was restored, an operator says"

_PAGE = "SELECT id FROM file_freshness WHERE id > %(after)s ORDER BY id LIMIT %(limit)s"

_MIRROR = {
    kind: f"UPDATE {kind}s SET mlm_last_modified_at = NULL WHERE id = %(id)s"  # noqa: S608 - a table of ours
    for kind in ("loan", "lead")
}


def file_ids(conn: Connection, after: int, limit: int = 500) -> list[int]:
    """The next files, in ascending id."""
    return list(conn.exec_driver_sql(_PAGE, {"after": after, "limit": limit}).scalars())


def begin_anew(conn: Connection, rules: Rules, file_id: int) -> Placed:
    """A new epoch for one file: no stamp is known, nothing is held, open own writes are closed, and one order reads
    everything again. In a transaction of its own. What stands in the portal's tables stays until it is read.

    Raises:
        UnknownFile: there is no such file.
    """
    file = file_row(conn, file_id)
    if file is None:
        raise UnknownFile(None, str(file_id))
    if (owner := owner_of(file)) is not None:
        conn.exec_driver_sql(_MIRROR[owner.kind], {"id": owner.id})
    file = own_writes.close_open_and_lock(conn, file_id)
    assert file is not None  # noqa: S101 - files are never deleted
    epochs.begin(conn, rules, file, None, asked_at=file.now)
    placed = place(conn, file_id, CAUSE)
    unconfirmed.note(conn, rules, file_id)
    return placed
