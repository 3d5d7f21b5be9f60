"""What an answer becomes: rows to land, and what in them could not be read.

A row is a dict of column → Python value. A column that is not in it was not in the answer: it is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client import values
from mlm_client.values import Unreadable

from .names_tables import Field, Kind

Row = dict[str, Any]

#: In a row of what a borrower owns: that borrower's `lqb_id`, for which landing puts `borrower_id`.
OWNED_BY = "borrower_lqb_id"

_CENT, _BELOW_MONEY = Decimal("0.01"), Decimal(10) ** 12
_HUNDRED_THOUSANDTH, _BELOW_PERCENT = Decimal("0.00001"), Decimal(10) ** 7
_SMALLEST, _LARGEST = -(2**15), 2**15 - 1
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """A value that could not be read, so its column is null. Says which and why, never the value."""

    field: str
    lqb_id: str | None
    why: str


@dataclass(frozen=True)
class Landing:
    """The rows of one slice.

    `unsaid`: positions of applications whose co-borrower the answer says nothing of; those are kept as they are.
    """

    concern: Concern
    table: str
    rows: tuple[Row, ...] = field(repr=False)
    problems: tuple[Problem, ...] = ()
    unsaid: tuple[int, ...] = ()


class Reader:
    """Reads the fields of records into rows, and remembers what it could not read."""

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys
        self.problems: list[Problem] = []

    def columns(self, said: Mapping[str, str], fields: tuple[Field, ...], lqb_id: str | None = None) -> Row:
        """The columns of those fields that are in the answer. Ids and owners are not columns: see `records`."""
        row: Row = {}
        for wanted in fields:
            if wanted.kind not in (Kind.RECORD_ID, Kind.OWNER) and wanted.name in said:
                try:
                    row |= _columns(wanted, said[wanted.name], self._keys)
                except Unreadable as unreadable:
                    self.problem(wanted, lqb_id, str(unreadable))
                    row |= _columns(wanted, "", self._keys)
        return row

    def problem(self, wanted: Field, lqb_id: str | None, why: str) -> None:
        """Remember that this field of this record could not be read."""
        self.problems.append(Problem(wanted.name, lqb_id, why))


def record_id(value: str | None) -> str | None:
    """An id as we store it, None if it is blank or too long to be one."""
    found = values.text(value)
    return found if found and len(found) <= _LONGEST_ID else None


def _columns(wanted: Field, text: str, keys: FieldKeys) -> Row:
    """One field's columns. Blank is null. Raises Unreadable."""
    column = wanted.column
    match wanted.kind:
        case Kind.ENUM:
            code = values.enum(text)
            if code is not None and not _SMALLEST <= code <= _LARGEST:
                raise Unreadable("enum", "out of range")
            return {f"{column}_code": code, column: (wanted.meanings or {}).get(code) if code is not None else None}
        case Kind.SSN:
            return sealed(column, values.ssn(text), keys)
        case Kind.ACCOUNT:
            return sealed(column, values.text(text), keys)
        case Kind.SECRET:
            return sealed_whole(column, values.text(text), keys)
        case Kind.SECRET_DATE:
            day = values.date(text)
            return sealed_whole(column, None if day is None else day.isoformat(), keys)
        case Kind.LABEL:
            label = values.text(text)
            if label and len(label) > _LONGEST_ID:
                raise Unreadable("label", "too long")
            return {column: label}
        case Kind.MONEY:
            return {column: _bounded(values.money(text), "money", _CENT, _BELOW_MONEY)}
        case Kind.PERCENT:
            return {column: _bounded(values.percent(text), "percent", _HUNDRED_THOUSANDTH, _BELOW_PERCENT)}
        case Kind.INTEGER:
            return {column: values.integer(text)}
        case Kind.DATE:
            return {column: values.date(text)}
        case Kind.BOOLEAN:
            return {column: values.boolean(text)}
        case Kind.IDS:
            return {column: (values.text(text) or "").replace(",", " ").replace(";", " ").split() or None}
        case _:
            return {column: values.text(text)}


def sealed(column: str, plain: str | None, keys: FieldKeys) -> Row:
    """The three columns of a number that people know by its end; one that is no longer than that end shows none."""
    last4 = None if plain is None or len(plain) <= 4 else plain[-4:]
    return sealed_whole(column, plain, keys) | {f"{column}_last4": last4}


def sealed_whole(column: str, plain: str | None, keys: FieldKeys) -> Row:
    """The two columns of a secret of which nothing is shown."""
    return {
        f"{column}_encrypted": None if plain is None else keys.seal(plain),
        f"{column}_index": None if plain is None else keys.index(plain),
    }


def _bounded(value: Decimal | None, kind: str, unit: Decimal, below: Decimal) -> Decimal | None:
    if value is None:
        return None
    rounded = value.quantize(unit, ROUND_HALF_UP)
    if abs(rounded) >= below:
        raise Unreadable(kind, "out of range")
    return rounded
