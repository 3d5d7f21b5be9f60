"""Conditions: what the underwriter still asks for. They are the file's, nobody owns them."""

from __future__ import annotations

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question

from .names import Names
from .records import landing_of, question_of
from .rows import Landing


def question(names: Names) -> Question:
    """What to ask MLM for."""
    return question_of(names, Concern.CONDITIONS)


def rows(answer: Answer, names: Names, keys: FieldKeys) -> Landing:
    """Rows of `conditions`."""
    return landing_of(answer, names, keys, Concern.CONDITIONS)
