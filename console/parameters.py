"""What several commands take on their command line: a reference number, an age, a moment, a rate. Wrong ones exit 2."""

from __future__ import annotations

import datetime as dt
import re

import click

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGE = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_LONGEST = dt.timedelta(days=36_500)
LONGEST_REFERENCE = 100
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
FASTEST = 100_000


def ref(text: str) -> str:
    """`sLRefNm`: trimmed, printable, of at most 100 characters, as the receiver takes it.

    Raises:
        BadParameter: it cannot be one.
    """
    trimmed = text.strip()
    if not trimmed or len(trimmed) > LONGEST_REFERENCE or not trimmed.isprintable():
        raise click.BadParameter(f"{text[:LONGEST_REFERENCE]!r} is no reference number")
    return trimmed


def age(text: str) -> dt.timedelta:
    """A length of time: a number and a unit, as in 90d, 12h, 2w; at most a hundred years.

    Raises:
        BadParameter: it is none.
    """
    found = _age(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no length of time; write 90d, 12h or 2w (units: s, m, h, d, w)")
    if not dt.timedelta(0) < found <= _LONGEST:
        raise click.BadParameter(f"{text!r} must be more than nothing and at most a hundred years")
    return found


def when(text: str) -> dt.datetime:
    """A moment: ISO 8601, in UTC unless it names an offset, or an age, counted back from now.

    Raises:
        BadParameter: it is none.
    """
    try:
        back = _age(text)
        moment = dt.datetime.now(dt.UTC) - back if back is not None else dt.datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no moment; write 2026-11-20, 2026-11-20T13:04:05Z or 2h (ago)") from None


def rate(text: str) -> float:
    """So many a second: 5, 5/s, 0.5/s.

    Raises:
        BadParameter: it is no rate.
    """
    number = text.strip().removesuffix("/s")
    if not _NUMBER.fullmatch(number) or not 0 < float(number) <= FASTEST:
        raise click.BadParameter(f"{text!r} is no rate; write 5/s or 0.5/s (at most {FASTEST}/s)")
    return float(number)


def _age(text: str) -> dt.timedelta | None:
    found = _AGE.fullmatch(text.strip())
    return dt.timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else None
