"""The nine concerns of a file, and which hangs on which.

A concern is what one slice reads and lands. The graph stands here and nowhere else: root slices are
sent together, the others follow the concern they hang on (seed 003, "ordering"; protocol.md, "A slice").
"""

from __future__ import annotations

from enum import StrEnum


class Concern(StrEnum):
    """One independently read, landed and retried part of a file."""

    LOAN_FIELDS = "loan_fields"
    BORROWERS = "borrowers"
    ASSETS = "assets"
    LIABILITIES = "liabilities"
    EMPLOYMENT = "employment"
    REAL_PROPERTIES = "real_properties"
    INCOMES = "incomes"
    CONDITIONS = "conditions"
    FEES = "fees"


#: The concern that each dependent one hangs on; it begins only when that one's rows have landed.
UPSTREAM: dict[Concern, Concern] = {
    Concern.ASSETS: Concern.BORROWERS,
    Concern.LIABILITIES: Concern.BORROWERS,
    Concern.EMPLOYMENT: Concern.BORROWERS,
    Concern.REAL_PROPERTIES: Concern.LIABILITIES,
    Concern.INCOMES: Concern.EMPLOYMENT,
}

#: Every concern, upstream before downstream.
ALL: tuple[Concern, ...] = tuple(Concern)


def upstream_of(concern: Concern, active: tuple[Concern, ...] = ALL) -> Concern | None:
    """The nearest active concern that `concern` hangs on; a lender without a concern has its children hang higher."""
    above = UPSTREAM.get(concern)
    while above is not None and above not in active:
        above = UPSTREAM.get(above)
    return above


def downstream_of(concern: Concern, active: tuple[Concern, ...] = ALL) -> tuple[Concern, ...]:
    """The active concerns that hang directly on `concern`."""
    return tuple(c for c in active if upstream_of(c, active) == concern)


def roots(active: tuple[Concern, ...] = ALL) -> tuple[Concern, ...]:
    """The active concerns that hang on none, loan fields first."""
    return tuple(c for c in active if upstream_of(c, active) is None)
