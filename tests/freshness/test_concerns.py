"""The graph of concerns: nine, four of them roots, and a lender without one has its children hang higher."""

from __future__ import annotations

import itertools

from freshness.concerns import ALL, Concern, downstream_of, roots, upstream_of


def without(*absent: Concern) -> tuple[Concern, ...]:
    return tuple(concern for concern in ALL if concern not in absent)


def test_there_are_nine_and_loan_fields_come_first() -> None:
    assert len(ALL) == 9
    assert roots() == (Concern.LOAN_FIELDS, Concern.BORROWERS, Concern.CONDITIONS, Concern.FEES)


def test_what_hangs_on_what() -> None:
    assert downstream_of(Concern.BORROWERS) == (Concern.ASSETS, Concern.LIABILITIES, Concern.EMPLOYMENT)
    assert downstream_of(Concern.LIABILITIES) == (Concern.REAL_PROPERTIES,)
    assert downstream_of(Concern.EMPLOYMENT) == (Concern.INCOMES,)
    assert downstream_of(Concern.FEES) == ()


def test_a_concern_without_its_upstream_hangs_on_the_next_one_up() -> None:
    assert upstream_of(Concern.INCOMES, without(Concern.EMPLOYMENT)) is Concern.BORROWERS
    assert upstream_of(Concern.INCOMES, without(Concern.EMPLOYMENT, Concern.BORROWERS)) is None
    assert downstream_of(Concern.BORROWERS, without(Concern.LIABILITIES)) == (
        Concern.ASSETS, Concern.EMPLOYMENT, Concern.REAL_PROPERTIES,
    )  # fmt: skip


def test_every_lender_reaches_each_of_its_concerns_from_a_root_once_upstream_before_downstream() -> None:
    for size in range(len(ALL)):
        for absent in itertools.combinations(ALL, size):
            active = without(*absent)
            reached = list(roots(active))
            for concern in reached:
                reached.extend(downstream_of(concern, active))
            assert sorted(reached) == sorted(active)
            assert all(active.index(upstream_of(c, active) or c) <= active.index(c) for c in active)
