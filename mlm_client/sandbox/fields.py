"""Which fields a file has, of what kind, and how a value reads on the wire.

Inside the sandbox a value is canonical text: money and rates `400000.00` and `3.875`, dates `2026-11-20`, booleans
`True` and `False`, SSNs nine digits, nothing is `""`. A value that does not fit its kind is kept and shown as it
stands: an outsider can put nonsense into a file. Names: the contract's table and MLM's wire, §3.3 (those
marked *ours* there included).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from xml.sax.saxutils import escape

from mlm_client.sandbox.knobs import Knobs

TEXT, MONEY, RATE, DATE, BOOL, ENUM, INT, SSN, STAMP = (
    "text", "money", "rate", "date", "bool", "enum", "int", "ssn", "stamp",
)  # fmt: skip

#: What MLM computes or gives itself: a save of these is ignored.
READ_ONLY = frozenset({"sLRefNm", "sLastModifiedTimestamp", "aBConsumerId", "aCConsumerId"})


def _kinds(**names: str) -> dict[str, str]:
    return {name: kind for kind, listed in names.items() for name in listed.split()}


#: Fields of `loan`, with their kinds.
LOAN_FIELDS = _kinds(
    text="""sLNm sLRefNm sSpAddr sSpCity sSpState sSpZip sSpCounty sLpTemplateNm sMersMin sLeadSrcDesc
        sEmployeeLoanRepEmail sEmployeeProcessorEmail sInvestorRolodexId custLoan593 sU1LStatN sU2LStatN sU3LStatN
        sU4LStatN""",
    stamp="sLastModifiedTimestamp",
    money="""sLAmtCalc sFinalLAmt sPurchPrice sApprVal sEquityCalc sLTotI sProThisMPmt sMonthlyPmt sProMIns
        sAggregateAdjRsrv""",
    rate="sNoteIR sQualIR sDownPmtPc sLDiscntPc sLtvR sGrossLtvR sGrossCltvR sQualTopR sQualBottomR",
    int="sTerm sUnitsNum",
    enum="""sStatusT sLPurposeT sLT sFinMethT sRateLockStatusT sProdSpT sGseSpT sGseRefPurposeT sBuydownContributorT
        sLienPosT sOccTPe""",
    date="""sLeadD sOpenedD sProcessingD sUnderwritingD sApprovD sSuspendedD sDocsD sFundD sSchedFundD sEstCloseD
        sRLckdD sRLckdExpiredD sRejectD sCanceledD sOnHoldD sWithdrawnD sLoanSubmittedD sConditionReviewD
        sFinalUnderwritingD sIntentToProceedD sApprRprtOd sApprRprtRd sApprRprtDueD sApprRprtExpD sAssetExpD sCrExpD
        sIncomeDocExpD sStatusD sAppSubmittedD sSchedDueD1 sU1LStatD sU2LStatD sU3LStatD sU4LStatD""",
)

#: What each borrower has, behind `aB` and `aC`.
PERSON_FIELDS = _kinds(
    text="""ConsumerId FirstNm MidNm LastNm Suffix HPhone Cellphone BusPhone Email Addr City State Zip Prev1Addr
        Prev1City Prev1State Prev1Zip PrimaryEmplrNm""",
    ssn="Ssn",
    date="Dob",
    money="BaseI",
    bool="DecJudgment DecBankrupt DecForeclosure DecLawsuit",
    int="EquifaxScore ExperianScore TransUnionScore",
    enum="MaritalStatT",
)

#: Fields of `applicant`: both borrowers' and those of the application.
APPLICANT_FIELDS = {
    **{f"a{who}{name}": kind for who in "BC" for name, kind in PERSON_FIELDS.items()},
    **_kinds(
        text="aCreditReportId aAlimonyNm aJobRelated1ExpenseDesc",
        money="aTotI aTransmTotI aLiaMonTot aLiaBalTot aAlimonyPmt aJobRelated1Pmt",
        enum="aOccT",
    ),
}

_JOB = _kinds(
    text="RecordId EmplrNm JobTitle EmplrAddr EmplrCity EmplrState EmplrZip EmplrBusPhone",
    date="EmplmtStartD EmplmtEndD",
    bool="IsSelfEmplmt",
    money="MonI",
)


@dataclass(frozen=True)
class Collection:
    """One collection: its concern, its record fields in order with their kinds, and whether applicants hold it."""

    concern: str
    fields: dict[str, str]
    of_applicant: bool = True


COLLECTIONS = {
    "aAssetCollection": Collection(
        "assets", _kinds(text="RecordId ComNm AccNum Desc", enum="OwnerT AssetT", money="Val")
    ),
    "aLiaCollection": Collection(
        "liabilities",
        _kinds(
            text="RecordId ComNm AccNum",
            enum="OwnerT DebtT",
            money="Bal Pmt",
            int="RemainMons",
            bool="WillBePdOff",
        ),
    ),
    "aBEmpCollection": Collection("employment", _JOB),
    "aCEmpCollection": Collection("employment", _JOB),
    "aReCollection": Collection(
        "real_properties",
        _kinds(
            text="RecordId Addr City State Zip LiaRecordIds",
            enum="ReOwnerT StatT TypeT",
            money="Val MAmt MPmt GrossRentI",
        ),
    ),
    "aIncomeCollection": Collection(
        "incomes", _kinds(text="RecordId EmpRecordId", enum="OwnerT IncomeT", money="MonI")
    ),
    "sCondDataSet": Collection(
        "conditions",
        _kinds(text="RecordId Category CondDesc Status AssignedTo", date="DueDate DoneDate"),
        of_applicant=False,
    ),
    "sClosingCostFeeCollection": Collection(
        "fees", _kinds(text="RecordId Section HudLine Desc PaidTo PaidBy", money="Amt"), of_applicant=False
    ),
}


def loan_kind(name: str) -> str | None:
    """The kind of a loan field, None if there is none of that name; every `custLoanNNN` is text."""
    return LOAN_FIELDS.get(name) or (TEXT if re.fullmatch(r"custLoan\d{1,4}", name) else None)


def canonical(kind: str, text: str) -> str:
    """`text` in canonical form. Takes every form that MLM takes on write. Raises ValueError."""
    text = text.strip() if kind != TEXT else text
    if not text or kind in (TEXT, STAMP):
        return text
    if kind in (MONEY, RATE):
        return _canonical_number(kind, text)
    if kind == DATE:
        for form in ("%m/%d/%Y", "%Y-%m-%d"):
            try:
                return datetime.strptime(text, form).date().isoformat()
            except ValueError:
                continue
        raise ValueError(kind)
    if kind == BOOL:
        if text.lower() not in ("true", "yes", "y", "1", "false", "no", "n", "0"):
            raise ValueError(kind)
        return str(text.lower() in ("true", "yes", "y", "1"))
    if kind == SSN:
        digits = text.replace("-", "")
        if not re.fullmatch(r"\d{9}", digits):
            raise ValueError(kind)
        return digits
    return str(int(text))


def _canonical_number(kind: str, text: str) -> str:
    bare = text.translate({ord(mark): None for mark in "$,% "})
    if bare.startswith("(") and bare.endswith(")"):
        bare = f"-{bare[1:-1]}"
    try:
        number = Decimal(bare)
    except InvalidOperation:
        raise ValueError(kind) from None
    if not number.is_finite() or abs(number) >= 10**15:
        raise ValueError(kind)
    return f"{number:.{2 if kind == MONEY else 3}f}"


def show(kind: str, value: str, knobs: Knobs) -> str:
    """A canonical value as it reads on the wire, escaped for XML once."""
    if not value:
        return ""
    if kind == MONEY:
        return _money(value) if knobs.money_form == "dollars" else escape(value)
    if kind == RATE:
        return f"{escape(value)}%" if knobs.rate_form == "percent" else escape(value)
    if kind == DATE and knobs.date_form != "iso" and value[4:5] == "-":
        year, month, day = value.split("-", 2)
        if knobs.date_form == "short":
            month, day = month.lstrip("0"), day.lstrip("0")
        return escape(f"{month}/{day}/{year}")
    if kind == BOOL and knobs.bool_form == "Yes":
        return {"True": "Yes", "False": "No"}.get(value, escape(value))
    if kind == SSN and len(value) == 9:
        if knobs.ssn_form == "masked":
            return f"***-**-{value[5:]}"
        return value if knobs.ssn_form == "digits" else f"{value[:3]}-{value[3:5]}-{value[5:]}"
    return escape(value)


def _money(value: str) -> str:
    try:
        amount = float(value)
    except ValueError:
        return escape(value)
    return f"${amount:,.2f}" if amount >= 0 else f"(${-amount:,.2f})"
