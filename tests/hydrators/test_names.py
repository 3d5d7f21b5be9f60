"""MLM's names: one table, which a lender's TOML file can override."""

from __future__ import annotations

from pathlib import Path

import pytest

import freshness.tables.portal  # noqa: F401  gives Base its tables
from freshness.concerns import Concern
from freshness.errors import SettingError
from freshness.tables.base import Base
from hydrators import HYDRATORS, load_names, question_of
from hydrators.names_tables import COLLECTIONS, Kind


def _names(tmp_path: Path, text: str):
    path = tmp_path / "names.toml"
    path.write_text(text, encoding="utf-8")
    return load_names(path)


def _columns_of(field) -> list[str]:
    if field.kind in (Kind.SSN, Kind.ACCOUNT):
        return [f"{field.column}_{part}" for part in ("encrypted", "last4", "index")]
    if field.kind in (Kind.SECRET, Kind.SECRET_DATE):
        return [f"{field.column}_{part}" for part in ("encrypted", "index")]
    return [field.column, f"{field.column}_code"] if field.kind is Kind.ENUM else [field.column]


def test_every_field_of_every_table_has_its_columns_and_no_two_share_one():
    names = load_names(None)
    tables = [("loans", names.loan_fields), ("leads", names.loan_fields)]
    tables += [("borrowers", seat + names.application) for seat in (names.borrower, names.co_borrower)]
    tables += [(collection.table, collection.fields) for collection in COLLECTIONS]
    for table, fields in tables:
        columns = [column for field in fields for column in _columns_of(field)]
        assert set(columns) <= set(Base.metadata.tables[table].columns.keys())
        assert len(columns) == len(set(columns))


def test_every_column_that_mirrors_mlm_is_filled_from_a_field():
    ours = {"id", "loan_id", "lead_id", "borrower_id", "owner", "employment_id", "position", "role"} | {
        "mlm_reference_number", "mlm_last_modified_at", "is_hydrated", "hydrated_at", "deleted_at", "became_loan_id",
    }  # fmt: skip
    names = load_names(None)
    filled = {"loans": names.loan_fields, "leads": names.loan_fields, "borrowers": names.borrower + names.application}
    filled |= {collection.table: collection.fields for collection in COLLECTIONS}
    for table, fields in filled.items():
        columns = {column for field in fields for column in _columns_of(field)}
        assert set(Base.metadata.tables[table].columns.keys()) - ours - columns == set()


def test_without_a_file_all_nine_concerns_are_active_and_the_contracts_parameter_is_used():
    names = load_names(None)
    assert names.active == tuple(Concern)
    assert names.reference_parameter == "sLRefNm"


def test_a_file_renames_a_field_a_collection_its_records_fields_the_stamp_and_the_parameter(tmp_path: Path):
    names = _names(
        tmp_path,
        """
        reference_parameter = "refNumber"
        [loan_fields]
        sLtvR = "sLTV"
        sLastModifiedTimestamp = "sStamp"
        [applicant_fields]
        aBConsumerId = "aBLqbId"
        [collections]
        aAssetCollection = "Assets"
        [record_fields.aAssetCollection]
        RecordId = "Id"
        """,
    )
    assert names.reference_parameter == "refNumber"
    loan = question_of([Concern.LOAN_FIELDS], names)
    assert {"sLTV", "sStamp"} <= loan.loan_fields
    assert not {"sLtvR", "sLastModifiedTimestamp"} & loan.loan_fields
    assets = HYDRATORS[Concern.ASSETS].question(names)
    assert assets.applicant_collections == {"Assets"}
    assert assets.applicant_fields == {"aBLqbId", "aCConsumerId"}
    (collection,) = names.collections_of(Concern.ASSETS)
    assert collection.fields[0].name == "Id"
    (liabilities,) = names.collections_of(Concern.LIABILITIES)
    assert liabilities.fields[0].name == "RecordId", "a rename in one collection leaves the others"


def test_a_concern_that_a_lender_lacks_can_be_switched_off(tmp_path: Path):
    names = _names(tmp_path, "[concerns]\nfees = false\nassets = true")
    assert Concern.FEES not in names.active
    assert len(names.active) == 8


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[loan_fields]\nsLtv = 'x'", "loan_fields.sLtv"),
        ("[applicant_fields]\naBSSN = 'x'", "applicant_fields.aBSSN"),
        ("[collections]\naAssets = 'x'", "collections.aAssets"),
        ("[record_fields.aAssetCollection]\nValue = 'x'", "record_fields.aAssetCollection.Value"),
        ("[record_fields.aAssets]\nVal = 'x'", "record_fields.aAssets"),
        ("[concerns]\nmoney = false", "concerns.money"),
        ("[concerns]\nfees = 'no'", "concerns.fees"),
        ("[concerns]\nborrowers = false", "concerns.borrowers"),
        ("[concerns]\nloan_fields = false", "concerns.loan_fields"),
        ("[loan_fields]\nsLtvR = 3", "loan_fields.sLtvR"),
        ("[loan_fields]\nsLtvR = ' '", "loan_fields.sLtvR"),
        ("[loan_fields]\nsLtvR = 'SNOTEIR'", "SNOTEIR"),
        ("[collections]\naAssetCollection = 'aLiaCollection'", "aLiaCollection"),
        ("loan_fields = 3", "loan_fields"),
        ("referenceparameter = 'x'", "referenceparameter"),
        ("reference_parameter = 1", "reference_parameter"),
        ("[loan_fields\n", "line 1"),
    ],
)
def test_what_means_nothing_is_an_error_that_names_the_setting_and_the_key(tmp_path: Path, text: str, named: str):
    with pytest.raises(SettingError, match=r"^MLM_NAMES: ") as caught:
        _names(tmp_path, text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_that_names_the_setting(tmp_path: Path):
    with pytest.raises(SettingError, match=r"MLM_NAMES: .*nothing\.toml"):
        load_names(tmp_path / "nothing.toml")


def test_documents_are_asked_for_by_no_concern():
    """They are read live by whoever opens their tab."""
    for hydrator in HYDRATORS.values():
        asked = hydrator.question(load_names(None))
        everything = asked.loan_fields | asked.applicant_fields | asked.loan_collections | asked.applicant_collections
        assert not [name for name in everything if "doc" in name.lower() and not name.endswith("D")]
