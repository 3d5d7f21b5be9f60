"""Makes files that look like real ones, from a seed. Every person, number and address in them is made up.

SSNs are from the range 9xx that was never issued, phones from 555-01xx, mail from example.com.
"""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from uuid import UUID

from mlm_client.sandbox.fields import LOAN_FIELDS
from mlm_client.sandbox.files import Applicant, Content, Record

_FIRST = [
    "Alice", "Björn", "Chloë", "Dmitri", "Esperanza", "François", "Grace", "Håkon", "Inès", "José", "Katarzyna",
    "Łukasz", "María", "Nguyễn", "Olivia", "Péter", "Quinn", "Renée", "Søren", "Thảo", "Ursula", "Víctor",
    "Winifred", "Xóchitl", "Yusuf", "Zoë",
]  # fmt: skip
_LAST = [
    "Anderson", "Brontë", "Çelik", "D'Angelo", "Eriksson", "Fernández", "García", "Hughes", "Ibáñez", "Jørgensen",
    "Kowalski", "L'Écuyer", "Müller", "Núñez", "O’Neill", "Papadopoulos", "Quiñones", "Rodríguez", "Şahin", "Trần",
    "Underwood", "Vasić", "Wójcik", "Ximénez", "Young", "Žižka",
]  # fmt: skip
_STREETS = ["Poplar St", "Oak & Vine Ln", "Cañada Rd", "Main St", "Peña Blvd", "Lakeshore Dr", "2nd Ave", "Elm Ct"]
_PLACES = [
    ("Irvine", "CA", "92614", "Orange"), ("Española", "NM", "87532", "Rio Arriba"), ("Austin", "TX", "78701", "Travis"),
    ("Denver", "CO", "80202", "Denver"), ("Boise", "ID", "83702", "Ada"), ("Tampa", "FL", "33602", "Hillsborough"),
]  # fmt: skip
_BANKS = ["First Harbor Bank", "Smith & Sons Credit Union", "Crédit Montagne", "Prairie Trust", "A & B Savings"]
_FIRMS = ["Brown & Root Tools", "Café Zürich LLC", "Northwind Freight", "Piñon Software", "Harbor Clinic", "R&D Works"]
_JOBS = ["Engineer", "Nurse", "Teacher", "R&D Manager", "Carpenter", "Accountant"]
_CONDITIONS = [
    ("Prior to Docs", "Most recent 2 months' bank statements for all accounts"),
    ("Prior to Docs", "W-2 & 1040 for the last two years"),
    ("Prior to Funding", "Verbal verification of employment within 10 days of closing"),
    ("Prior to Docs", "Letter of explanation for inquiries < 90 days"),
    ("Prior to Approval", "Appraisal at or above “as is” value"),
    ("At Closing", "Proof of homeowner's insurance"),
]
_FEES = [
    ("A", "801", "Origination fee"), ("A", "802", "Discount points"), ("B", "804", "Appraisal fee"),
    ("B", "805", "Credit report & monitoring"), ("B", "806", "Tax service"), ("C", "1101", "Title — settlement fee"),
    ("C", "1103", "Owner's title insurance"), ("E", "1201", "Recording fees"), ("F", "901", "Prepaid interest"),
    ("G", "1001", "Homeowner's insurance reserve"), ("H", "1301", "Home warranty"),
]  # fmt: skip
_TEMPLATES = ["30 Yr Fixed Conforming", "15 Yr Fixed", "FHA 30 Yr", "VA 30 Yr", "Jumbo 7/6 ARM & Buydown"]
_LOAN_STATUSES = ("0", "1", "2", "3", "4", "13", "21", "22", "28", "6")
_LEAD_STATUSES = ("12", "12", "12", "15", "17")


