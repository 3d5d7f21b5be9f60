"""Rows into real tables: only what differs is written, only what MLM no longer has is deleted."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from a_file import ALICE, BOB, CHILDREN, KEYS, NAMES, AFile, House, an_application
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from hydrators import Parent, hydrating, land, land_loan_fields, move_children, purge_children
from hydrators.errors import MissingBorrower, MissingCollection

#: What lands of the file in `a_file`.
SIZES = {
    Concern.BORROWERS: 2, Concern.ASSETS: 2, Concern.LIABILITIES: 1, Concern.EMPLOYMENT: 2, Concern.REAL_PROPERTIES: 1,
    Concern.INCOMES: 2, Concern.CONDITIONS: 2, Concern.FEES: 1,
}  # fmt: skip

TABLES = (
    "borrowers", "assets", "liabilities", "employments", "real_properties", "incomes", "conditions", "fees",
)  # fmt: skip

#: A field of a record of each concern, another text for it, and what its column must then hold.
EDITS: list[tuple[Concern, str, str, str, str, Any]] = [
    (Concern.ASSETS, "aAssetCollection", "Val", "$1.50", "value", Decimal("1.50")),
    (Concern.ASSETS, "aAssetCollection", "AccNum", "99990001", "account_number_last4", "0001"),
    (Concern.ASSETS, "aAssetCollection", "ComNm", "", "company_name", None),
    (Concern.LIABILITIES, "aLiaCollection", "WillBePdOff", "True", "will_be_paid_off", True),
    (Concern.EMPLOYMENT, "aBEmpCollection", "EmplmtEndD", "1/5/2026", "end_date", date(2026, 1, 5)),
    (Concern.REAL_PROPERTIES, "aReCollection", "LiaRecordIds", "x", "liability_lqb_ids", ["x"]),
    (Concern.INCOMES, "aIncomeCollection", "MonI", "($5.00)", "monthly_amount", Decimal("-5.00")),
    (Concern.CONDITIONS, "sCondDataSet", "Status", "Waived", "status", "Waived"),
    (Concern.FEES, "sClosingCostFeeCollection", "Amt", "$0.00", "amount", Decimal("0.00")),
]

#: A collection of each concern that has any.
COLLECTIONS = list(dict.fromkeys((collection, concern) for concern, collection, *_ in EDITS))


@pytest.fixture(params=["loan", "lead"])
def parent(request: pytest.FixtureRequest, house: House) -> Parent:
    return house.loan(kind=request.param)


def test_every_concern_lands_for_a_loan_and_for_a_lead(house: House, parent: Parent, file: AFile):
    assert house.land_all(parent, file) == SIZES
    for table in TABLES:
        rows = house.rows(table, parent)
        assert rows
        assert {row[parent.column] for row in rows.values()} == {parent.id}


def test_a_second_landing_of_the_same_changes_no_row(house: House, parent: Parent, file: AFile):
    house.land_all(parent, file)
    before = house.all("SELECT lqb_id, xmin, xmax FROM assets")
    assert set(house.land_all(parent, file).values()) == {0}
    assert house.all("SELECT lqb_id, xmin, xmax FROM assets") == before, "rows that are equal are not even locked"


def test_the_columns_hold_what_mlm_shows(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    alice, bob = (house.rows("borrowers")[lqb_id] for lqb_id in (ALICE, BOB))
    assert (alice["first_name"], alice["equifax_score"]) == ("Alice", 740)
    assert KEYS.open(alice["birth_date_encrypted"]) == "1980-02-03"
    assert (bob["role"], bob["position"]) == ("co_borrower", 0)
    assert KEYS.open(alice["ssn_encrypted"]) == "991919991"
    joint = house.rows("assets")[f"{ALICE}-a2"]
    assert (joint["owner"], joint["borrower_id"], joint["asset_type"]) == ("both", alice["id"], "Savings")
    jobs = house.rows("employments")
    assert jobs[f"{ALICE}-e2"]["borrower_id"] == bob["id"]
    incomes = house.rows("incomes")
    assert incomes[f"{ALICE}-i1"]["employment_id"] == jobs[f"{ALICE}-e1"]["id"]
    assert incomes[f"{ALICE}-i2"]["employment_id"] is None
    assert house.rows("real_properties")[f"{ALICE}-r1"]["liability_lqb_ids"] == [f"{ALICE}-l1", f"{ALICE}-l9"]


def test_no_ssn_and_no_account_number_stands_in_the_database_in_plain(house: House, file: AFile):
    house.land_all(house.loan(), file)
    everything = str(house.all("SELECT b::text FROM borrowers b") + house.all("SELECT a::text FROM assets a"))
    assert "Firstimer" in everything
    for secret in ("991919991", "991-91-9991", "0012345678"):
        assert secret not in everything


@pytest.mark.parametrize(("concern", "collection", "field", "text", "column", "value"), EDITS)
def test_one_record_edited_changes_one_row(
    house: House, file: AFile, concern: Concern, collection: str, field: str, text: str, column: str, value: Any
):
    parent = house.loan()
    house.land_all(parent, file)
    table, record = file.landing(concern).table, file.records(collection)[0]
    before = house.rows(table)[record["RecordId"]]["id"]
    record[field] = text
    assert house.land(parent, file.landing(concern)) == 1
    row = house.rows(table)[record["RecordId"]]
    assert row[column] == value
    assert row["id"] == before


@pytest.mark.parametrize(("collection", "concern"), COLLECTIONS)
def test_a_record_that_mlm_no_longer_has_is_deleted_and_no_other(
    house: House, file: AFile, collection: str, concern: Concern
):
    parent, other = house.loan(), house.loan("R000002")
    house.land_all(parent, file)
    house.land_all(other, file)
    table = file.landing(concern).table
    gone = file.records(collection).pop(0)["RecordId"]
    assert house.land(parent, file.landing(concern)) == 1
    assert gone not in house.rows(table, parent)
    assert gone in house.rows(table, other), "another file's record of the same id is its own"


@pytest.mark.parametrize(("collection", "concern"), COLLECTIONS)
def test_a_record_that_is_new_is_one_row(house: House, file: AFile, collection: str, concern: Concern):
    parent = house.loan()
    house.land_all(parent, file)
    file.records(collection).append(dict(file.records(collection)[0], RecordId="new"))
    assert house.land(parent, file.landing(concern)) == 1
    assert "new" in house.rows(file.landing(concern).table)


def test_a_collection_that_is_there_and_empty_deletes_all_its_rows(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    file.records("sCondDataSet").clear()
    assert house.land(parent, file.landing(Concern.CONDITIONS)) == 2
    assert house.rows("conditions") == {}


def test_a_collection_that_is_not_there_deletes_nothing(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    file.drop("sCondDataSet")
    with pytest.raises(MissingCollection):
        house.land(parent, file.landing(Concern.CONDITIONS))
    assert len(house.rows("conditions")) == 2


def test_a_field_that_is_not_in_the_answer_leaves_its_column(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    first, second = file.records("aAssetCollection")
    del first["ComNm"], first["AccNum"], first["OwnerT"]
    first["Val"] = "$7.00"
    second["Val"] = "$8.00"
    assert house.land(parent, file.landing(Concern.ASSETS)) == 2
    row = house.rows("assets")[first["RecordId"]]
    assert (row["value"], row["company_name"], row["account_number_last4"]) == (Decimal(7), "First Harbor", "5678")
    assert (row["owner"], row["borrower_id"]) == ("borrower", house.rows("borrowers")[ALICE]["id"])
    assert house.rows("assets")[second["RecordId"]]["value"] == Decimal(8)


def test_a_record_that_is_only_an_id_lands(house: House, file: AFile):
    parent = house.loan()
    file.collections["sClosingCostFeeCollection"] = [{"RecordId": "f9"}]
    assert house.land(parent, file.landing(Concern.FEES)) == 1
    assert house.land(parent, file.landing(Concern.FEES)) == 0


def test_what_cannot_be_read_is_null_in_its_column_and_the_rest_of_the_row_lands(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    file.records("aAssetCollection")[0] |= {"Val": "about ten thousand", "ComNm": "Other"}
    landing = file.landing(Concern.ASSETS)
    assert house.land(parent, landing) == 1
    row = house.rows("assets")[f"{ALICE}-a1"]
    assert (row["value"], row["company_name"]) == (None, "Other")
    assert [problem.field for problem in landing.problems] == ["Val"]


def test_a_slice_whose_borrower_has_not_landed_waits_and_does_not_guess(house: House, file: AFile):
    parent, other = house.loan(), house.loan("R000002")
    house.land(other, file.landing(Concern.BORROWERS))
    with pytest.raises(MissingBorrower):
        house.land(parent, file.landing(Concern.ASSETS))
    assert house.rows("assets") == {}


def test_a_job_that_is_not_held_is_found_once_it_is(house: House, file: AFile):
    parent = house.loan()
    house.land(parent, file.landing(Concern.BORROWERS))
    house.land(parent, file.landing(Concern.INCOMES))
    before = house.rows("incomes")[f"{ALICE}-i1"]
    assert (before["employment_id"], before["employment_lqb_id"]) == (None, f"{ALICE}-e1")
    house.land(parent, file.landing(Concern.EMPLOYMENT))
    assert house.land(parent, file.landing(Concern.INCOMES)) == 1
    assert house.rows("incomes")[f"{ALICE}-i1"]["employment_id"] is not None


def test_a_borrower_who_leaves_takes_no_asset_along(house: House, file: AFile):
    """The assets' own slice follows, and says whose they are now."""
    parent = house.loan()
    house.land_all(parent, file)
    jobs = house.rows("employments")
    file.first["fields"] |= {"aCConsumerId": "", "aCFirstNm": "", "aCLastNm": "", "aCSsn": ""}
    assert house.land(parent, file.landing(Concern.BORROWERS)) == 1
    assert set(house.rows("borrowers")) == {ALICE}
    assert set(house.rows("employments")) == set(jobs)
    assert house.rows("employments")[f"{ALICE}-e2"]["borrower_id"] is None


