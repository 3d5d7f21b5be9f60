"""Reading what a sender said: JSON values as columns, never an error.

A value that a column cannot hold leaves it null, and is kept aside with the keys that no column is for. Texts come out
fit for PostgreSQL: no NUL, no lone surrogate.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

#: What names something is no longer than this, or it is no name: an index takes two, of four bytes each character.
LONGEST = 255
_UNFIT = re.compile(r"[\x00\ud800-\udfff]")
_MONEY = re.compile(r"[+-]?\$?\d[\d,]*(\.\d+)?", re.ASCII)
_CENT, _BELOW_MONEY = Decimal("0.01"), Decimal(10) ** 12
_LARGEST = 2**31 - 1

#: Reads one value; None is null. Raises ValueError for what cannot be read.
Read = Callable[[Any], Any]


def text(value: Any) -> str | None:
    """A text, or a number as it is written."""
    if isinstance(value, str):
        return value if _is_plain(value) else _UNFIT.sub("�", value)
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)
    raise ValueError("no text")


def label(value: Any) -> str | None:
    """A text that names or numbers something: trimmed, none if blank."""
    said = (text(value) or "").strip()
    if len(said) > LONGEST:
        raise ValueError("too long for a name")
    return said or None


def number(value: Any) -> Decimal | None:
    """A number, or a text that says one (`$1,234.50`); a blank text is none."""
    if isinstance(value, str):
        trimmed = value.strip()
        if not trimmed:
            return None
        if not _MONEY.fullmatch(trimmed):
            raise ValueError("no number")
        return Decimal(trimmed.replace(",", "").replace("$", ""))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError("no number")


def money(value: Any) -> Decimal | None:
    """A number of dollars, to the cent."""
    return _money(value)


def decimal(unit: Decimal, below: Decimal) -> Callable[[Any], Decimal | None]:
    """A number to this unit, smaller than that."""

    def read(value: Any) -> Decimal | None:
        found = number(value)
        if found is None:
            return None
        if not found.is_finite() or abs(found) >= below:
            raise ValueError("out of range")
        try:
            rounded = found.quantize(unit, ROUND_HALF_UP)
        except InvalidOperation:
            raise ValueError("out of range") from None
        if abs(rounded) >= below:
            raise ValueError("out of range")
        return rounded

    return read


_money = decimal(_CENT, _BELOW_MONEY)


def count(value: Any) -> int | None:
    """A whole number."""
    found = number(value)
    if found is None:
        return None
    if not found.is_finite() or abs(found) > _LARGEST or found != found.to_integral_value():
        raise ValueError("no whole number")
    return int(found)


def flag(value: Any) -> bool | None:
    """True or false, also in words."""
    if isinstance(value, bool):
        return value
    said = str(value).strip().lower()
    if said in ("true", "false", "1", "0", "yes", "no"):
        return said in ("true", "1", "yes")
    raise ValueError("neither true nor false")


def day(value: Any) -> dt.date | None:
    """A day, or the day of an instant as it is written."""
    said = label(value)
    return None if said is None else dt.date.fromisoformat(said[:10])


def instant(value: Any) -> dt.datetime | None:
    """An instant with its zone; one without is none that could be told."""
    said = label(value)
    if said is None:
        return None
    found = dt.datetime.fromisoformat(said)
    if found.tzinfo is None:
        raise ValueError("no zone")
    try:
        return found.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError("out of range") from None


def texts(value: Any) -> list[str] | None:
    """A list of texts."""
    if not isinstance(value, list):
        raise ValueError("no list")
    return [said for each in value if each is not None and (said := text(each)) is not None]


def read(said: Mapping[str, Any], fields: Mapping[str, tuple[str, Read]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The columns of these fields that are there (a key that is null is a column that is null), and the rest.

    `fields`: key → column, and how it is read.
    """
    columns: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in said.items():
        field = fields.get(key)
        if field is None:
            rest[key] = value
            continue
        column, how = field
        try:
            columns[column] = None if value is None else how(value)
        except (ValueError, ArithmeticError):
            columns[column] = None
            rest[key] = value
    return columns, rest


def at(said: Any, *path: str) -> Any:
    """What stands there in objects within objects; None where there is none."""
    for name in path:
        if not isinstance(said, dict):
            return None
        said = said.get(name)
    return said


def mapping(value: Any) -> Mapping[str, Any]:
    """An object; one without keys for anything else."""
    return value if isinstance(value, dict) else {}


def fit(value: Any) -> Any:
    """The same JSON value, its texts fit for PostgreSQL."""
    if isinstance(value, str):
        return value if _is_plain(value) else _UNFIT.sub("�", value)
    if isinstance(value, dict):
        return {fit(key): fit(each) for key, each in value.items()}
    if isinstance(value, list):
        return [fit(each) for each in value]
    return value


def first(values: Iterable[Any]) -> Any:
    """The first that is there."""
    return next((value for value in values if value not in (None, "")), None)


def _is_plain(said: str) -> bool:
    """Whether nothing in it can be unfit; asked first, as it is cheap."""
    return said.isascii() and "\x00" not in said
