"""Loan fields: MLM's scalars of the file itself, and whether the file is a loan or a lead."""

from __future__ import annotations

from typing import Literal

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question
from mlm_client.values import Unreadable, enum

from .errors import MissingFields
from .names import Names
from .names_tables import LEAD_STATUSES
from .rows import Landing, Reader

FileKind = Literal["loan", "lead"]


def question(names: Names) -> Question:
    """What to ask MLM for."""
    return Question(loan_fields=frozenset(field.name for field in names.loan_fields))


def rows(answer: Answer, names: Names, keys: FieldKeys) -> Landing:
    """One row, without its reference number: that is what was asked by. Its table is the one its status names.

    Raises:
        MissingFields: the answer has none of the fields.
    """
    reader = Reader(keys)
    row = reader.columns(answer.fields, names.loan_fields)
    if not row:
        raise MissingFields(Concern.LOAN_FIELDS)
    table = "leads" if is_lead(answer, names) else "loans"
    return Landing(Concern.LOAN_FIELDS, table, (row,), tuple(reader.problems))


def is_lead(answer: Answer, names: Names) -> bool | None:
    """Whether the status in the answer is a lead's; None if there is no status that can be read."""
    status = next(field for field in names.loan_fields if field.column == "status")
    try:
        code = enum(answer.fields.get(status.name))
    except Unreadable:
        return None
    return None if code is None else code in LEAD_STATUSES


def kind_of(answer: Answer, names: Names, known: FileKind | None) -> FileKind:
    """What the file is now, given what we know it as. A loan is never turned back; a lead becomes a loan.

    Raises:
        MissingFields: we don't know the file, and the answer has no status that can be read.
    """
    lead = is_lead(answer, names)
    if known == "loan":
        return "loan"
    if lead is None and known is None:
        raise MissingFields(Concern.LOAN_FIELDS, "readable status")
    return "lead" if lead or lead is None else "loan"
