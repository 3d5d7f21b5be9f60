"""Liabilities: debts, owned by a borrower, a co-borrower or both."""

from __future__ import annotations

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question

from .names import Names
from .records import landing_of, question_of
from .rows import Landing


def question(names: Names) -> Question:
    """What to ask MLM for."""
    return question_of(names, Concern.LIABILITIES)


def rows(answer: Answer, names: Names, keys: FieldKeys) -> Landing:
    """Rows of `liabilities`, each with the account number sealed."""
    return landing_of(answer, names, keys, Concern.LIABILITIES)
