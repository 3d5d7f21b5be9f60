"""Hydrators: for each concern what to ask MLM for, and the rows that an answer becomes.

    names = load_names(settings.mlm_names)
    hydrator = HYDRATORS[Concern.ASSETS]
    answer = …MLM's answer to… question_of([Concern.ASSETS], names)
    landing = hydrator.rows(answer, names, FieldKeys(settings.field_keys))     # pure
    with engine.begin() as conn:
        rows_changed = land(conn, Parent("loan", loan_id), landing)

Nothing here asks MLM, commits, or decides what is fresh. One call may ask for several concerns.
"""

from __future__ import annotations

from .landing import Parent, hydrating, land, land_loan_fields, move_children, purge_children
from .loan_fields import FileKind, is_lead, kind_of
from .names import Names, load_names
from .registry import HYDRATORS, Hydrator, question_of, stamp_in
from .rows import Landing, Problem

__all__ = [
    "HYDRATORS",
    "FileKind",
    "Hydrator",
    "Landing",
    "Names",
    "Parent",
    "Problem",
    "hydrating",
    "is_lead",
    "kind_of",
    "land",
    "land_loan_fields",
    "load_names",
    "move_children",
    "purge_children",
    "question_of",
    "stamp_in",
]
