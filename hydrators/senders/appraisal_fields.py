"""What CollateralXP's events call what an order, a note, a file or a payout is made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from .rows import Row
from .said import Read, at, count, day, decimal, first, flag, instant, label, mapping, money, read, text, texts

_score = decimal(Decimal("0.01"), Decimal(10) ** 4)
_degrees = decimal(Decimal("0.0000001"), Decimal(10) ** 3)

ORDER: dict[str, tuple[str, Read]] = {
    "loan_number": ("loan_number", label),
    "file_number": ("file_number", text),
    "fha_case_number": ("fha_case_number", text),
    "loan_type": ("loan_type", text),
    "payment_method": ("payment_method", text),
    "created_at": ("order_created_at", instant),
    "client_id": ("client_id", text),
    "lender_id": ("lender_id", text),
    "company_id": ("company_id", text),
    "lender_name": ("lender_name", text),
    "company_name": ("company_name", text),
    "vendor_id": ("vendor_id", label),
    "vendor_name": ("vendor_name", text),
    "vendor_email": ("vendor_email", text),
    "vendor_phone": ("vendor_phone", text),
    "vendor_license_number": ("vendor_license_number", text),
    "vendor_license_type": ("vendor_license_type", text),
    "vendor_license_state": ("vendor_license_state", text),
    "vendor_license_expires_at": ("vendor_license_expires_at", instant),
    "borrower_email": ("borrower_email", text),
    "borrower_phone": ("borrower_phone", text),
    "poc_phone": ("contact_phone", text),
    "products": ("products", texts),
    "product_ids": ("product_ids", texts),
    "due_date": ("due_at", instant),
    "auto_reject_hours": ("auto_reject_hours", count),
    "assignment_accepted_at": ("assignment_accepted_at", instant),
    "inspection_scheduled_at": ("inspection_scheduled_at", instant),
    "inspection_completed_at": ("inspection_completed_at", instant),
    "appraised_value": ("appraised_value", money),
    "appraisal_effective_date": ("appraisal_effective_date", day),
    "completed_date": ("completed_date", day),
    "appraisal_delivering_submission_id": ("submission_id", text),
    "freddie_mac_score": ("freddie_mac_score", _score),
    "fannie_mae_score": ("fannie_mae_score", _score),
    "cancel_type": ("cancel_type", text),
    "cancel_reason": ("cancel_reason", text),
    "trip_fee": ("trip_fee", money),
}

ADDRESS: dict[str, tuple[str, Read]] = {
    "full_address": ("address", text),
    "street": ("street", text),
    "unit": ("unit", text),
    "city": ("city", text),
    "state": ("state", text),
    "zip_code": ("zip", text),
    "county": ("county", text),
    "latitude": ("latitude", _degrees),
    "longitude": ("longitude", _degrees),
}

_ADDRESS_RESOURCE: dict[str, tuple[str, Read]] = {
    "address_one": ("street", text),
    "address_two": ("unit", text),
    "city": ("city", text),
    "state": ("state", text),
    "zip": ("zip", text),
    "county": ("county", text),
}

TERMS: dict[str, tuple[str, Read]] = {
    "due_date": ("due_at", instant),
    "vendor_due_date": ("vendor_due_at", instant),
    "paying_fee": ("paying_fee", money),
    "payouting_fee": ("payouting_fee", money),
    "product_ids": ("product_ids", texts),
}

NOTE: dict[str, tuple[str, Read]] = {
    "type": ("note_type", text),
    "subject": ("subject", text),
    "content": ("content", text),
    "content_plain_text": ("plain_text", text),
    "author_name": ("author_name", text),
    "author_role": ("author_role", text),
    "author_email": ("author_email", text),
    "status_slug": ("status_slug", text),
    "important": ("important", flag),
    "from_workflow": ("from_workflow", flag),
    "note_added_at": ("note_added_at", instant),
}

_FILE: dict[str, tuple[str, Read]] = {
    "file_id": ("file_id", label),
    "file_type": ("file_type", text),
    "product_id": ("product_id", text),
    "filename": ("filename", text),
}

_RESOURCE: dict[str, tuple[str, Read]] = {
    "filename": ("filename", text),
    "content_type": ("content_type", text),
    "byte_size": ("byte_size", count),
    "checksum": ("checksum", text),
    "link": ("link", text),
}

TRANSFER: dict[str, tuple[str, Read]] = {
    "id": ("transfer_id", label),
    "status": ("status", text),
    "error": ("error", text),
    "scheduled_at": ("scheduled_at", instant),
    "fulfilled_at": ("fulfilled_at", instant),
    "cancelled_at": ("cancelled_at", instant),
    "cancel_reason": ("cancel_reason", text),
}

#: So much of a file's name takes part in its key.
_OF_A_NAME = 100

#: What an event is timed by itself. An inspection's appointment is none, nor is `created_at`, which is the order's.
OWN_TIME = {
    "ordering::workflow::order_workflow::assignment_accepted": "assignment_accepted_at",
    "ordering::workflow::assignment_workflow::inspection_completed": "inspection_completed_at",
    "ordering::note_added": "note_added_at",
    "payouting::payout_completed": "completed_at",
}

#: What an event cannot take back by saying nothing that can be read: null, a blank text, a word.
_STAYS = frozenset({"appraised_value"})

ADDRESS_SET = "ordering::order_setup::address_set"
CONTACT_UPDATED = "ordering::order_setup::point_of_contact_updated"
TERMS_CHANGED = "ordering::order_terms_changed"


def own_time(event: str, data: Mapping[str, Any]) -> dt.datetime | None:
    """The event's own time; None where it has none that can be read."""
    said: dt.datetime | None = one(instant, data.get(OWN_TIME.get(event, "")))
    return said


