"""Real estate owned (REO), and the liabilities that each property secures."""

from __future__ import annotations

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Question

from .names import Names
from .records import landing_of, question_of
from .rows import Landing


def question(names: Names) -> Question:
    """What to ask MLM for."""
    return question_of(names, Concern.REAL_PROPERTIES)


def rows(answer: Answer, names: Names, keys: FieldKeys) -> Landing:
    """Rows of `real_properties`; `liability_lqb_ids` are MLM's ids, whether we hold those liabilities or not."""
    return landing_of(answer, names, keys, Concern.REAL_PROPERTIES)
