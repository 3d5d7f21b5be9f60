"""MLM's names, as data: every field and collection we ask for, its kind, and the column it lands in.

Names are from MLM's wire (docs/mlm-wire.md, §2.4 and §3) and the contract; those that are *ours*, because the vendor's
are not public, are marked so. A lender whose MLM has other names changes no code: `MLM_NAMES` (`hydrators.names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto

from freshness.concerns import Concern


class Kind(StrEnum):
    """How a value is read, and which columns it fills."""

    TEXT = auto()
    LABEL = auto()  # text that rows are looked up by: PostgreSQL indexes none of any length
    MONEY = auto()  # numeric(14,2)
    PERCENT = auto()  # numeric(12,5)
    INTEGER = auto()
    DATE = auto()
    BOOLEAN = auto()
    ENUM = auto()  # `x_code` the number, `x` its name
    SSN = auto()  # `x_encrypted`, `x_last4`, `x_index`; nine digits
    ACCOUNT = auto()  # the same; text
    SECRET = auto()  # `x_encrypted`, `x_index`; text
    SECRET_DATE = auto()  # the same; a date, as ISO 8601
    IDS = auto()  # ids of other records, in one text
    RECORD_ID = auto()  # `lqb_id`
    OWNER = auto()  # `owner`, and who of the application `borrower_id` is


@dataclass(frozen=True)
class Field:
    """A field of MLM's. `meanings` names an enum's numbers, as far as they are known."""

    name: str
    column: str
    kind: Kind = Kind.TEXT
    meanings: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Collection:
    """A collection of MLM's and its records' fields.

    `of_applicant`: it stands under each applicant, not under the loan. `owner`: all its records are this one's.
    """

    name: str
    concern: Concern
    table: str
    fields: tuple[Field, ...]
    of_applicant: bool = True
    owner: str | None = None

    def first(self, kind: Kind) -> Field | None:
        """Its field of this kind, if it has one."""
        return next((field for field in self.fields if field.kind is kind), None)


LABEL, MONEY, PERCENT, INTEGER = Kind.LABEL, Kind.MONEY, Kind.PERCENT, Kind.INTEGER
DATE, BOOLEAN = Kind.DATE, Kind.BOOLEAN
ENUM, SSN, ACCOUNT, IDS, RECORD_ID, OWNER = Kind.ENUM, Kind.SSN, Kind.ACCOUNT, Kind.IDS, Kind.RECORD_ID, Kind.OWNER

#: What the reference number is called as a parameter of LoadByRefNumber (inferred).
REFERENCE_PARAMETER = "sLRefNm"
#: Stamped on every persist; asked for in every call.
STAMP = "sLastModifiedTimestamp"

#: `OwnerT` and `ReOwnerT`.
OWNERS = {0: "borrower", 1: "co_borrower", 2: "both"}

STATUSES = {
    0: "Open", 1: "Prequal", 2: "Preapproval", 3: "Registered", 4: "Approved", 5: "Docs Out", 6: "Funded",
    7: "On Hold", 8: "Suspended", 9: "Canceled", 10: "Denied", 11: "Closed", 12: "Lead New", 13: "Underwriting",
    14: "Web Consumer", 15: "Lead Canceled", 16: "Lead Declined", 17: "Lead Other", 18: "Loan Other", 19: "Recorded",
    20: "Shipped", 21: "Clear To Close", 22: "Processing", 23: "Final Underwriting", 24: "Docs Back",
    25: "Funding Conditions", 26: "Final Docs", 27: "Sold", 28: "Loan Submitted", 29: "Pre-Processing",
    30: "Document Check", 31: "Document Check Failed", 32: "Pre-Underwriting", 33: "Condition Review",
    34: "Pre-Doc QC", 35: "Docs Ordered", 36: "Docs Drawn", 37: "Investor Conditions", 38: "Investor Conditions Sent",
    39: "Ready For Sale", 40: "Submitted For Purchase Review", 41: "In Purchase Review",
    42: "Pre-Purchase Conditions", 43: "Submitted For Final Purchase Review", 44: "In Final Purchase Review",
    45: "Clear To Purchase", 46: "Purchased", 47: "Counter Offer", 48: "Withdrawn", 49: "Archived",
}  # fmt: skip

#: The statuses of a lead; every other is a loan's (inferred from their names).
LEAD_STATUSES = frozenset({12, 15, 16, 17})

PURPOSES = {
    0: "Purchase", 1: "Refinance", 2: "Refinance Cash-out", 3: "Construction", 4: "Construction-Permanent", 5: "Other",
    6: "FHA Streamline", 7: "VA IRRRL",
}  # fmt: skip
LOAN_TYPES = {0: "Conventional", 1: "FHA", 2: "VA", 3: "USDA", 4: "Other"}
AMORTIZATIONS = {0: "Fixed", 1: "ARM", 2: "Graduated"}
RATE_LOCKS = {0: "Not Locked", 1: "Locked", 2: "Lock Requested"}
OCCUPANCIES = {0: "Primary Residence", 1: "Secondary Residence", 2: "Investment"}
MARITAL_STATUSES = {0: "Married", 1: "Unmarried", 2: "Separated"}
ASSET_TYPES = {
    0: "Auto", 1: "Bonds", 3: "Checking", 4: "Gift Funds", 7: "Savings", 8: "Stocks", 9: "Other Non-liquid",
    11: "Other Liquid", 12: "Pending Net Sale", 13: "Gift Of Equity", 14: "Certificate Of Deposit", 15: "Money Market",
    16: "Mutual Funds", 17: "Secured Borrowed Funds", 18: "Bridge Loan", 19: "Trust",
}  # fmt: skip

LOAN_FIELDS: tuple[Field, ...] = (
    Field("sLNm", "mlm_loan_number", LABEL),
    Field("sStatusT", "status", ENUM, STATUSES),
    Field("sStatusD", "status_date", DATE),
    Field("sLPurposeT", "purpose", ENUM, PURPOSES),
    Field("sLT", "loan_type", ENUM, LOAN_TYPES),
    Field("sFinMethT", "amortization", ENUM, AMORTIZATIONS),
    Field("sRateLockStatusT", "rate_lock_status", ENUM, RATE_LOCKS),
    Field("sOccTPe", "occupancy", ENUM, OCCUPANCIES),  # its numbers by analogy with aOccT
    Field("sProdSpT", "property_type", ENUM),
    Field("sGseSpT", "gse_property_type", ENUM),
    Field("sGseRefPurposeT", "gse_refinance_purpose", ENUM),
    Field("sBuydownContributorT", "buydown_contributor", ENUM),
    Field("sLAmtCalc", "loan_amount", MONEY),
    Field("sFinalLAmt", "final_loan_amount", MONEY),
    Field("sPurchPrice", "purchase_price", MONEY),
    Field("sApprVal", "appraised_value", MONEY),
    Field("sEquityCalc", "equity", MONEY),
    Field("sLTotI", "total_monthly_income", MONEY),
    Field("sProThisMPmt", "proposed_payment", MONEY),
    Field("sMonthlyPmt", "monthly_payment", MONEY),
    Field("sProMIns", "mortgage_insurance_payment", MONEY),
    Field("sAggregateAdjRsrv", "aggregate_escrow_adjustment", MONEY),
    Field("sNoteIR", "note_rate", PERCENT),
    Field("sQualIR", "qualifying_rate", PERCENT),
    Field("sDownPmtPc", "down_payment_percent", PERCENT),
    Field("sLDiscntPc", "discount_points_percent", PERCENT),
    Field("sLtvR", "ltv", PERCENT),
    Field("sGrossLtvR", "gross_ltv", PERCENT),
    Field("sGrossCltvR", "gross_cltv", PERCENT),
    Field("sQualTopR", "front_end_dti", PERCENT),
    Field("sQualBottomR", "back_end_dti", PERCENT),
    Field("sTerm", "term_months", INTEGER),
    Field("sUnitsNum", "units", INTEGER),
    Field("sSpAddr", "property_address"),
    Field("sSpCity", "property_city"),
    Field("sSpState", "property_state"),
    Field("sSpZip", "property_zip"),
    Field("sSpCounty", "property_county"),
    Field("sLpTemplateNm", "loan_program"),
    Field("sMersMin", "mers_min"),
    Field("sLeadSrcDesc", "lead_source"),
    Field("sEmployeeLoanRepEmail", "loan_officer_email"),
    Field("sEmployeeProcessorEmail", "processor_email"),
    Field("sInvestorRolodexId", "investor_id"),
    Field("sLeadD", "lead_date", DATE),
    Field("sOpenedD", "opened_date", DATE),
    Field("sAppSubmittedD", "application_submitted_date", DATE),
    Field("sLoanSubmittedD", "loan_submitted_date", DATE),
    Field("sIntentToProceedD", "intent_to_proceed_date", DATE),
    Field("sProcessingD", "processing_date", DATE),
    Field("sUnderwritingD", "underwriting_date", DATE),
    Field("sConditionReviewD", "condition_review_date", DATE),
    Field("sFinalUnderwritingD", "final_underwriting_date", DATE),
    Field("sApprovD", "approved_date", DATE),
    Field("sSuspendedD", "suspended_date", DATE),
    Field("sOnHoldD", "on_hold_date", DATE),
    Field("sRejectD", "rejected_date", DATE),
    Field("sCanceledD", "canceled_date", DATE),
    Field("sWithdrawnD", "withdrawn_date", DATE),
    Field("sDocsD", "docs_date", DATE),
    Field("sSchedFundD", "scheduled_funding_date", DATE),
    Field("sFundD", "funded_date", DATE),
    Field("sEstCloseD", "estimated_closing_date", DATE),
    Field("sSchedDueD1", "first_payment_date", DATE),
    Field("sRLckdD", "rate_locked_date", DATE),
    Field("sRLckdExpiredD", "rate_lock_expires_date", DATE),
    Field("sApprRprtOd", "appraisal_ordered_date", DATE),
    Field("sApprRprtDueD", "appraisal_due_date", DATE),
    Field("sApprRprtRd", "appraisal_received_date", DATE),
    Field("sApprRprtExpD", "appraisal_expires_date", DATE),
    Field("sAssetExpD", "asset_documents_expire_date", DATE),
    Field("sIncomeDocExpD", "income_documents_expire_date", DATE),
    Field("sCrExpD", "credit_report_expires_date", DATE),
    *(Field(f"sU{n}LStatD", f"custom_status_{n}_date", DATE) for n in range(1, 5)),
    *(Field(f"sU{n}LStatN", f"custom_status_{n}_note") for n in range(1, 5)),
)


def _person(seat: str) -> tuple[Field, ...]:
    return (
        Field(f"{seat}ConsumerId", "lqb_id", RECORD_ID),  # ours
        Field(f"{seat}FirstNm", "first_name"),
        Field(f"{seat}MidNm", "middle_name"),
        Field(f"{seat}LastNm", "last_name"),
        Field(f"{seat}Suffix", "suffix"),
        Field(f"{seat}Ssn", "ssn", SSN),
        Field(f"{seat}Dob", "birth_date", Kind.SECRET_DATE),
        Field(f"{seat}MaritalStatT", "marital_status", ENUM, MARITAL_STATUSES),
        Field(f"{seat}Email", "email"),
        Field(f"{seat}HPhone", "home_phone"),
        Field(f"{seat}Cellphone", "cell_phone"),
        Field(f"{seat}BusPhone", "work_phone"),
        Field(f"{seat}Addr", "address"),
        Field(f"{seat}City", "city"),
        Field(f"{seat}State", "state"),
        Field(f"{seat}Zip", "zip"),
        Field(f"{seat}BaseI", "base_monthly_income", MONEY),
        Field(f"{seat}EquifaxScore", "equifax_score", INTEGER),
        Field(f"{seat}ExperianScore", "experian_score", INTEGER),
        Field(f"{seat}TransUnionScore", "transunion_score", INTEGER),
    )


BORROWER_FIELDS = _person("aB")
CO_BORROWER_FIELDS = _person("aC")

#: Once for an application: they land on the row of each of its people.
APPLICATION_FIELDS: tuple[Field, ...] = (
    Field("aOccT", "occupancy", ENUM, OCCUPANCIES),
    Field("aTotI", "application_monthly_income", MONEY),
    Field("aTransmTotI", "application_transmittal_income", MONEY),
    Field("aLiaMonTot", "application_liability_payments", MONEY),
    Field("aLiaBalTot", "application_liability_balances", MONEY),
    Field("aCreditReportId", "credit_report_id", Kind.SECRET),
    Field("aAlimonyNm", "alimony_paid_to"),
    Field("aAlimonyPmt", "alimony_payment", MONEY),
    Field("aJobRelated1ExpenseDesc", "job_expense_description"),
    Field("aJobRelated1Pmt", "job_expense_payment", MONEY),
)

_ID = Field("RecordId", "lqb_id", RECORD_ID)  # ours

_JOB = (
    _ID,
    Field("EmplrNm", "employer_name"),
    Field("JobTitle", "job_title"),
    Field("EmplrAddr", "address"),
    Field("EmplrCity", "city"),
    Field("EmplrState", "state"),
    Field("EmplrZip", "zip"),
    Field("EmplrBusPhone", "phone"),
    Field("EmplmtStartD", "start_date", DATE),
    Field("EmplmtEndD", "end_date", DATE),
    Field("IsSelfEmplmt", "is_self_employed", BOOLEAN),
    Field("MonI", "monthly_income", MONEY),
)

COLLECTIONS: tuple[Collection, ...] = (
    Collection("aAssetCollection", Concern.ASSETS, "assets", (
        _ID,
        Field("OwnerT", "owner", OWNER, OWNERS),
        Field("AssetT", "asset_type", ENUM, ASSET_TYPES),
        Field("ComNm", "company_name"),
        Field("AccNum", "account_number", ACCOUNT),
        Field("Val", "value", MONEY),
        Field("Desc", "description"),
    )),
    Collection("aLiaCollection", Concern.LIABILITIES, "liabilities", (  # record fields ours
        _ID,
        Field("OwnerT", "owner", OWNER, OWNERS),
        Field("DebtT", "debt_type", ENUM),
        Field("ComNm", "company_name"),
        Field("AccNum", "account_number", ACCOUNT),
        Field("Bal", "balance", MONEY),
        Field("Pmt", "monthly_payment", MONEY),
        Field("RemainMons", "remaining_months", INTEGER),
        Field("WillBePdOff", "will_be_paid_off", BOOLEAN),
    )),
    Collection("aBEmpCollection", Concern.EMPLOYMENT, "employments", _JOB, owner="borrower"),
    Collection("aCEmpCollection", Concern.EMPLOYMENT, "employments", _JOB, owner="co_borrower"),
    Collection("aReCollection", Concern.REAL_PROPERTIES, "real_properties", (
        _ID,
        Field("ReOwnerT", "owner", OWNER, OWNERS),
        Field("Addr", "address"),
        Field("City", "city"),
        Field("State", "state"),
        Field("Zip", "zip"),
        Field("StatT", "status", ENUM),
        Field("TypeT", "property_type", ENUM),
        Field("Val", "market_value", MONEY),
        Field("MAmt", "mortgage_balance", MONEY),
        Field("MPmt", "mortgage_payment", MONEY),
        Field("GrossRentI", "gross_rental_income", MONEY),
        Field("LiaRecordIds", "liability_lqb_ids", IDS),  # ours
    )),
    Collection("aIncomeCollection", Concern.INCOMES, "incomes", (  # ours
        _ID,
        Field("OwnerT", "owner", OWNER, OWNERS),
        Field("IncomeT", "income_type", ENUM),
        Field("MonI", "monthly_amount", MONEY),
        Field("EmpRecordId", "employment_lqb_id"),
    )),
    Collection("sCondDataSet", Concern.CONDITIONS, "conditions", (
        _ID,
        Field("Category", "category"),
        Field("CondDesc", "description"),
        Field("Status", "status"),
        Field("DueDate", "due_date", DATE),
        Field("DoneDate", "done_date", DATE),
        Field("AssignedTo", "assigned_to"),
    ), of_applicant=False),
    Collection("sClosingCostFeeCollection", Concern.FEES, "fees", (  # ours
        _ID,
        Field("Section", "section"),
        Field("HudLine", "hud_line"),
        Field("Desc", "description"),
        Field("Amt", "amount", MONEY),
        Field("PaidTo", "paid_to"),
        Field("PaidBy", "paid_by"),
    ), of_applicant=False),
)  # fmt: skip