def snapshot(data: Mapping[str, Any]) -> Row:
    """What an event says of its order by the way, as columns."""
    columns = {name: value for name, value in read(data, ORDER)[0].items() if not (name in _STAYS and value is None)}
    resource, _ = read(mapping(data.get("address_resource")), _ADDRESS_RESOURCE)
    columns |= resource
    for name in ("full_address", "address"):
        if isinstance(data.get(name), str):
            columns["address"] = one(text, data[name])
    for person, names in (("borrower", ("name", "email", "phone")), ("vendor", ("name", "email", "phone"))):
        said = at(data, "contacts", person)
        for name in names if isinstance(said, dict) else ():
            if name in said:
                columns.setdefault(f"{person}_{name}", one(text, said[name]))
    license_number = at(data, "contacts", "vendor", "license_number")
    if license_number is not None:
        columns.setdefault("vendor_license_number", one(text, license_number))
    return columns


def changed_on_purpose(event: str, data: Mapping[str, Any]) -> Row:
    """What an event is there to change, beside what it says by the way."""
    if event == ADDRESS_SET:
        return read(data, ADDRESS)[0]
    if event == CONTACT_UPDATED:
        said = {"contact_name": data.get("party_name"), "contact_email": _head(data, "emails")}
        return {key: one(text, value) for key, value in {**said, "contact_phone": _head(data, "phones")}.items()}
    if event == TERMS_CHANGED:
        new = mapping(data.get("new_data"))
        products = mapping(new.get("products"))
        return read(new, TERMS)[0] | ({"products": one(texts, list(products.values()))} if products else {})
    return {}


def file_row(said: Any, order_id: str | None, note_id: str | None = None) -> Row | None:
    """A file as an event or a note bears it; None if nothing names it. Its id alone does not: CollateralXP's samples
    have one id for several files."""
    if not isinstance(said, dict):
        return None
    resource = said.get("attachment_resource")
    resource = resource if isinstance(resource, dict) else said
    row = read(said, _FILE)[0] | {k: v for k, v in read(resource, _RESOURCE)[0].items() if v is not None}
    ids = (said.get("file_id"), resource.get("key"), resource.get("checksum"), row.get("file_type"))
    named = [first(one(label, each) for each in ids), (row.get("filename") or "").strip()[:_OF_A_NAME]]
    key = " ".join(each for each in named if each)
    of_note = {"note_id": note_id} if note_id else {}
    return {**row, **of_note, "order_id": order_id, "file_key": key} if key else None


def one(how: Read, value: Any) -> Any:
    """One value read; None if it is null or cannot be."""
    try:
        return None if value is None else how(value)
    except (ValueError, ArithmeticError):
        return None


def _head(data: Mapping[str, Any], name: str) -> Any:
    said = data.get(name)
    return said[0] if isinstance(said, list) and said else None