def test_a_co_borrower_of_whom_the_answer_says_nothing_stays(house: House, file: AFile):
    parent = house.loan()
    file.applicants.append(an_application("c-carol", "c-dave"))
    house.land(parent, file.landing(Concern.BORROWERS))
    for name in [name for name in file.first["fields"] if name.startswith("aC")]:
        del file.first["fields"][name]
    file.applicants[1]["fields"] |= {"aCConsumerId": "", "aCFirstNm": "", "aCLastNm": "", "aCSsn": ""}
    assert house.land(parent, file.landing(Concern.BORROWERS)) == 1
    assert set(house.rows("borrowers")) == {ALICE, BOB, "c-carol"}


def test_people_who_change_seats_keep_their_rows(house: House, file: AFile):
    parent = house.loan()
    house.land(parent, file.landing(Concern.BORROWERS))
    before = {lqb_id: row["id"] for lqb_id, row in house.rows("borrowers").items()}
    file.first["fields"] |= {"aBConsumerId": BOB, "aCConsumerId": ALICE}
    assert house.land(parent, file.landing(Concern.BORROWERS)) == 2
    assert {lqb_id: row["id"] for lqb_id, row in house.rows("borrowers").items()} == before
    assert house.rows("borrowers")[BOB]["role"] == "borrower"


