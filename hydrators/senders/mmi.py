"""MMI: loan officers, lenders, agents and listing alerts as rows. A row is what its newest entry says, all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Applied, Landed

from .rows import Row, aside, clear, upsert
from .said import Read, count, day, label, money, read, text

_SAID_OF_ALL: dict[str, tuple[str, Read]] = {"mmi_user": ("mmi_user", text), "fastfacts": ("fast_facts_url", text)}

OFFICER: dict[str, tuple[str, Read]] = {
    **_SAID_OF_ALL,
    "first_name": ("first_name", text),
    "last_name": ("last_name", text),
    "company": ("company", text),
    "oppapp": ("opportunity", text),
    "email": ("email", text),
    "personal_email": ("personal_email", text),
    "phone": ("phone", text),
    "linkedin": ("linkedin_url", text),
    "google": ("google_url", text),
    "branch_address": ("branch_address", text),
    "branch_city": ("branch_city", text),
    "branch_zip": ("branch_zip", text),
    "state": ("state", text),
    "lo_ytd_volume": ("ytd_volume", money),
    "lo_ytd_transactions": ("ytd_transactions", count),
    "lo_rolling_volume": ("rolling_volume", money),
    "lo_rolling_transactions": ("rolling_transactions", count),
}

LENDER: dict[str, tuple[str, Read]] = {
    **_SAID_OF_ALL,
    "name": ("name", text),
    "address": ("address", text),
    "purchase_fourteen": ("purchase_volume", money),
    "refi_fourteen": ("refinance_volume", money),
    "newconstruction_fourteen": ("new_construction_volume", money),
    "constructionloan_fourteen": ("construction_loan_volume", money),
    "conv_fourteen": ("conventional_volume", money),
    "va_fourteen": ("va_volume", money),
    "usda_fourteen": ("usda_volume", money),
    "nonqm_fourteen": ("nonqm_volume", money),
}

AGENT: dict[str, tuple[str, Read]] = {
    **_SAID_OF_ALL,
    "first_name": ("first_name", text),
    "last_name": ("last_name", text),
    "company": ("company", text),
    "oppapp": ("opportunity", text),
    "email": ("email", text),
    "phone": ("phone", text),
    "linkedin": ("linkedin_url", text),
    "branch_address": ("branch_address", text),
    "branch_city": ("branch_city", text),
    "state": ("state", text),
    "agent_active_listings": ("active_listings", count),
    "agent_active_volume": ("active_volume", money),
    "agent_rolling_buyside_volume": ("rolling_buyside_volume", money),
    "agent_rolling_buyside_transactions": ("rolling_buyside_transactions", count),
    "agent_rolling_listside_volume": ("rolling_listside_volume", money),
    "agent_rolling_listside_transactions": ("rolling_listside_transactions", count),
    "agent_ytd_buyside_volume": ("ytd_buyside_volume", money),
    "agent_ytd_buyside_transactions": ("ytd_buyside_transactions", count),
    "agent_ytd_listside_volume": ("ytd_listside_volume", money),
    "agent_ytd_listside_transactions": ("ytd_listside_transactions", count),
}

ALERT: dict[str, tuple[str, Read]] = {
    "mmi_user_email": ("mmi_user", text),
    "status": ("status", text),
    "address": ("address", text),
    "city": ("city", text),
    "state": ("state", text),
    "zip": ("zip", text),
    "list_date": ("list_date", day),
    "sold_date": ("sold_date", day),
    "list_price": ("list_price", money),
    "close_price": ("close_price", money),
    "photo_url": ("photo_url", text),
    "tracked_agent_name": ("tracked_agent_name", text),
    "tracked_agent_office": ("tracked_agent_office", text),
    "listing_agent_fullname": ("listing_agent_name", text),
    "listing_agent_office": ("listing_agent_office", text),
    "listing_agent_email": ("listing_agent_email", text),
    "listing_agent_phone": ("listing_agent_phone", text),
    "listing_agent_ff_url": ("listing_agent_url", text),
    "sold_agent_fullname": ("sold_agent_name", text),
    "sold_agent_office": ("sold_agent_office", text),
    "sold_agent_email": ("sold_agent_email", text),
    "sold_agent_phone": ("sold_agent_phone", text),
    "buyer_agent_ff_url": ("buyer_agent_url", text),
}


@dataclass(frozen=True)
class Table:
    """Where a kind of subject lands: the columns that name it, and the key of each other column."""

    name: str
    named_by: Mapping[str, str]
    fields: Mapping[str, tuple[str, Read]]


TABLES = {
    "loan_officer": Table("mmi_loan_officers", {"nmls": "nmls"}, OFFICER),
    "lender": Table("mmi_lenders", {"nmls": "nmls"}, LENDER),
    "agent": Table("mmi_agents", {"agent_id": "agent_id"}, AGENT),
    "listing_alert": Table("mmi_listing_alerts", {"listing_id": "listing_id", "nmls": "nmls"}, ALERT),
}

#: Says what its subject and its order say already.
_SAID_ELSEWHERE = frozenset({"type", "timestamp"})


def subject_of(kind: str, said: Mapping[str, Any]) -> str:
    """What an entry of this kind is known by. Raises ValueError where it names nothing."""
    if kind == "loan_officer":
        return _named(said.get("nmls") or said.get("nmls_id"))
    if kind == "listing_alert":
        listing, nmls = _named(said.get("listing_id")), label(said.get("nmls") or "") or ""
        return f"{listing}|{nmls}"
    return _named(said.get("agent_id" if kind == "agent" else "nmls"))


class MmiHydrator:
    """Lands MMI's entries."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """One row an entry."""
        rows: dict[str, list[Row]] = {}
        for each in applied:
            rows.setdefault(each.sent.kind, []).append(_row(TABLES[each.sent.kind], each))
        for kind, of_kind in sorted(rows.items()):
            upsert(conn, TABLES[kind].name, tuple(TABLES[kind].named_by), of_kind)
        return [Landed(1)] * len(applied)

    def clear(self, conn: Connection, kind: str, subject: str) -> None:
        """Empty the subject's row."""
        table = TABLES[kind]
        names = subject.rsplit("|", 1) if kind == "listing_alert" else [subject]
        where = dict(zip(table.named_by, names, strict=True))
        clear(conn, table.name, tuple(table.named_by), where)


def _row(table: Table, applied: Applied) -> Row:
    said, sent = applied.sent.payload, applied.sent
    columns, rest = read(said, table.fields)
    row: Row = {column: None for column, _ in table.fields.values()} | columns
    names = [label(said.get(key) or "") or "" for key in table.named_by.values()]
    if sent.kind != "listing_alert":
        names, row["said_at"] = [sent.subject], sent.key
    unsaid = _SAID_ELSEWHERE | set(table.named_by.values()) if sent.key else set(table.named_by.values())
    return (
        row | dict(zip(table.named_by, names, strict=True)) | aside({k: v for k, v in rest.items() if k not in unsaid})
    )


def _named(value: Any) -> str:
    found = None if value is None else label(value)
    if found is None:
        raise ValueError("names nothing")
    return found
