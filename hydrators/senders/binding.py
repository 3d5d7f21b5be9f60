"""Which loan or lead of ours a sender speaks of: by its number, else by an e-mail address that exactly one has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

# A lead that became a loan has left its borrowers to the loan.
_FILES = """
SELECT 'number' AS by, mlm_loan_number AS told, id AS loan_id, NULL::bigint AS lead_id
FROM loans WHERE mlm_loan_number = ANY(%(numbers)s) AND deleted_at IS NULL
UNION ALL
SELECT 'number', mlm_loan_number, NULL, id
FROM leads WHERE mlm_loan_number = ANY(%(numbers)s) AND deleted_at IS NULL AND became_loan_id IS NULL
UNION ALL
SELECT DISTINCT 'email', lower(email), loan_id, lead_id FROM borrowers WHERE lower(email) = ANY(%(emails)s)
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
    """The file of each, in one statement for all. A number or an address that several files have binds none."""
    numbers = sorted({each.number for each in told if each.number})
    emails = sorted({each.email.lower() for each in told if each.email})
    files: dict[tuple[str, str], _Files] = {}
    if numbers or emails:
        for row in conn.exec_driver_sql(_FILES, {"numbers": numbers, "emails": emails}):
            files.setdefault((row.by, row.told), []).append((row.loan_id, row.lead_id))
    return [
        _one(files.get(("number", each.number or ""), []), files.get(("email", (each.email or "").lower()), []))
        for each in told
    ]


def _one(by_number: _Files, by_email: _Files) -> Bound:
    for files, what in ((by_number, "number"), (by_email, "e-mail address")):
        if len(files) == 1:
            return Bound(*files[0], f"bound by {what}")
        if files:
            return Bound(how=f"unbound: several files have that {what}")
    return Bound()
