"""What can go wrong between an answer of MLM's and our rows, as a tree a caller can act on.

    HydrateError
    └── TryAgain                    the same slice may succeed later; nothing of it has landed
        ├── IncompleteAnswer        the answer cannot be taken for the whole, so no row is deleted on its word
        │   ├── MissingCollection   a collection that was asked for is not there
        │   ├── MissingApplicants   no applicant is there
        │   ├── MissingFields       no field, or not the one that is needed, is there
        │   ├── MissingRecordId     a record without its id: we could only guess which row it is
        │   └── DuplicateRecordId   two records with one id: we could only guess which one holds
        ├── MissingBorrower         a row belongs to a borrower who has not landed: wait for borrowers
        └── RefusedRows             a constraint of the table, or a column's type, does not take the rows

A value that cannot be read is no error: its column is null, and the landing lists it (`landing.Problem`). The one
error that stops a process is `freshness.errors.SettingError`, for a bad `MLM_NAMES`. None carries a value of MLM's.
"""

from __future__ import annotations

from freshness.concerns import Concern


class HydrateError(Exception):
    """An answer that does not become rows."""


class TryAgain(HydrateError):
    """The same slice may succeed later."""


class IncompleteAnswer(TryAgain):
    """The answer cannot be taken for the whole of what was asked."""


class MissingCollection(IncompleteAnswer):
    """A collection that was asked for is not in the answer, or not in each of its applicants. Never zero rows."""

    def __init__(self, concern: Concern, collection: str, position: int | None = None) -> None:
        where = "" if position is None else f" of applicant {position}"
        super().__init__(f"{concern}: the answer has no {collection}{where}")


class MissingApplicants(IncompleteAnswer):
    """The answer has no applicant, so it says nothing about borrowers and what hangs on them."""

    def __init__(self, concern: Concern) -> None:
        super().__init__(f"{concern}: the answer has no applicant")


class MissingFields(IncompleteAnswer):
    """The answer lacks the field that is needed, or every one that was asked for."""

    def __init__(self, concern: Concern, field: str | None = None) -> None:
        super().__init__(f"{concern}: the answer has no {field or 'field that was asked for'}")


class MissingRecordId(IncompleteAnswer):
    """A record, or a borrower, without its id. `number` counts from 0 in the collection or the applicants."""

    def __init__(self, concern: Concern, field: str, number: int) -> None:
        super().__init__(f"{concern}: number {number} has no usable {field}")


class DuplicateRecordId(IncompleteAnswer):
    """Two records of one file with the same id."""

    def __init__(self, concern: Concern, field: str, number: int) -> None:
        super().__init__(f"{concern}: number {number} has the {field} of one before it")


class MissingBorrower(TryAgain):
    """Rows belong to borrowers who are not among the file's: the slice waits for borrowers, it does not guess."""

    def __init__(self, table: str, count: int) -> None:
        super().__init__(f"{table}: {count} of the owners named have not landed among the borrowers")


class RefusedRows(TryAgain):
    """A constraint or a column's type does not take the rows. `sqlstate` is PostgreSQL's code; its text may quote."""

    def __init__(self, concern: Concern, sqlstate: str) -> None:
        super().__init__(f"{concern}: the tables do not take the rows (PostgreSQL {sqlstate})")
