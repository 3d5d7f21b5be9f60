"""Maxwell: applications of its point of sale as rows.

Maxwell's guide has headings and no names, so every key here is ours: `KEYS` is the one place to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Applied, Landed
from hydrators.rows import sealed
from mlm_client.values import Unreadable, ssn

from .binding import Bound, Told, bind
from .rows import Row, clear, sealed_json, upsert
from .said import Read, at, instant, label, money, text

#: What the payload calls the parts that decide something.
EVENT, FILE_ID, APPLICATION = "event", "loanFileId", "application"

#: The event that begins a loan file; every other one waits for it.
CREATED = "application.created"


def _ssn(value: Any) -> str | None:
    try:
        return ssn(label(value))
    except Unreadable as error:
        raise ValueError(str(error)) from None


#: Column → where it stands in the payload, and how it is read.
KEYS: dict[str, tuple[tuple[str, ...], Read]] = {
    "loan_number": (("loanNumber",), label),
    "email": (("borrowerEmail",), label),
    "first_name": ((APPLICATION, "firstName"), text),
    "last_name": ((APPLICATION, "lastName"), text),
    "phone": ((APPLICATION, "cellPhone"), text),
    "ssn": ((APPLICATION, "ssn"), _ssn),
    "mailing_street": ((APPLICATION, "mailingAddress", "street"), text),
    "mailing_unit": ((APPLICATION, "mailingAddress", "unit"), text),
    "mailing_city": ((APPLICATION, "mailingAddress", "city"), text),
    "mailing_state": ((APPLICATION, "mailingAddress", "state"), text),
    "mailing_zip": ((APPLICATION, "mailingAddress", "zip"), text),
    "property_street": ((APPLICATION, "subjectProperty", "street"), text),
    "property_unit": ((APPLICATION, "subjectProperty", "unit"), text),
    "property_city": ((APPLICATION, "subjectProperty", "city"), text),
    "property_state": ((APPLICATION, "subjectProperty", "state"), text),
    "property_zip": ((APPLICATION, "subjectProperty", "zip"), text),
    "purpose": ((APPLICATION, "purpose"), text),
    "loan_amount": ((APPLICATION, "loanAmount"), money),
    "purchase_price": ((APPLICATION, "purchasePrice"), money),
    "created_at": ((APPLICATION, "createdAt"), instant),
    "submitted_at": ((APPLICATION, "submittedAt"), instant),
    "milestone": (("milestone", "name"), text),
    "milestone_at": (("milestone", "at"), instant),
}

_TABLE, _NAMED_BY = "maxwell_applications", "loan_file_id"
_MISSING: Any = object()

_HELD = """
SELECT a.*, l.mlm_loan_number = a.loan_number AS by_number
FROM maxwell_applications a LEFT JOIN loans l ON l.id = a.loan_id WHERE a.loan_file_id = ANY(%(ids)s)
"""

_LATE = "begun before: it fills what is null"


class MaxwellHydrator:
    """Lands Maxwell's events: what an event does not say stays as it was."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """One row an event, tied to a file by number, else by e-mail address."""
        ids = sorted({each.sent.subject for each in applied})
        held = {row["loan_file_id"]: dict(row) for row in conn.exec_driver_sql(_HELD, {"ids": ids}).mappings()}
        opened = {name: _Opened(row, keys) for name, row in held.items()}
        rows, told, late = [], [], []
        for each in applied:
            late.append(each.sent.begins and each.sent.subject in opened)
            of_file = opened.setdefault(each.sent.subject, _Opened({}, keys))
            row = of_file.take(each.sent.payload, _columns(each.sent.payload, keys), fills=late[-1])
            rows.append(row | of_file.sealed(keys) | {_NAMED_BY: each.sent.subject})
            told.append(of_file.told)
        bound = bind(conn, told)
        for row, found in zip(rows, bound, strict=True):
            if found.is_bound:
                row |= {"loan_id": found.loan_id, "lead_id": found.lead_id}
        upsert(conn, _TABLE, (_NAMED_BY,), rows)
        return [
            _landed(opened[each.sent.subject], found, _LATE if fills else None)
            for each, found, fills in zip(applied, bound, late, strict=True)
        ]

    def clear(self, conn: Connection, kind: str, subject: str) -> None:
        """Empty the application's row."""
        clear(conn, _TABLE, (_NAMED_BY,), {_NAMED_BY: subject})


class _Opened:
    """What is held of one application that an event adds to."""

    def __init__(self, row: Mapping[str, Any], keys: FieldKeys) -> None:
        self.number: str | None = row.get("loan_number")
        self.email: str | None = row.get("email")
        self.held = Bound(row.get("loan_id"), row.get("lead_id"), "bound before")
        self._told_before = Told(self.number, self.email)
        self._by_number = bool(row.get("by_number"))
        self._row = dict(row)
        self._sections = _open(row.get("sections_encrypted"), keys)
        self._other = _open(row.get("other_encrypted"), keys)

    def take(self, said: Mapping[str, Any], row: Row, *, fills: bool) -> Row:
        """Add what an event says; what it writes. A create of what has begun only `fills`: it says how the file was
        before all that was said since."""
        if fills:
            row = {column: value for column, value in row.items() if self._row.get(column) is None}
        self._row |= row
        self.number, self.email = row.get("loan_number", self.number), row.get("email", self.email)
        application = said.get(APPLICATION)
        sections = application if isinstance(application, dict) else {}
        known = {EVENT, FILE_ID} | {path[0] for path, _ in KEYS.values()}
        other = {key: value for key, value in said.items() if key not in known}
        other |= {f"({column})": at(said, *KEYS[column][0]) for column in _unread(said, row)}
        self._sections = sections | self._sections if fills else self._sections | sections
        self._other = other | self._other if fills else self._other | other
        return row

    @property
    def told(self) -> Told:
        """What its file is to be looked for by: nothing, if that is known by number and nothing new is said. One by
        address is looked for again: a number may have found its file since, or the address another."""
        told = Told(self.number, self.email)
        return Told() if self._by_number and told == self._told_before else told

    def sealed(self, keys: FieldKeys) -> Row:
        """The columns that hold it."""
        return {
            "sections_encrypted": sealed_json(self._sections, keys) if self._sections else None,
            "other_encrypted": sealed_json(self._other, keys) if self._other else None,
        }


def _landed(of_file: _Opened, found: Bound, note: str | None) -> Landed:
    file = found if found.is_bound or not of_file.held.is_bound else of_file.held
    return Landed(1, file.loan_id, file.lead_id, f"{note}; {file.how}" if note else file.how)


def _columns(said: Mapping[str, Any], keys: FieldKeys) -> Row:
    """The columns of what is there. A section that is null says nothing of what stands in it."""
    row: Row = {}
    for column, (path, how) in KEYS.items():
        parent = at(said, *path[:-1])
        value = parent.get(path[-1], _MISSING) if isinstance(parent, dict) else _MISSING
        if value is not _MISSING:
            try:
                row[column] = None if value is None else how(value)
            except (ValueError, ArithmeticError):
                row[column] = None
    return row if "ssn" not in row else row | sealed("ssn", row.pop("ssn"), keys)


def _unread(said: Mapping[str, Any], row: Row) -> list[str]:
    """Columns that are null though something is said."""
    return [column for column, (path, _) in KEYS.items() if column in row and row[column] is None and at(said, *path)]


def _open(sealed: bytes | None, keys: FieldKeys) -> dict[str, Any]:
    return {} if sealed is None else msgspec.json.decode(keys.open(sealed), type=dict[str, Any])