class Maker:
    """Makes one file after another; the same seed and the same calls make the same files."""

    def __init__(self, seed: int = 0, today: date = date(2026, 11, 20)) -> None:
        self.random = Random(seed)  # noqa: S311  made-up people need no secrecy
        self._today = today
        self._count = 0

    def file(self, lead: bool = False, seed: int | str | None = None) -> Content:
        """The next file: references R000001 and on, numbers 2026110001 and on, for leads LEAD2026110001.

        With a `seed` of its own its content does not hang on what was made before, but for its reference.
        """
        self._count += 1
        if seed is not None:
            before, self.random = self.random, Random(f"{seed}/{self._count}")  # noqa: S311  as above
            try:
                return self._file(lead)
            finally:
                self.random = before
        return self._file(lead)

    def _file(self, lead: bool) -> Content:
        number = f"{self._today:%Y%m}{self._count:04d}"
        fields = {
            **dict.fromkeys(LOAN_FIELDS, ""),
            "sLRefNm": f"R{self._count:06d}",
            "sLNm": f"LEAD{number}" if lead else number,
            **self._loan_fields(lead),
        }
        del fields["sLastModifiedTimestamp"]
        content = Content(fields)
        content.applicants = [self.applicant() for _ in range(1 if self.random.random() < 0.8 else 2)]
        content.collections["sCondDataSet"] = [self.condition() for _ in range(self.random.randint(5, 20))]
        content.collections["sClosingCostFeeCollection"] = [self.fee() for _ in range(self.random.randint(8, 20))]
        return content

    def record_id(self) -> str:
        """A new GUID."""
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def applicant(self) -> Applicant:
        """One application, with a co-borrower in some, and all its collections."""
        pick, whole = self.random.choice, self.random.randint
        co = self.random.random() < 0.4
        fields = {**self._person("B"), **(self._person("C") if co else {"aCConsumerId": ""})}
        fields |= {"aOccT": pick(("0", "0", "0", "1", "2")), "aCreditReportId": str(whole(10**7, 10**8))}
        fields |= {"aAlimonyNm": "", "aAlimonyPmt": "", "aJobRelated1ExpenseDesc": "", "aJobRelated1Pmt": ""}
        applicant = Applicant(fields)
        held = applicant.collections
        owners = ("0", "1", "2") if co else ("0",)
        held["aAssetCollection"] = [self.asset(pick(owners)) for _ in range(whole(2, 6))]
        held["aLiaCollection"] = [self.liability(pick(owners)) for _ in range(whole(3, 10))]
        held["aBEmpCollection"] = [self.job(current=at == 0) for at in range(whole(1, 3))]
        held["aCEmpCollection"] = [self.job(current=at == 0) for at in range(whole(1, 3))] if co else []
        held["aReCollection"] = [self.real_property(pick(owners), held["aLiaCollection"]) for _ in range(whole(0, 3))]
        jobs = [("0", job) for job in held["aBEmpCollection"]] + [("1", job) for job in held["aCEmpCollection"]]
        held["aIncomeCollection"] = [self.income(*pick(jobs)) for _ in range(whole(1, 4))]
        held["aIncomeCollection"][0] = self.income(*jobs[0])
        fields["aBPrimaryEmplrNm"] = held["aBEmpCollection"][0]["EmplrNm"]
        return applicant

    def asset(self, owner: str = "0") -> Record:
        """A record of aAssetCollection."""
        return {
            "RecordId": self.record_id(), "OwnerT": owner,
            "AssetT": self.random.choice(("3", "7", "8", "14", "15", "0")), "ComNm": self.random.choice(_BANKS),
            "AccNum": self._digits(10), "Val": self._money(500, 90_000),
            "Desc": self.random.choice(("", "Joint & several", "Réserve")),
        }  # fmt: skip

    def liability(self, owner: str = "0") -> Record:
        """A record of aLiaCollection."""
        return {
            "RecordId": self.record_id(), "OwnerT": owner, "DebtT": self.random.choice(("1", "3", "5", "5", "7")),
            "ComNm": self.random.choice(_BANKS), "AccNum": self._digits(12), "Bal": self._money(200, 250_000),
            "Pmt": self._money(25, 1_200), "RemainMons": str(self.random.randint(3, 300)),
            "WillBePdOff": str(self.random.random() < 0.15),
        }  # fmt: skip

    def job(self, current: bool = True) -> Record:
        """A record of aBEmpCollection or aCEmpCollection."""
        city, state, code, _ = self.random.choice(_PLACES)
        start = self._day(-6000, -1500)
        return {
            "RecordId": self.record_id(), "EmplrNm": self.random.choice(_FIRMS),
            "JobTitle": self.random.choice(_JOBS), "EmplrAddr": self._street(), "EmplrCity": city, "EmplrState": state,
            "EmplrZip": code, "EmplrBusPhone": self._phone(), "EmplmtStartD": start,
            "EmplmtEndD": "" if current else self._day(-1400, -300), "IsSelfEmplmt": str(self.random.random() < 0.1),
            "MonI": self._money(3_000, 14_000),
        }  # fmt: skip

    def real_property(self, owner: str, liabilities: list[Record]) -> Record:
        """A record of aReCollection, linked to up to two of the liabilities."""
        city, state, code, _ = self.random.choice(_PLACES)
        linked = self.random.sample(liabilities, min(len(liabilities), self.random.randint(0, 2)))
        return {
            "RecordId": self.record_id(), "ReOwnerT": owner, "Addr": self._street(), "City": city, "State": state,
            "Zip": code, "StatT": self.random.choice("0123"), "TypeT": self.random.choice("0123456"),
            "Val": self._money(150_000, 900_000), "MAmt": self._money(50_000, 400_000),
            "MPmt": self._money(600, 3_000), "GrossRentI": self.random.choice(("", self._money(900, 4_000))),
            "LiaRecordIds": ",".join(debt["RecordId"] for debt in linked),
        }  # fmt: skip

    def income(self, owner: str, job: Record | None) -> Record:
        """A record of aIncomeCollection, linked to the job that earns it."""
        return {
            "RecordId": self.record_id(), "OwnerT": owner, "IncomeT": self.random.choice(("0", "0", "1", "2", "4")),
            "MonI": job["MonI"] if job else self._money(300, 2_000), "EmpRecordId": job["RecordId"] if job else "",
        }  # fmt: skip

    def condition(self) -> Record:
        """A record of sCondDataSet."""
        category, text = self.random.choice(_CONDITIONS)
        done = self.random.random() < 0.4
        return {
            "RecordId": self.record_id(), "Category": category, "CondDesc": text,
            "Status": "Cleared" if done else "Open", "DueDate": self._day(1, 45),
            "DoneDate": self._day(-30, -1) if done else "",
            "AssignedTo": self.random.choice(("Processor", "Underwriter")),
        }  # fmt: skip

    def fee(self) -> Record:
        """A record of sClosingCostFeeCollection."""
        section, line, text = self.random.choice(_FEES)
        return {
            "RecordId": self.record_id(), "Section": section, "HudLine": line, "Desc": text,
            "Amt": self._money(15, 4_000), "PaidTo": self.random.choice(("Lender", "Third party", "Broker")),
            "PaidBy": self.random.choice(("Borrower", "Seller", "Lender")),
        }  # fmt: skip

    def _loan_fields(self, lead: bool) -> Record:
        pick, chance = self.random.choice, self.random.random
        city, state, code, county = pick(_PLACES)
        price = self.random.randrange(180_000, 1_200_000, 500)
        opened = self._day(-60, -1)
        return {
            "sStatusT": pick(_LEAD_STATUSES if lead else _LOAN_STATUSES), "sLeadD": self._day(-90, -61),
            "sOpenedD": "" if lead else opened, "sStatusD": opened, "sAppSubmittedD": opened,
            "sProcessingD": "" if lead or chance() < 0.5 else self._day(-30, -1), "sEstCloseD": self._day(10, 60),
            "sRLckdD": "" if lead else self._day(-20, -1), "sRLckdExpiredD": "" if lead else self._day(10, 40),
            "sSchedDueD1": self._day(60, 90), "sCrExpD": self._day(30, 110), "sApprRprtOd": opened,
            "sPurchPrice": f"{price}.00", "sApprVal": f"{price + self.random.randrange(-5_000, 20_000, 500)}.00",
            "sLAmtCalc": f"{int(price * self.random.uniform(0.55, 0.95)) // 100 * 100}.00",
            "sNoteIR": f"{self.random.randrange(4_000, 8_000, 125) / 1000:.3f}", "sQualIR": "7.250",
            "sLDiscntPc": f"{self.random.randrange(0, 2_000, 125) / 1000:.3f}", "sTerm": pick(("360", "360", "180")),
            "sUnitsNum": pick("1112"), "sLPurposeT": pick("0012"), "sLT": pick("00012"), "sFinMethT": pick("001"),
            "sRateLockStatusT": "0" if lead else pick("012"), "sProdSpT": pick("012"), "sGseSpT": pick("0123"),
            "sGseRefPurposeT": "0", "sBuydownContributorT": "0", "sLienPosT": "0", "sOccTPe": pick("0012"),
            "sSpAddr": self._street(), "sSpCity": city, "sSpState": state, "sSpZip": code, "sSpCounty": county,
            "sLpTemplateNm": pick(_TEMPLATES), "sMersMin": self._digits(18), "sAggregateAdjRsrv": "0.00",
            "sLeadSrcDesc": pick(("Referral", "Web & social", "Open house", "Past client")),
            "sEmployeeLoanRepEmail": "rep@example.com", "sEmployeeProcessorEmail": "processor@example.com",
            "custLoan593": pick(("", "COC & fee change")),
        }  # fmt: skip

    def _person(self, who: str) -> Record:
        pick, whole = self.random.choice, self.random.randint
        city, state, code, _ = pick(_PLACES)
        first, last = pick(_FIRST), pick(_LAST)
        values = {
            "ConsumerId": self.record_id(), "FirstNm": first, "MidNm": pick(("", "J", "Ann", "É")), "LastNm": last,
            "Suffix": pick(("", "", "Jr", "III")), "Ssn": f"9{whole(0, 99):02d}{whole(1, 99):02d}{whole(1, 9999):04d}",
            "Dob": self._day(-25_000, -8_000), "HPhone": self._phone(), "Cellphone": self._phone(), "BusPhone": "",
            "Email": f"p{whole(1, 10**6)}@example.com", "Addr": self._street(), "City": city, "State": state,
            "Zip": code, "Prev1Addr": pick(("", self._street())), "Prev1City": "", "Prev1State": "", "Prev1Zip": "",
            "PrimaryEmplrNm": "", "BaseI": self._money(3_000, 12_000), "DecJudgment": "False",
            "DecBankrupt": str(self.random.random() < 0.05), "DecForeclosure": "False", "DecLawsuit": "False",
            "EquifaxScore": str(whole(600, 820)), "ExperianScore": str(whole(600, 820)),
            "TransUnionScore": str(whole(600, 820)), "MaritalStatT": pick("0012"),
        }  # fmt: skip
        return {f"a{who}{name}": value for name, value in values.items()}

    def _digits(self, count: int) -> str:
        return str(self.random.randrange(10 ** (count - 1), 10**count))

    def _money(self, low: int, high: int) -> str:
        return f"{self.random.randint(low, high)}.{self.random.choice(('00', '00', '50', '25'))}"

    def _street(self) -> str:
        return f"{self.random.randint(1, 9899)} {self.random.choice(_STREETS)}"

    def _phone(self) -> str:
        return f"({self.random.randint(200, 899)}) 555-01{self.random.randint(0, 99):02d}"

    def _day(self, first: int, last: int) -> str:
        return (self._today + timedelta(days=self.random.randint(first, last))).isoformat()


def file_set(maker: Maker, count: int, lead_share: float = 0.2) -> list[Content]:
    """`count` files, one in `1 / lead_share` of them a lead."""
    every = round(1 / lead_share) if lead_share else count + 1
    return [maker.file(lead=at % every == every - 1) for at in range(count)]
