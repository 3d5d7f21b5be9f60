"""One file as MLM shows it: a married couple, and a record or two in each collection. Tests change a copy of it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from hydrators import HYDRATORS, Landing, Parent, land, land_loan_fields, load_names
from mlm_client.loxml import Answer, Applicant, Named

KEYS = FieldKeys((bytes(range(32)),))
NAMES = load_names(None)
ALICE, BOB = "c-alice", "c-bob"

#: The concerns in an order in which all may land.
CHILDREN = tuple(concern for concern in Concern if concern is not Concern.LOAN_FIELDS)


class AFile:
    """Loan fields, applicants and loan collections, to be changed at will; `answer()` is what MLM then says."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {
            "sLNm": "2026110096", "sStatusT": "3", "sLAmtCalc": "$400,000.00", "sNoteIR": "3.875%", "sLtvR": "80.000%",
            "sTerm": "360", "sSpAddr": "3726 Poplar St", "sEstCloseD": "1/9/2027", "sLPurposeT": "0",
        }  # fmt: skip
        self.applicants: list[dict[str, Any]] = [an_application(ALICE, BOB)]
        self.collections: dict[str, list[dict[str, str]]] = {
            "sCondDataSet": [
                {"RecordId": "k1", "Category": "Prior to Docs", "CondDesc": "W-2", "Status": "Open",
                 "DueDate": "12/1/2026", "DoneDate": "", "AssignedTo": "Processor"},
                {"RecordId": "k2", "Category": "At Closing", "CondDesc": "Proof", "Status": "Cleared", "DueDate": "",
                 "DoneDate": "11/3/2026", "AssignedTo": ""},
            ],
            "sClosingCostFeeCollection": [
                {"RecordId": "f1", "Section": "A", "HudLine": "801", "Desc": "Origination fee", "Amt": "$1,250.00",
                 "PaidTo": "Lender", "PaidBy": "Borrower"},
            ],
        }  # fmt: skip

    @property
    def first(self) -> dict[str, Any]:
        """The first application: its fields, and its collections by name."""
        return self.applicants[0]

    def records(self, name: str) -> list[dict[str, str]]:
        """The records of a collection, of the loan's or of the first application's."""
        return self.collections[name] if name in self.collections else self.first["collections"][name]

    def drop(self, name: str) -> None:
        """Leave a collection out of the answer, which is not the same as leaving it empty."""
        (self.collections if name in self.collections else self.first["collections"]).pop(name)

    def answer(self) -> Answer:
        return Answer(
            Named(self.fields.items()),
            tuple(Applicant(None, Named(a["fields"].items()), _collections(a["collections"])) for a in self.applicants),
            _collections(self.collections),
        )

    def landing(self, concern: Concern, names: Any = NAMES, keys: FieldKeys = KEYS) -> Landing:
        """What the concern's hydrator makes of the answer."""
        return HYDRATORS[concern].rows(self.answer(), names, keys)


def an_application(borrower: str, co_borrower: str = "") -> dict[str, Any]:
    """An application of two people, whose records' ids begin with the borrower's."""
    return {
        "fields": {
            "aBConsumerId": borrower, "aBFirstNm": "Alice", "aBLastNm": "Firstimer", "aBSsn": "991-91-9991",
            "aBDob": "02/03/1980", "aBMaritalStatT": "0", "aBBaseI": "$8,000.00", "aBEquifaxScore": "740",
            "aCConsumerId": co_borrower, "aCFirstNm": "Bob" if co_borrower else "",
            "aCLastNm": "Firstimer" if co_borrower else "", "aCSsn": "991-91-9992" if co_borrower else "",
            "aOccT": "0", "aTotI": "$12,000.00",
        },
        "collections": {
            "aAssetCollection": [
                {"RecordId": f"{borrower}-a1", "OwnerT": "0", "AssetT": "3", "ComNm": "First Harbor",
                 "AccNum": "0012345678", "Val": "$10,500.50", "Desc": ""},
                {"RecordId": f"{borrower}-a2", "OwnerT": "2", "AssetT": "7", "ComNm": "Prairie",
                 "AccNum": "55500098765", "Val": "$99.00", "Desc": "Joint"},
            ],
            "aLiaCollection": [
                {"RecordId": f"{borrower}-l1", "OwnerT": "0", "DebtT": "5", "ComNm": "A & B",
                 "AccNum": "4444333322221111", "Bal": "$5,000.00", "Pmt": "$50.00", "RemainMons": "100",
                 "WillBePdOff": "False"},
            ],
            "aBEmpCollection": [
                {"RecordId": f"{borrower}-e1", "EmplrNm": "Northwind", "JobTitle": "Nurse", "EmplmtStartD": "3/1/2015",
                 "EmplmtEndD": "", "IsSelfEmplmt": "No", "MonI": "$8,000.00"},
            ],
            "aCEmpCollection": [
                {"RecordId": f"{borrower}-e2", "EmplrNm": "Piñon", "JobTitle": "Engineer", "EmplmtStartD": "2010-05-01",
                 "EmplmtEndD": "", "IsSelfEmplmt": "Yes", "MonI": "$4,000.00"},
            ] if co_borrower else [],
            "aReCollection": [
                {"RecordId": f"{borrower}-r1", "ReOwnerT": "0", "Addr": "1 Elm Ct", "City": "Boise", "State": "ID",
                 "Zip": "83702", "StatT": "3", "TypeT": "1", "Val": "$300,000.00", "MAmt": "$100,000.00",
                 "MPmt": "$900.00", "GrossRentI": "", "LiaRecordIds": f"{borrower}-l1, {borrower}-l9"},
            ],
            "aIncomeCollection": [
                {"RecordId": f"{borrower}-i1", "OwnerT": "0", "IncomeT": "0", "MonI": "$8,000.00",
                 "EmpRecordId": f"{borrower}-e1"},
                {"RecordId": f"{borrower}-i2", "OwnerT": "0", "IncomeT": "4", "MonI": "$150.00", "EmpRecordId": ""},
            ],
        },
    }  # fmt: skip


def _collections(said: dict[str, list[dict[str, str]]]) -> Named[Any]:
    return Named((name, tuple(Named(record.items()) for record in records)) for name, records in said.items())


class House:
    """A database in which files land. Each landing is a transaction of its own, with the audit log silent."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def loan(self, ref: str = "R000001", kind: Any = "loan") -> Parent:
        """A loan or lead that has just become known."""
        with self.engine.begin() as conn:
            return land_loan_fields(conn, kind, ref, AFile().landing(Concern.LOAN_FIELDS))[0]

    def land(self, parent: Parent, landing: Landing) -> int:
        with self.engine.begin() as conn:
            return land(conn, parent, landing)

    def land_all(self, parent: Parent, file: AFile) -> dict[Concern, int]:
        """Every concern, one transaction each: the rows that each changed."""
        return {concern: self.land(parent, file.landing(concern)) for concern in CHILDREN}

    def rows(self, table: str, parent: Parent | None = None) -> dict[str, Any]:
        """The table's rows by `lqb_id`."""
        where = f" WHERE {parent.column} = {parent.id}" if parent else ""
        return {row["lqb_id"]: row for row in self.all(f"SELECT * FROM {table}{where}")}

    def all(self, query: str) -> list[Any]:
        with self.engine.connect() as conn:
            return list(conn.exec_driver_sql(query).mappings())

    def one(self, query: str) -> Any:
        (row,) = self.all(query)
        return row

    def run(self, *statements: str) -> None:
        """As the portal would: in one transaction that does not hydrate."""
        with self.engine.begin() as conn:
            for statement in statements:
                conn.exec_driver_sql(statement)
