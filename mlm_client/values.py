"""From LOXml's text to typed values. Pure; blank is None; what cannot be read is `Unreadable`, which never quotes it.

Forms: docs/mlm-wire.md, §3.1. Numbers are bounded on the way in, so that no text MLM could send costs memory or
overflows a column: at most 15 digits before and 10 after the point, no exponent, no NaN, no infinity.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from decimal import Decimal

_NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.([0-9]*))?", re.ASCII)
_US_DATE = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})(?=\s|\Z)", re.ASCII)
_ISO_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?=[T\s]|\Z)", re.ASCII)
_TIME = re.compile(
    r"(?:[T\s]\s*[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,7})?)?\s*(?:[AP]M)?)?", re.ASCII | re.IGNORECASE
)
_INTEGER = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_TRUE = frozenset({"true", "yes", "y", "1"})
_FALSE = frozenset({"false", "no", "n", "0"})

_LONGEST = 64
_WHOLE_DIGITS = 15
_FRACTION_DIGITS = 10
_FIRST_YEAR, _LAST_YEAR = 1800, 2200


class Unreadable(ValueError):
    """A value of MLM's that names nothing of its kind. `kind` is what was expected, `why` a phrase of ours."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"unreadable {kind}: {why}")
        self.kind = kind
        self.why = why


def text(value: str | None) -> str | None:
    """The text without control characters (line breaks and tabs stay) and without space around it."""
    if not value:
        return None
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.isprintable():
        value = "".join(c for c in value if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs", "Cn"))
    return value.strip() or None


def money(value: str | None) -> Decimal | None:
    """Dollars: `$400,000.00`, `400000`, `-$5.00`; parentheses are negative (inferred)."""
    return _decimal(value, "money", "$")


def percent(value: str | None) -> Decimal | None:
    """Percent, not a fraction of one: `3.875%` and `3.875` are both 3.875."""
    return _decimal(value, "percent", "%")


def number(value: str | None) -> Decimal | None:
    """A plain number, with or without commas."""
    return _decimal(value, "number", "")


def integer(value: str | None) -> int | None:
    """A whole number of at most nine digits; `360.000` is 360."""
    found = _decimal(value, "integer", "")
    if found is None:
        return None
    if found != found.to_integral_value():
        raise Unreadable("integer", "it has a fraction")
    if abs(found) >= 10**9:
        raise Unreadable("integer", "out of range")
    return int(found)


def enum(value: str | None) -> int | None:
    """The number of an enum (`sStatusT` and all names that end in T)."""
    stripped = _stripped(value, "enum")
    if stripped is None:
        return None
    if not _INTEGER.fullmatch(stripped):
        raise Unreadable("enum", "not a whole number")
    return int(stripped)


def boolean(value: str | None) -> bool | None:
    """`True`, `Yes`, `Y`, `1` and their opposites, in any letter case."""
    stripped = _stripped(value, "boolean")
    if stripped is None:
        return None
    if stripped.lower() in _TRUE:
        return True
    if stripped.lower() in _FALSE:
        return False
    raise Unreadable("boolean", "neither yes nor no")


def date(value: str | None) -> datetime.date | None:
    """A day: `M/D/YYYY`, with or without leading zeros, or `YYYY-MM-DD`. A time of day behind it is left out."""
    stripped = _stripped(value, "date")
    if stripped is None:
        return None
    if match := _US_DATE.match(stripped):
        month, day, year = (int(part) for part in match.groups())
    elif match := _ISO_DATE.match(stripped):
        year, month, day = (int(part) for part in match.groups())
    else:
        raise Unreadable("date", "neither month/day/year nor ISO")
    if not _TIME.fullmatch(stripped, match.end()):
        raise Unreadable("date", "something other than a time follows the day")
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        raise Unreadable("date", "year out of range")
    try:
        return datetime.date(year, month, day)
    except ValueError:
        raise Unreadable("date", "no such day") from None


def ssn(value: str | None) -> str | None:
    """The nine digits. One that is masked, or all of one digit 0, is `Unreadable`: it must never match a person."""
    stripped = _stripped(value, "SSN")
    if stripped is None:
        return None
    digits = stripped.replace("-", "").replace(" ", "")
    if any(c in "xX*#•" for c in digits):
        raise Unreadable("SSN", "masked")
    if not (len(digits) == 9 and digits.isascii() and digits.isdigit()):
        raise Unreadable("SSN", "not nine digits")
    if digits == "000000000":
        raise Unreadable("SSN", "a placeholder")
    return digits


def _decimal(value: str | None, kind: str, sign: str) -> Decimal | None:
    stripped = _stripped(value, kind)
    if stripped is None:
        return None
    bare, negative = stripped, False
    if bare.startswith("(") and bare.endswith(")"):
        bare, negative = bare[1:-1].strip(), True
    if bare.startswith("-") or (sign and bare.startswith(f"{sign}-")):
        if negative:
            raise Unreadable(kind, "two signs")
        bare, negative = bare.replace("-", "", 1), True
    if sign == "%":
        bare = bare.removesuffix("%").rstrip()
    elif sign:
        bare = bare.removeprefix(sign).lstrip()
    match = _NUMBER.fullmatch(bare)
    if match is None or not (match[1] or match[2]):
        raise Unreadable(kind, "not a number")
    whole, fraction = match[1].replace(",", "").lstrip("0"), match[2] or ""
    if len(whole) > _WHOLE_DIGITS or len(fraction.rstrip("0")) > _FRACTION_DIGITS:
        raise Unreadable(kind, "out of range")
    found = Decimal(f"{whole or '0'}.{fraction[:_FRACTION_DIGITS]}".removesuffix("."))
    return -found if negative and found else found


def _stripped(value: str | None, kind: str) -> str | None:
    """The value without control characters and space, None if nothing is left; too long a one is not looked at."""
    stripped = value.strip() if value else ""
    if len(stripped) > _LONGEST:
        raise Unreadable(kind, "too long")
    return text(stripped)
