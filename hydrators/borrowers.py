"""Borrowers: the people of each application, a borrower and maybe a co-borrower. Most other concerns hang on them."""

from __future__ import annotations

from collections.abc import Mapping

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question
from mlm_client.values import text

from .errors import DuplicateRecordId, MissingApplicants, MissingRecordId
from .names import Names
from .names_tables import Field, Kind
from .rows import Landing, Reader, Row, record_id


def question(names: Names) -> Question:
    """What to ask MLM for: every application's people."""
    fields = (*names.borrower, *names.co_borrower, *names.application)
    return Question(applicant_fields=frozenset(field.name for field in fields))


def rows(answer: Answer, names: Names, keys: FieldKeys) -> Landing:
    """Rows of `borrowers`, by application and seat.

    A seat whose id, name and SSN are there and blank is empty. One of which the answer says nothing stays as it is.

    Raises:
        MissingApplicants: the answer has none, which no file is without.
        MissingRecordId: somebody sits there whose id is not in the answer, or it has no borrower's id at all.
        DuplicateRecordId: one id in two seats.
    """
    if not answer.applicants:
        raise MissingApplicants(Concern.BORROWERS)
    reader = Reader(keys)
    found: list[Row] = []
    unsaid: list[int] = []
    seen: set[str] = set()
    for position, applicant in enumerate(answer.applicants):
        for role, fields in (("borrower", names.borrower), ("co_borrower", names.co_borrower)):
            known_by = next(field for field in fields if field.kind is Kind.RECORD_ID)
            lqb_id = record_id(applicant.fields.get(known_by.name))
            if lqb_id is None:
                if _is_somebody(applicant.fields, fields):
                    raise MissingRecordId(Concern.BORROWERS, known_by.name, position)
                if known_by.name not in applicant.fields:
                    if role == "borrower":
                        raise MissingRecordId(Concern.BORROWERS, known_by.name, position)
                    unsaid.append(position)
                continue
            if lqb_id in seen:
                raise DuplicateRecordId(Concern.BORROWERS, known_by.name, position)
            seen.add(lqb_id)
            found.append(
                {"lqb_id": lqb_id, "position": position, "role": role}
                | reader.columns(applicant.fields, fields, lqb_id)
                | reader.columns(applicant.fields, names.application, lqb_id)
            )
    return Landing(Concern.BORROWERS, "borrowers", tuple(found), tuple(reader.problems), tuple(unsaid))


def _is_somebody(said: Mapping[str, str], fields: tuple[Field, ...]) -> bool:
    """Whether a name, an SSN or an unusable id stands in the seat; an address alone makes nobody."""
    telling = ("lqb_id", "first_name", "last_name", "ssn")
    return any(text(said.get(field.name)) for field in fields if field.column in telling)
