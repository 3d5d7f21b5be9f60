"""Is our copy of a file what MLM has? Every mapped value of every concern, for a file as the sandbox's JSON tells it.

Names and columns are the hydrators' own table (`hydrators.names_tables`), values are read here anew: the sandbox's are
canonical text (`400000.00`, `3.875`, `2026-11-20`, `True`, nine digits), not what goes over the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import Connection

from freshness.concerns import ALL, Concern
from freshness.field_keys import FieldKeys
from hydrators import names_tables as names
from hydrators.names_tables import Collection, Field, Kind

Row = dict[str, Any]
#: table → MLM's id → what the row should hold. Of a loan or lead the id is its reference number.
Tables = dict[str, dict[str, Row]]

FILES = {"loan": "loans", "lead": "leads"}

TABLE_OF = {Concern.BORROWERS: "borrowers"} | {each.concern: each.table for each in names.COLLECTIONS}

#: Columns that say how far the copy is, or who a row is among ours: not MLM's values.
OURS = frozenset(
    {"id", "loan_id", "lead_id", "mlm_last_modified_at", "is_hydrated", "hydrated_at", "deleted_at", "became_loan_id"}
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the copy is not what MLM has, never the value: `column` None means that the row is missing or too
    much."""

    table: str
    mlm_id: str
    column: str | None
    why: str

    def __str__(self) -> str:
        return f"{self.table} {self.mlm_id}{f'.{self.column}' if self.column else ''} {self.why}"


def differences(
    conn: Connection, keys: FieldKeys, mlm_file: Mapping[str, Any], concerns: Iterable[Concern] = ALL
) -> list[Difference]:
    """Every place where the copy differs from a file of the sandbox's (`GET /api/files/{ref}`); none if it is equal.

    A file deleted in MLM must be a row that says so, without children. A column of the tables that nothing was compared
    with is a difference too.
    """
    kind, ref, wanted = mlm_file["kind"], mlm_file["ref"], set(concerns)
    row = _one(conn, f"SELECT * FROM {FILES[kind]} WHERE mlm_reference_number = %(ref)s", ref=ref)  # noqa: S608
    if row is None:
        return [Difference(FILES[kind], ref, None, "is not here")]
    children = {concern: table for concern, table in TABLE_OF.items() if concern in wanted}
    held = {table: _children(conn, table, kind, row["id"]) for table in children.values()}
    expected = dict.fromkeys(children.values(), _NO_ROWS)
    if not mlm_file["deleted"]:
        expected = _children_of(mlm_file, children)
    found = [each for table in held for each in _compared(table, expected[table], _linked(conn, held[table]), keys)]
    if mlm_file["deleted"] is (row["deleted_at"] is None):
        found.append(Difference(FILES[kind], ref, "deleted_at", "does not say what MLM says"))
    if Concern.LOAN_FIELDS in wanted and not mlm_file["deleted"]:
        loan = _columns(names.LOAN_FIELDS, mlm_file["fields"]) | {"mlm_reference_number": ref}
        found += _compared(FILES[kind], {ref: loan}, {ref: row}, keys)
        if not row["is_hydrated"]:
            found.append(Difference(FILES[kind], ref, "is_hydrated", "is false"))
    return found


_NO_ROWS: dict[str, Row] = {}


def _children_of(mlm_file: Mapping[str, Any], children: Mapping[Concern, str]) -> Tables:
    expected: Tables = {table: {} for table in children.values()}
    for collection in names.COLLECTIONS:
        if collection.concern not in children:
            continue
        if not collection.of_applicant:
            expected[collection.table] |= _records(collection, mlm_file["collections"][collection.name], {})
        for applicant in mlm_file["applicants"] if collection.of_applicant else ():
            records = applicant["collections"][collection.name]
            expected[collection.table] |= _records(collection, records, applicant["fields"])
    for position, applicant in enumerate(mlm_file["applicants"]):
        if Concern.BORROWERS in children:
            expected["borrowers"] |= _people(position, applicant["fields"])
    return expected


def _people(position: int, said: Mapping[str, str]) -> dict[str, Row]:
    """The borrower and, if there is one, the co-borrower of an application."""
    people = {}
    for role, fields in (("borrower", names.BORROWER_FIELDS), ("co_borrower", names.CO_BORROWER_FIELDS)):
        if consumer_id := _id(fields, said):
            application = _columns(names.APPLICATION_FIELDS, said)
            people[consumer_id] = {"position": position, "role": role} | application | _columns(fields, said)
    return people


def _records(collection: Collection, records: Iterable[Mapping[str, str]], people: Mapping[str, str]) -> dict[str, Row]:
    """The rows of one collection, each with its owner where it has one."""
    seats = {"borrower": _id(names.BORROWER_FIELDS, people), "co_borrower": _id(names.CO_BORROWER_FIELDS, people)}
    rows = {}
    for record in records:
        row = _columns(collection.fields, record)
        owned_by = collection.first(Kind.OWNER)
        if owned_by or collection.owner:
            code = _whole(record.get(owned_by.name, "")) if owned_by else None
            owner = collection.owner or names.OWNERS.get(code if code is not None else -1)
            row |= {"owner": owner, "borrower_id": seats["borrower" if owner == "both" else owner] if owner else None}
        if "employment_lqb_id" in row:
            row["employment_id"] = row["employment_lqb_id"]
        rows[_id(collection.fields, record)] = row
    return rows


