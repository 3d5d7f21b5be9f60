"""Whole files of the sandbox, in each form MLM may give them, become rows; and the same rows again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from a_file import CHILDREN, KEYS, NAMES, House

from freshness.concerns import Concern
from hydrators import HYDRATORS, Parent, land, land_loan_fields, question_of, stamp_in
from mlm_client.loxml import Answer, read_answer
from mlm_client.sandbox.files import Content, Version
from mlm_client.sandbox.knobs import Knobs
from mlm_client.sandbox.loxml import answer, compile_query
from mlm_client.sandbox.making import Maker

#: Ticks of 100 ns, as the sandbox keeps a stamp.
STAMP = 17_900_000_000_000_000

FORMS: list[dict[str, Any]] = [
    {},
    {"blank_form": "omitted"},
    {"blank_form": "self_closed"},
    {"money_form": "plain", "rate_form": "plain", "date_form": "iso", "bool_form": "Yes", "ssn_form": "digits"},
    {"date_form": "short"},
]


def _read(content: Content, concern: Concern, knobs: Knobs) -> Answer:
    question = question_of([concern], NAMES)
    return read_answer(answer(Version(content, STAMP, number=1), compile_query(question.to_xml(), ()), knobs))


def _land(house: House, content: Content, knobs: Knobs) -> tuple[Parent, dict[Concern, int]]:
    with house.engine.begin() as conn:
        loan = HYDRATORS[Concern.LOAN_FIELDS].rows(_read(content, Concern.LOAN_FIELDS, knobs), NAMES, KEYS)
        parent, changed = land_loan_fields(conn, "lead" if content.is_lead else "loan", content.ref, loan)
        landed = {Concern.LOAN_FIELDS: changed}
        for concern in CHILDREN:
            landing = HYDRATORS[concern].rows(_read(content, concern, knobs), NAMES, KEYS)
            assert landing.problems == ()
            landed[concern] = land(conn, parent, landing)
    return parent, landed


@pytest.mark.parametrize("form", FORMS)
def test_a_whole_file_lands_in_every_form_and_a_second_time_changes_nothing(house: House, form: dict[str, Any]):
    maker, knobs = Maker(seed=7), Knobs(**form)
    for content in (maker.file(), maker.file(), maker.file(lead=True)):
        parent, landed = _land(house, content, knobs)
        expected = sum(len(records) for records in content.collections.values())
        expected += sum(len(records) for each in content.applicants for records in each.collections.values())
        assert sum(landed.values()) == expected + 1 + landed[Concern.BORROWERS]
        assert house.one(f"SELECT loan_amount FROM {parent.kind}s WHERE id = {parent.id}")["loan_amount"] == Decimal(
            content.fields["sLAmtCalc"]
        )
        assert set(_land(house, content, knobs)[1].values()) == {0}


@pytest.mark.parametrize("form", FORMS[2:])
def test_the_form_of_the_values_makes_no_difference_to_the_rows(house: House, form: dict[str, Any]):
    content = Maker(seed=9).file()
    _land(house, content, Knobs())
    assert set(_land(house, content, Knobs(**form))[1].values()) == {0}


def test_the_stamp_comes_with_every_slices_answer():
    content = Maker().file()
    for concern in Concern:
        assert stamp_in(_read(content, concern, Knobs()), NAMES)
    assert stamp_in(_read(content, Concern.FEES, Knobs(stamp_form="blank")), NAMES) is None
