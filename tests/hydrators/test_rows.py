"""From an answer to rows: what each concern makes of what MLM says, and of what it leaves out. No database here."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from a_file import ALICE, BOB, CHILDREN, KEYS, NAMES, AFile, an_application

from freshness.concerns import Concern
from hydrators import HYDRATORS, Problem, is_lead, kind_of
from hydrators.errors import (
    DuplicateRecordId,
    IncompleteAnswer,
    MissingApplicants,
    MissingCollection,
    MissingFields,
    MissingRecordId,
    TryAgain,
)
from hydrators.rows import OWNED_BY
from mlm_client.loxml import Question

COLLECTIONS = {
    "aAssetCollection": Concern.ASSETS,
    "aLiaCollection": Concern.LIABILITIES,
    "aBEmpCollection": Concern.EMPLOYMENT,
    "aCEmpCollection": Concern.EMPLOYMENT,
    "aReCollection": Concern.REAL_PROPERTIES,
    "aIncomeCollection": Concern.INCOMES,
    "sCondDataSet": Concern.CONDITIONS,
    "sClosingCostFeeCollection": Concern.FEES,
}
OWNED = [(name, concern) for name, concern in COLLECTIONS.items() if name.startswith("a")]


def _row(file: AFile, concern: Concern, lqb_id: str):
    return next(row for row in file.landing(concern).rows if row["lqb_id"] == lqb_id)


def test_loan_fields_are_typed(file: AFile):
    (row,) = file.landing(Concern.LOAN_FIELDS).rows
    assert row["loan_amount"] == Decimal("400000.00")
    assert row["note_rate"] == Decimal("3.875")
    assert row["ltv"] == Decimal(80)
    assert row["term_months"] == 360
    assert row["estimated_closing_date"] == date(2027, 1, 9)
    assert (row["status"], row["status_code"]) == ("Registered", 3)
    assert row["mlm_loan_number"] == "2026110096"


def test_a_blank_field_is_null_and_one_that_is_not_in_the_answer_has_no_column(file: AFile):
    file.fields["sNoteIR"] = ""
    del file.fields["sLAmtCalc"]
    (row,) = file.landing(Concern.LOAN_FIELDS).rows
    assert row["note_rate"] is None
    assert "loan_amount" not in row


def test_an_enum_number_we_do_not_know_is_kept_without_a_name_and_is_no_problem(file: AFile):
    file.fields["sStatusT"] = "999"
    landing = file.landing(Concern.LOAN_FIELDS)
    assert (landing.rows[0]["status"], landing.rows[0]["status_code"]) == (None, 999)
    assert landing.problems == ()


@pytest.mark.parametrize(
    ("field", "column", "text"),
    [
        ("sLAmtCalc", "loan_amount", "a lot"),
        ("sLAmtCalc", "loan_amount", "$9,999,999,999,999.00"),
        ("sLAmtCalc", "loan_amount", "$999,999,999,999.995"),
        ("sLtvR", "ltv", "99999999%"),
        ("sStatusT", "status_code", "40000"),
        ("sStatusT", "status_code", "Open"),
        ("sTerm", "term_months", "30 years"),
        ("sEstCloseD", "estimated_closing_date", "2/30/2027"),
    ],
)
def test_what_cannot_be_read_or_held_is_null_and_named_and_the_rest_lands(
    file: AFile, field: str, column: str, text: str
):
    file.fields[field] = text
    landing = file.landing(Concern.LOAN_FIELDS)
    assert landing.rows[0][column] is None
    assert landing.rows[0]["property_address"] == "3726 Poplar St"
    (problem,) = landing.problems
    assert problem.field == field
    assert text not in str(problem)


def test_no_representation_of_a_landing_shows_a_value(file: AFile):
    assert "Firstimer" not in repr(file.landing(Concern.BORROWERS))


def test_an_answer_without_any_field_that_was_asked_for_is_an_error(file: AFile):
    file.fields = {"sLastModifiedTimestamp": "2026-11-20T13:04:05"}
    with pytest.raises(MissingFields):
        file.landing(Concern.LOAN_FIELDS)


@pytest.mark.parametrize(("status", "lead"), [("12", True), ("15", True), ("16", True), ("17", True), ("0", False)])
def test_the_status_tells_a_lead_from_a_loan(file: AFile, status: str, lead: bool):
    file.fields["sStatusT"] = status
    assert is_lead(file.answer(), NAMES) is lead
    assert file.landing(Concern.LOAN_FIELDS).table == ("leads" if lead else "loans")


@pytest.mark.parametrize(
    ("status", "known", "kind"),
    [
        ("12", None, "lead"),
        ("3", None, "loan"),
        ("3", "lead", "loan"),
        ("12", "lead", "lead"),
        ("12", "loan", "loan"),
        ("", "lead", "lead"),
        ("nonsense", "loan", "loan"),
    ],
)
def test_a_lead_becomes_a_loan_and_a_loan_is_never_turned_back(file: AFile, status: str, known, kind: str):
    file.fields["sStatusT"] = status
    assert kind_of(file.answer(), NAMES, known) == kind


def test_a_new_file_without_a_status_is_neither_loan_nor_lead(file: AFile):
    file.fields["sStatusT"] = ""
    with pytest.raises(MissingFields):
        kind_of(file.answer(), NAMES, None)


@pytest.mark.parametrize(("name", "concern"), COLLECTIONS.items())
def test_a_collection_that_was_asked_for_and_is_not_there_is_an_error_never_zero_rows(
    file: AFile, name: str, concern: Concern
):
    file.drop(name)
    with pytest.raises(MissingCollection, match=name):
        file.landing(concern)


@pytest.mark.parametrize(("name", "concern"), COLLECTIONS.items())
def test_a_collection_that_is_there_and_empty_has_no_rows(file: AFile, name: str, concern: Concern):
    before = len(file.landing(concern).rows)
    gone = len(file.records(name))
    file.records(name).clear()
    assert len(file.landing(concern).rows) == before - gone


@pytest.mark.parametrize(("name", "concern"), OWNED)
def test_each_applicant_must_carry_the_collection(file: AFile, name: str, concern: Concern):
    file.applicants.append(an_application("c-carol"))
    del file.applicants[1]["collections"][name]
    with pytest.raises(MissingCollection, match=f"{name} of applicant 1"):
        file.landing(concern)


@pytest.mark.parametrize("concern", [c for c in CHILDREN if c not in (Concern.CONDITIONS, Concern.FEES)])
def test_an_answer_without_any_applicant_is_an_error(file: AFile, concern: Concern):
    file.applicants.clear()
    with pytest.raises(MissingApplicants):
        file.landing(concern)


@pytest.mark.parametrize(("name", "concern"), COLLECTIONS.items())
@pytest.mark.parametrize("id_there", [None, "", "  ", "x" * 300])
def test_a_record_without_a_usable_id_is_an_error_of_the_whole_slice(
    file: AFile, name: str, concern: Concern, id_there: str | None
):
    record = file.records(name)[0]
    if id_there is None:
        del record["RecordId"]
    else:
        record["RecordId"] = id_there
    with pytest.raises(MissingRecordId, match=f"{name}.RecordId"):
        file.landing(concern)


@pytest.mark.parametrize(("name", "concern"), COLLECTIONS.items())
def test_an_id_that_stands_twice_is_an_error(file: AFile, name: str, concern: Concern):
    file.records(name).append(dict(file.records(name)[0]))
    with pytest.raises(DuplicateRecordId):
        file.landing(concern)


def test_every_error_of_an_answer_is_one_that_may_be_tried_again():
    assert issubclass(IncompleteAnswer, TryAgain)


def test_what_both_own_has_the_borrowers_id_and_says_both(file: AFile):
    row = _row(file, Concern.ASSETS, f"{ALICE}-a2")
    assert (row["owner"], row[OWNED_BY]) == ("both", ALICE)


def test_what_the_co_borrower_owns_has_the_co_borrowers_id(file: AFile):
    file.records("aAssetCollection")[0]["OwnerT"] = "1"
    row = _row(file, Concern.ASSETS, f"{ALICE}-a1")
    assert (row["owner"], row[OWNED_BY]) == ("co_borrower", BOB)


def test_whose_job_it_is_follows_from_its_collection(file: AFile):
    landing = file.landing(Concern.EMPLOYMENT)
    assert [(row["owner"], row[OWNED_BY]) for row in landing.rows] == [("borrower", ALICE), ("co_borrower", BOB)]


@pytest.mark.parametrize("owner", ["7", "somebody"])
def test_an_owner_that_cannot_be_read_is_null_and_named(file: AFile, owner: str):
    file.records("aAssetCollection")[0]["OwnerT"] = owner
    landing = file.landing(Concern.ASSETS)
    assert (landing.rows[0]["owner"], landing.rows[0][OWNED_BY]) == (None, None)
    assert [(problem.field, problem.lqb_id) for problem in landing.problems] == [("OwnerT", f"{ALICE}-a1")]


def test_an_owner_that_is_not_in_the_answer_leaves_both_columns(file: AFile):
    del file.records("aAssetCollection")[0]["OwnerT"]
    row = _row(file, Concern.ASSETS, f"{ALICE}-a1")
    assert "owner" not in row
    assert OWNED_BY not in row


def test_a_co_borrowers_asset_where_there_is_no_co_borrower_is_named_and_lands_without_one(file: AFile):
    file.applicants[0] = an_application(ALICE)
    file.records("aAssetCollection")[0]["OwnerT"] = "1"
    landing = file.landing(Concern.ASSETS)
    assert (landing.rows[0]["owner"], landing.rows[0][OWNED_BY]) == ("co_borrower", None)
    assert landing.problems == (Problem("OwnerT", f"{ALICE}-a1", "the application has no co-borrower"),)


def test_an_application_with_assets_and_no_borrowers_id_is_an_error(file: AFile):
    del file.first["fields"]["aBConsumerId"]
    with pytest.raises(MissingRecordId, match="aBConsumerId"):
        file.landing(Concern.ASSETS)


def test_a_couple_is_two_rows_of_one_application(file: AFile):
    file.applicants.append(an_application("c-carol"))
    rows = file.landing(Concern.BORROWERS).rows
    assert [(row["lqb_id"], row["position"], row["role"]) for row in rows] == [
        (ALICE, 0, "borrower"),
        (BOB, 0, "co_borrower"),
        ("c-carol", 1, "borrower"),
    ]
    assert [row["first_name"] for row in rows] == ["Alice", "Bob", "Alice"]
    assert {row["application_monthly_income"] for row in rows} == {Decimal("12000.00")}


def test_a_seat_that_is_there_and_blank_is_empty(file: AFile):
    file.applicants[0] = an_application(ALICE)
    landing = file.landing(Concern.BORROWERS)
    assert [row["lqb_id"] for row in landing.rows] == [ALICE]
    assert landing.unsaid == ()


def test_a_seat_of_which_the_answer_says_nothing_is_neither_filled_nor_emptied(file: AFile):
    for name in [name for name in file.first["fields"] if name.startswith("aC")]:
        del file.first["fields"][name]
    landing = file.landing(Concern.BORROWERS)
    assert [row["lqb_id"] for row in landing.rows] == [ALICE]
    assert landing.unsaid == (0,)


@pytest.mark.parametrize("seat", ["aB", "aC"])
@pytest.mark.parametrize("telling", ["FirstNm", "LastNm", "Ssn"])
def test_somebody_without_an_id_is_an_error(file: AFile, seat: str, telling: str):
    for name in ("FirstNm", "LastNm", "Ssn", "ConsumerId"):
        file.first["fields"][f"{seat}{name}"] = ""
    file.first["fields"][f"{seat}{telling}"] = "991-91-9993"
    with pytest.raises(MissingRecordId, match=f"{seat}ConsumerId"):
        file.landing(Concern.BORROWERS)


def test_one_person_in_two_seats_is_an_error(file: AFile):
    file.first["fields"]["aCConsumerId"] = ALICE
    with pytest.raises(DuplicateRecordId):
        file.landing(Concern.BORROWERS)


def test_an_ssn_is_sealed_and_digested_as_nine_digits(file: AFile):
    row = _row(file, Concern.BORROWERS, ALICE)
    assert KEYS.open(row["ssn_encrypted"]) == "991919991"
    assert row["ssn_last4"] == "9991"
    assert row["ssn_index"] == KEYS.index("991919991")


def test_a_masked_ssn_is_null_in_all_three_columns_and_named(file: AFile):
    file.first["fields"]["aBSsn"] = "***-**-9991"
    landing = file.landing(Concern.BORROWERS)
    assert [landing.rows[0][f"ssn_{part}"] for part in ("encrypted", "last4", "index")] == [None, None, None]
    assert [(problem.field, problem.lqb_id) for problem in landing.problems] == [("aBSsn", ALICE)]
    assert "9991" not in str(landing.problems)


def test_a_birth_date_and_a_credit_reports_id_are_sealed_and_digested_and_nothing_of_them_is_shown(file: AFile):
    file.first["fields"]["aCreditReportId"] = "71234567"
    row = _row(file, Concern.BORROWERS, ALICE)
    assert KEYS.open(row["birth_date_encrypted"]) == "1980-02-03"
    assert row["birth_date_index"] == KEYS.index("1980-02-03")
    assert KEYS.open(row["credit_report_id_encrypted"]) == "71234567"
    assert not [name for name in row if name.startswith(("birth_date", "credit_report")) and name.endswith("last4")]


def test_a_birth_date_that_cannot_be_read_is_null_and_named(file: AFile):
    file.first["fields"]["aBDob"] = "02/30/1980"
    landing = file.landing(Concern.BORROWERS)
    assert [landing.rows[0][f"birth_date_{part}"] for part in ("encrypted", "index")] == [None, None]
    assert [(problem.field, problem.lqb_id) for problem in landing.problems] == [("aBDob", ALICE)]


def test_an_account_number_is_sealed_and_one_of_four_digits_shows_no_last_four(file: AFile):
    file.records("aAssetCollection")[1]["AccNum"] = "1234"
    whole, short = file.landing(Concern.ASSETS).rows
    assert KEYS.open(whole["account_number_encrypted"]) == "0012345678"
    assert whole["account_number_last4"] == "5678"
    assert KEYS.open(short["account_number_encrypted"]) == "1234"
    assert short["account_number_last4"] is None


def test_a_property_names_the_liabilities_that_it_secures(file: AFile):
    (row,) = file.landing(Concern.REAL_PROPERTIES).rows
    assert row["liability_lqb_ids"] == [f"{ALICE}-l1", f"{ALICE}-l9"]


def test_slices_that_share_a_read_ask_for_what_each_needs_in_one_question():
    asked = Question()
    for concern in Concern:
        asked |= HYDRATORS[concern].question(NAMES)
    assert asked.applicant_collections == {name for name, _ in OWNED}
    assert asked.loan_collections == {"sCondDataSet", "sClosingCostFeeCollection"}


@pytest.mark.parametrize("concern", [Concern.CONDITIONS, Concern.FEES])
def test_what_nobody_owns_asks_for_no_applicant(concern: Concern):
    asked = HYDRATORS[concern].question(NAMES)
    assert asked.applicant_fields | asked.applicant_collections == frozenset()
