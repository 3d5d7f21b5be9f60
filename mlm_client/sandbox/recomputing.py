"""What MLM computes from other fields: loan-to-value, debt ratios, the payment, the totals.

Rules of thumb, not a lender's: enough that a save of the amount moves what hangs on it (MLM's wire, §5, recomputation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm_client.sandbox.files import Content


def recompute(content: Content) -> bool:
    """Bring every dependent of `content` up to date, in place; True if one moved. Does not stamp."""
    moved = False
    for applicant in content.applicants:
        collections = applicant.collections
        open_debts = [debt for debt in collections["aLiaCollection"] if debt.get("WillBePdOff") != "True"]
        income = sum(_number(record.get("MonI")) for record in collections["aIncomeCollection"])
        moved |= _put(
            applicant.fields,
            aLiaMonTot=_money(sum(_number(debt.get("Pmt")) for debt in open_debts)),
            aLiaBalTot=_money(sum(_number(debt.get("Bal")) for debt in collections["aLiaCollection"])),
            aTotI=_money(income),
            aTransmTotI=_money(income),
        )
    return _put(content.fields, **_loan_dependents(content)) or moved


def _loan_dependents(content: Content) -> dict[str, str]:
    fields = content.fields
    amount, price = _number(fields.get("sLAmtCalc")), _number(fields.get("sPurchPrice"))
    appraised = _number(fields.get("sApprVal"))
    months = min(max(int(_number(fields.get("sTerm"))), 0), 600) or 360
    values = [value for value in (price, appraised) if value > 0]
    value = min(values) if values and fields.get("sLPurposeT") == "0" else appraised or price
    loan_to_value = amount / value * 100 if value else 0.0
    monthly_rate = min(max(_number(fields.get("sNoteIR")), 0.0), 100.0) / 1200
    payment = amount * monthly_rate / (1 - (1 + monthly_rate) ** -months) if monthly_rate > 0 else amount / months
    insurance = amount * 0.006 / 12 if loan_to_value > 80 else 0.0
    income = sum(_number(applicant.fields["aTotI"]) for applicant in content.applicants)
    debts = sum(_number(applicant.fields["aLiaMonTot"]) for applicant in content.applicants)
    housing = payment + insurance
    return {
        "sFinalLAmt": _money(amount),
        "sLtvR": _rate(loan_to_value),
        "sGrossLtvR": _rate(loan_to_value),
        "sGrossCltvR": _rate(loan_to_value),
        "sEquityCalc": _money(value - amount),
        "sDownPmtPc": _rate((price - amount) / price * 100 if price else 0.0),
        "sProThisMPmt": _money(payment),
        "sProMIns": _money(insurance),
        "sMonthlyPmt": _money(housing),
        "sLTotI": _money(income),
        "sQualTopR": _rate(housing / income * 100 if income else 0.0),
        "sQualBottomR": _rate((housing + debts) / income * 100 if income else 0.0),
    }


def _put(fields: dict[str, str], **new: str) -> bool:
    moved = any(fields.get(name) != value for name, value in new.items())
    fields.update(new)
    return moved


def _number(text: str | None) -> float:
    """The number in canonical text; what is none, or absurd, counts as nothing."""
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if abs(number) < 1e15 else 0.0


def _money(amount: float) -> str:
    return f"{amount:.2f}"


def _rate(rate: float) -> str:
    return f"{max(-999.0, min(rate, 999.0)):.3f}"
