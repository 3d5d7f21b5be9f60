"""Which loan or lead of ours a sender speaks of: by its number, else by an e-mail address that exactly one has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

_BY_NUMBER = """
WITH said AS (SELECT DISTINCT number FROM unnest(%(numbers)s::text[]) AS said (number))
SELECT said.number AS told, loans.id AS loan_id, NULL::bigint AS lead_id
FROM said JOIN loans ON loans.mlm_loan_number = said.number WHERE loans.deleted_at IS NULL
UNION ALL
SELECT said.number, NULL, leads.id FROM said JOIN leads ON leads.mlm_loan_number = said.number
WHERE leads.deleted_at IS NULL AND leads.became_loan_id IS NULL
"""

# A lead that became a loan has left its borrowers to the loan.
_BY_EMAIL = """
WITH said AS (SELECT DISTINCT lower(email) AS email FROM unnest(%(emails)s::text[]) AS said (email))
SELECT DISTINCT said.email AS told, borrowers.loan_id, borrowers.lead_id
FROM said JOIN borrowers ON lower(borrowers.email) = said.email
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What an entry tells of its file."""

    number: str | None = None
    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Bound:
    """The file, if one was found, and how; `how` begins with `unbound` where none was."""

    loan_id: int | None = None
    lead_id: int | None = None
    how: str = "unbound"

    @property
    def is_bound(self) -> bool:
        """Whether there is a file."""
        return self.loan_id is not None or self.lead_id is not None


_Files = list[tuple[int | None, int | None]]


def bind(conn: Connection, told: Sequence[Told]) -> list[Bound]:
    """The file of each, in two statements for all. A number or an address that several files have binds none."""
    numbers = [each.number for each in told if each.number]
    emails = [each.email.lower() for each in told if each.email]
    by_number = _files(conn, _BY_NUMBER, {"numbers": numbers}) if numbers else {}
    by_email = _files(conn, _BY_EMAIL, {"emails": emails}) if emails else {}
    return [_one(by_number.get(each.number or "", []), by_email.get((each.email or "").lower(), [])) for each in told]


def _one(by_number: _Files, by_email: _Files) -> Bound:
    for files, what in ((by_number, "number"), (by_email, "e-mail address")):
        if len(files) == 1:
            return Bound(*files[0], f"bound by {what}")
        if files:
            return Bound(how=f"unbound: several files have that {what}")
    return Bound()


def _files(conn: Connection, statement: str, parameters: dict[str, list[str]]) -> dict[str, _Files]:
    found: dict[str, _Files] = {}
    for row in conn.exec_driver_sql(statement, parameters):
        found.setdefault(row.told, []).append((row.loan_id, row.lead_id))
    return found
