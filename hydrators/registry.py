"""Which module hydrates which concern, and the question that every call begins with."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Protocol

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question

from . import (
    assets,
    borrowers,
    conditions,
    employment,
    fees,
    incomes,
    liabilities,
    loan_fields,
    real_properties,
)
from .names import Names
from .rows import Landing


class Hydrator(Protocol):
    """What each concern's module is. Both are pure: neither asks MLM nor writes a row."""

    def question(self, names: Names) -> Question:
        """What to ask MLM for, without the stamp."""

    def rows(self, answer: Answer, names: Names, keys: FieldKeys) -> Landing:
        """What an answer to that question becomes. Raises `hydrators.errors.HydrateError`."""


HYDRATORS: dict[Concern, Hydrator] = {
    Concern.LOAN_FIELDS: loan_fields,
    Concern.BORROWERS: borrowers,
    Concern.ASSETS: assets,
    Concern.LIABILITIES: liabilities,
    Concern.EMPLOYMENT: employment,
    Concern.REAL_PROPERTIES: real_properties,
    Concern.INCOMES: incomes,
    Concern.CONDITIONS: conditions,
    Concern.FEES: fees,
}


def question_of(concerns: Iterable[Concern], names: Names) -> Question:
    """What to ask MLM for in one call, so that all of these concerns can land; the file's stamp with it."""
    stamp = Question(loan_fields=frozenset({names.stamp}))
    return reduce(or_, (HYDRATORS[concern].question(names) for concern in concerns), stamp)


def stamp_in(answer: Answer, names: Names) -> str | None:
    """The stamp's text in an answer; None if it is not there or blank."""
    return answer.fields.get(names.stamp) or None
