"""Rebuilds: a subject's rows emptied, and its whole history landed once more from the bodies that were kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from ..errors import NotWhole, UnknownSubject
from ..sending import SubjectState, decide
from . import body_keys
from .body_keys import BodyKeys
from .sendings import Applied, Hydrate, Reopen

#: Brings the rows of (sender, kind, subject) back to where the first entry met them.
Clear = Callable[[Connection, str, str, str], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to: the subject, how many entries it has, and how many of them applied."""

    sender: str
    subject: str
    entries: int
    applied: int
    rows: int


_LOCK = """
SELECT sender, kind, subject, entries, mlm_now() AS now FROM sender_subjects WHERE id = %(id)s FOR NO KEY UPDATE
"""

_HISTORY = f"""
SELECT r.subject_number, r.received_at, r.body_place, {body_keys.COLUMNS}
FROM mlm_webhook_receipts r LEFT JOIN sender_bodies b ON b.id = r.body_id {body_keys.JOIN}
WHERE r.subject_id = %(id)s AND r.subject_number IS NOT NULL ORDER BY r.subject_number
"""  # noqa: S608 - column names of ours

_STATE = """
UPDATE sender_subjects SET order_key = %(key)s, content = %(content)s, begun = %(begun)s WHERE id = %(id)s
"""

_RECEIPT = """
INSERT INTO mlm_webhook_receipts (received_at, sender, subject, subject_id, outcome, reason, rows_changed,
                                  data_updated_at, replay_of)
VALUES (%(now)s, %(sender)s, %(subject)s, %(id)s, 'applied', %(reason)s, %(rows)s, %(now)s, %(replay_of)s)
"""


def rebuild(
    conn: Connection,
    subject_id: int,
    clear: Clear,
    hydrate: Hydrate,
    reopen: Reopen,
    keys: BodyKeys,
    replay_of: int | None = None,
) -> Rebuilt:
    """Empty the subject's rows and land every entry again, in the order in which they came.

    Raises:
        UnknownSubject: there is none with this id.
        NotWhole: an entry of it, or its body, was dropped; nothing is changed.
        FieldKeyError: a body cannot be opened; likewise.
    """
    subject = conn.exec_driver_sql(_LOCK, {"id": subject_id}).one_or_none()
    if subject is None:
        raise UnknownSubject(subject_id)
    history = conn.exec_driver_sql(_HISTORY, {"id": subject_id}).all()
    kept = {row.subject_number for row in history if row.body_encrypted is not None}
    if len(kept) < subject.entries:
        raise NotWhole(f"{subject.kind} {subject.subject}", subject.entries - len(kept), subject.entries)
    state, applied, waiting = SubjectState(), [], []
    for row in history:
        body = keys.open(row.body_encrypted, row.key_week, row.key_encrypted)
        sent = reopen(subject.sender, body, row.received_at)[row.body_place]
        entry = Applied(sent, row.received_at)
        due = [entry] if state.begun or not sent.follows else []
        waiting += [] if due else [entry]
        if sent.begins:
            due, waiting = [*due, *waiting], []
        for each in due:
            if decide(each.sent, state).applies:
                state = state.after(each.sent)
                applied.append(each)
    clear(conn, subject.sender, subject.kind, subject.subject)
    landed = hydrate(conn, applied) if applied else ()
    for came_to in landed:
        if came_to.beside is not None:
            came_to.beside.write(conn)
    rows = sum(came_to.rows for came_to in landed)
    conn.exec_driver_sql(_STATE, {"id": subject_id, "key": state.key, "content": state.content, "begun": state.begun})
    parameters = {
        "id": subject_id, "now": subject.now, "sender": subject.sender, "rows": rows, "replay_of": replay_of,
        "subject": f"{subject.kind} {subject.subject}", "reason": f"rebuilt from {len(applied)} entries",
    }  # fmt: skip
    conn.exec_driver_sql(_RECEIPT, parameters)
    return Rebuilt(subject.sender, f"{subject.kind} {subject.subject}", subject.entries, len(applied), rows)