def test_a_new_key_seals_every_number_anew_when_its_file_lands_again(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    keys = FieldKeys((bytes(32), bytes(range(32))))
    assert house.land(parent, file.landing(Concern.ASSETS, keys=keys)) == 2
    assert house.rows("assets")[f"{ALICE}-a1"]["account_number_index"] == keys.index("0012345678")
    assert FieldKeys((bytes(32),)).open(house.rows("assets")[f"{ALICE}-a1"]["account_number_encrypted"])


def test_a_landing_takes_the_same_few_statements_however_many_rows(house: House, file: AFile):
    parent = house.loan()
    house.land(parent, file.landing(Concern.BORROWERS))
    template = file.records("aAssetCollection")[0]
    file.first["collections"]["aAssetCollection"] = [dict(template, RecordId=f"a{n}") for n in range(300)]
    seen: list[str] = []
    with house.engine.begin() as conn:
        event.listen(conn, "before_cursor_execute", lambda _c, _u, statement, *_: seen.append(statement))
        assert land(conn, parent, file.landing(Concern.ASSETS)) == 300
    assert len(seen) == 2, "the ids of owners, and one that puts and deletes"


def test_a_landing_commits_nothing_of_its_own(house: House, file: AFile):
    parent = house.loan()
    with house.engine.connect() as conn:
        land(conn, parent, file.landing(Concern.CONDITIONS))
        conn.rollback()
    assert house.rows("conditions") == {}


def test_loan_fields_make_the_loan_and_then_update_only_what_differs(house: House, file: AFile):
    def landed() -> tuple[Parent, int]:
        with house.engine.begin() as conn:
            return land_loan_fields(conn, "loan", "R000001", file.landing(Concern.LOAN_FIELDS))

    made, changed = landed()
    assert changed == 1
    assert landed() == (made, 0)
    file.fields["sLtvR"] = "81.5%"
    del file.fields["sNoteIR"]
    assert landed() == (made, 1)
    row = house.one("SELECT * FROM loans")
    assert (row["mlm_reference_number"], row["ltv"], row["note_rate"]) == ("R000001", Decimal("81.5"), Decimal("3.875"))


def test_loan_fields_leave_how_far_the_copy_is_to_the_ledger(house: House, file: AFile):
    parent = house.loan()
    house.run("UPDATE loans SET is_hydrated = true, hydrated_at = now(), deleted_at = now()")
    before = house.one("SELECT is_hydrated, hydrated_at, deleted_at FROM loans")
    file.fields["sTerm"] = "180"
    with house.engine.begin() as conn:
        assert land_loan_fields(conn, "loan", "R000001", file.landing(Concern.LOAN_FIELDS)) == (parent, 1)
    assert house.one("SELECT is_hydrated, hydrated_at, deleted_at FROM loans") == before


def test_a_purge_leaves_the_row_and_no_child(house: House, file: AFile):
    parent, other = house.loan(), house.loan("R000002")
    house.land_all(parent, file)
    house.land_all(other, file)
    with house.engine.begin() as conn:
        assert purge_children(conn, parent) == sum(SIZES.values())
    assert [len(house.rows(table)) for table in TABLES] == [SIZES[concern] for concern in CHILDREN]
    assert len(house.all("SELECT id FROM loans")) == 2


def test_the_children_of_a_lead_that_became_a_loan_move_and_keep_their_ids(house: House, file: AFile):
    lead = house.loan(kind="lead")
    house.land_all(lead, file)
    loan = house.loan()
    before = {table: {lqb_id: row["id"] for lqb_id, row in house.rows(table, lead).items()} for table in TABLES}
    with house.engine.begin() as conn:
        assert move_children(conn, lead.id, loan.id) == sum(SIZES.values())
    for table in TABLES:
        assert house.rows(table, lead) == {}
        assert {lqb_id: row["id"] for lqb_id, row in house.rows(table, loan).items()} == before[table]
    assert set(house.land_all(loan, file).values()) == {0}


def test_where_the_loan_was_there_already_its_own_rows_stay_and_the_next_landing_mends_the_rest(
    house: House, file: AFile
):
    lead, loan = house.loan(kind="lead"), house.loan()
    house.land_all(lead, file)
    house.land(loan, file.landing(Concern.BORROWERS))
    with house.engine.begin() as conn:
        assert move_children(conn, lead.id, loan.id) == sum(SIZES.values()) - 2
    house.land_all(loan, file)
    alice = house.rows("borrowers", loan)[ALICE]["id"]
    assert house.rows("assets", loan)[f"{ALICE}-a1"]["borrower_id"] == alice
    assert house.rows("borrowers", lead) == {}


@pytest.mark.parametrize("parents", ["NULL, NULL", "1, 1"])
def test_a_child_of_none_or_of_two_is_refused_by_the_database(house: House, parents: str):
    house.loan()
    house.loan(kind="lead")
    with pytest.raises(IntegrityError, match="one_parent"):
        house.run(f"INSERT INTO fees (loan_id, lead_id, lqb_id) VALUES ({parents}, 'f')")


def test_a_hydrate_leaves_no_entry_in_the_audit_log(house: House, file: AFile):
    lead, loan = house.loan(kind="lead"), house.loan()
    house.land_all(lead, file)
    file.records("sCondDataSet").pop()
    house.land_all(lead, file)
    with house.engine.begin() as conn:
        hydrating(conn)
        move_children(conn, lead.id, loan.id)
        purge_children(conn, loan)
    assert house.all("SELECT * FROM audit_log") == []


def test_the_portals_own_changes_stand_in_the_audit_log_by_column_and_without_a_value(house: House, file: AFile):
    parent = house.loan()
    house.land_all(parent, file)
    house.run(
        "SET LOCAL mlm.changed_by = 'jdoe'",
        "UPDATE borrowers SET email = 'alice@example.com', city = 'Irvine' WHERE role = 'borrower'",
        "DELETE FROM conditions WHERE lqb_id = 'k1'",
        f"INSERT INTO fees (loan_id, lqb_id, amount) VALUES ({parent.id}, 'f9', 5)",
        "UPDATE loans SET loan_amount = loan_amount + 1",
    )
    entries = house.all("SELECT * FROM audit_log ORDER BY id")
    said = [(e["table_name"], e["operation"], e["changed_columns"]) for e in entries]
    assert said == [
        ("borrowers", "update", ["city", "email"]),
        ("conditions", "delete", []),
        ("fees", "insert", ["amount", "loan_id", "lqb_id"]),
        ("loans", "update", ["loan_amount"]),
    ]
    assert {e["changed_by"] for e in entries} == {"jdoe"}
    assert "alice@example.com" not in str(entries)
    assert entries[3]["row_id"] == parent.id


def test_an_update_that_changes_nothing_or_only_how_far_the_copy_is_is_not_audited(house: House):
    house.loan()
    house.run(
        "UPDATE loans SET loan_amount = loan_amount",
        "UPDATE loans SET mlm_last_modified_at = now(), is_hydrated = true, hydrated_at = now()",
    )
    assert house.all("SELECT * FROM audit_log") == []


def test_an_audited_change_names_the_database_user_when_the_portal_names_nobody(house: House):
    house.loan()
    house.run("UPDATE loans SET loan_amount = NULL")
    (entry,) = house.all("SELECT changed_by, session_user AS us FROM audit_log")
    assert entry["changed_by"] == entry["us"]


def test_the_silence_of_a_hydrate_ends_with_its_transaction(house: House):
    house.loan()
    with house.engine.connect() as conn:
        hydrating(conn)
        conn.commit()
        conn.exec_driver_sql("UPDATE loans SET units = 4")
        conn.commit()
    assert len(house.all("SELECT * FROM audit_log")) == 1


def test_names_in_another_letter_case_are_the_same_names(house: House, file: AFile):
    """Seen: MLM's services differ in case."""
    parent = house.loan()
    file.collections = {
        name.upper(): [{key.lower(): value for key, value in record.items()} for record in records]
        for name, records in file.collections.items()
    }
    assert house.land(parent, file.landing(Concern.FEES, NAMES)) == 1
    assert house.rows("fees")["f1"]["amount"] == Decimal(1250)