def _id(fields: Iterable[Field], said: Mapping[str, str]) -> str:
    return next(said.get(field.name, "").strip() for field in fields if field.kind is Kind.RECORD_ID)


def _columns(fields: Iterable[Field], said: Mapping[str, str]) -> Row:
    """What the columns of these fields should hold. Secrets stand in plain under the column's bare name."""
    row: Row = {}
    for field in fields:
        text = said.get(field.name, "").strip()
        if field.kind is Kind.RECORD_ID:
            row[field.column] = text
        elif field.kind is Kind.ENUM:
            code = _whole(text)
            row[f"{field.column}_code"] = code
            row[field.column] = (field.meanings or {}).get(code) if code is not None else None
        elif field.kind is not Kind.OWNER:
            row[field.column] = _value(field.kind, text)
    return row


def _value(kind: Kind, text: str) -> Any:
    """The canonical text as a value; None for nothing, and for what is none of its kind."""
    try:
        match kind:
            case Kind.MONEY | Kind.PERCENT:
                return Decimal(text) if text else None
            case Kind.INTEGER:
                return int(text) if text else None
            case Kind.DATE:
                return date.fromisoformat(text) if text else None
            case Kind.SECRET_DATE:
                return date.fromisoformat(text).isoformat() if text else None
            case Kind.BOOLEAN:
                return {"True": True, "False": False}.get(text)
            case Kind.IDS:
                return text.replace(",", " ").split() or None
            case Kind.SSN:
                return text if len(text) == 9 and text.isdecimal() else None
            case _:
                return text or None
    except (ValueError, InvalidOperation):
        return None


def _whole(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _compared(
    table: str, expected: Mapping[str, Row], held: Mapping[str, Mapping[str, Any]], keys: FieldKeys
) -> Iterable[Difference]:
    for mlm_id in sorted(expected.keys() ^ held.keys()):
        yield Difference(table, mlm_id, None, "is not here" if mlm_id in expected else "is too much")
    for mlm_id in sorted(expected.keys() & held.keys()):
        row, wanted = held[mlm_id], expected[mlm_id]
        for column in wanted.keys() - {"lqb_id"}:
            if f"{column}_encrypted" in row:
                yield from _compared_secret(table, mlm_id, column, wanted[column], row, keys)
            elif row[column] != wanted[column]:
                yield Difference(table, mlm_id, column, "differs")
        secrets = {f"{c}_{part}" for c in wanted for part in ("encrypted", "last4", "index")}
        for column in row.keys() - wanted.keys() - secrets - OURS - {"lqb_id"}:
            yield Difference(table, mlm_id, column, "was compared with nothing")


def _compared_secret(
    table: str, mlm_id: str, column: str, plain: str | None, row: Mapping[str, Any], keys: FieldKeys
) -> Iterable[Difference]:
    """All its columns: it opens to the plain text, shows its end if it is known by that, is found by its digest."""
    sealed, index = row[f"{column}_encrypted"], row[f"{column}_index"]
    if (keys.open(sealed) if sealed is not None else None) != plain:
        yield Difference(table, mlm_id, f"{column}_encrypted", "differs")
    if f"{column}_last4" in row and row[f"{column}_last4"] != (plain[-4:] if plain and len(plain) > 4 else None):
        yield Difference(table, mlm_id, f"{column}_last4", "differs")
    if (bytes(index) not in keys.indexes(plain)) if plain and index is not None else (plain is not None) != bool(index):
        yield Difference(table, mlm_id, f"{column}_index", "differs")


def _children(conn: Connection, table: str, kind: str, parent_id: int) -> dict[str, Row]:
    rows = conn.exec_driver_sql(f"SELECT * FROM {table} WHERE {kind}_id = %(id)s", {"id": parent_id})  # noqa: S608
    return {row["lqb_id"]: dict(row) for row in rows.mappings()}


def _linked(conn: Connection, rows: dict[str, Row]) -> dict[str, Row]:
    """The rows with MLM's ids where they point to rows of ours."""
    for column, table in (("borrower_id", "borrowers"), ("employment_id", "employments")):
        ids = {row[column] for row in rows.values() if row.get(column) is not None}
        if ids:
            found = conn.exec_driver_sql(f"SELECT id, lqb_id FROM {table} WHERE id = ANY(%(ids)s)", {"ids": list(ids)})  # noqa: S608
            lqb_ids = {row.id: row.lqb_id for row in found}
            for row in rows.values():
                row[column] = lqb_ids.get(row.get(column))
    return rows


def _one(conn: Connection, query: str, **parameters: Any) -> Row | None:
    row = conn.exec_driver_sql(query, parameters).mappings().one_or_none()
    return None if row is None else dict(row)
