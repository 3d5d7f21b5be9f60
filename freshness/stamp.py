"""Stamps: how the text of `sLastModifiedTimestamp` becomes an instant, by one function on every path.

MLM's form, zone and resolution are not public (docs/mlm-wire.md), so several forms are read, and a text that names
no single instant is unreadable rather than guessed: an unreadable stamp orders a read, which costs a call, while a
wrong one would silence a change. Instants are UTC and keep microseconds; further digits are cut, not rounded,
because a webhook's stamp and a read's must come out equal. Comparing happens after `truncate`.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

UTC = dt.UTC

#: A stamp further ahead of our clock than this is unreadable: it would silence everything until then.
AHEAD_LIMIT = dt.timedelta(days=1)

#: A stamp before this is unreadable: it is what software says for "no date", and would pass for one held long ago.
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)

#: No form we read is longer.
LONGEST_TEXT = 64

_ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})[T ](?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})"
    r"(?:[.,](?P<fraction>\d{1,12}))?\s?(?P<zone>Z|z|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)
_US = re.compile(
    r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}) (?P<hour>\d{1,2}):(?P<minute>\d{2}):(?P<second>\d{2})"
    r"(?:\.(?P<fraction>\d{1,12}))?(?:\s?(?P<half>[AaPp][Mm]))?",
    re.ASCII,
)
_DIGITS = re.compile(r"\d{1,15}", re.ASCII)

_FIRST_MILLISECONDS = 100_000_000_000  # as seconds that is the year 5138, as milliseconds 1973


@dataclass(frozen=True, slots=True)
class Stamp:
    """An instant that MLM stamped a file with: UTC, to the microsecond, not yet truncated."""

    instant: dt.datetime

    @property
    def has_fraction(self) -> bool:
        """Whether the instant has a part below the second."""
        return self.instant.microsecond != 0


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stamp that names no instant, and why. `why` never quotes the text."""

    why: str


def parse(text: str | None, zone: ZoneInfo, now: dt.datetime) -> Stamp | Unreadable:
    """Read a stamp's text. `zone` is that of a stamp that names none; `now` is our clock.

    Unreadable are: none at all; a text of no known form; a time without zone that the zone repeats (autumn) or
    skips (spring); one before 1970; and one more than a day ahead of `now` (the contract, "The webhook's body").
    """
    if text is None or not text.strip():
        return Unreadable("missing")
    text = text.strip()
    if len(text) > LONGEST_TEXT:
        return Unreadable("longer than any stamp")
    try:
        read = _instant(text, zone)
    except (ValueError, OverflowError):
        return Unreadable("names no date or time")
    if isinstance(read, Unreadable):
        return read
    if read < EPOCH:
        return Unreadable("before 1970")
    if read - now > AHEAD_LIMIT:
        return Unreadable("more than a day ahead of our clock")
    return Stamp(read)


def truncate(instant: dt.datetime, resolution_s: float) -> dt.datetime:
    """The instant's tick: stamps are compared after this, since two saves within a resolution may share a stamp."""
    step_us = max(1, round(resolution_s * 1_000_000))
    since_us = (instant - EPOCH) // dt.timedelta(microseconds=1)
    return instant - dt.timedelta(microseconds=since_us % step_us)


def _instant(text: str, zone: ZoneInfo) -> dt.datetime | Unreadable:
    if _DIGITS.fullmatch(text):
        number = int(text)
        whole = number < _FIRST_MILLISECONDS
        return EPOCH + dt.timedelta(**{"seconds" if whole else "milliseconds": number})
    if found := _ISO.fullmatch(text):
        local = _local(found, int(found["hour"]))
        if found["zone"]:
            return local.replace(tzinfo=_offset(found["zone"])).astimezone(UTC)
        return _in_zone(local, zone)
    if found := _US.fullmatch(text):
        return _in_zone(_local(found, _hour_of_24(found)), zone)
    return Unreadable("of no known form")


def _local(found: re.Match[str], hour: int) -> dt.datetime:
    day = (int(found["year"]), int(found["month"]), int(found["day"]))
    microsecond = int((found["fraction"] or "")[:6].ljust(6, "0"))
    return dt.datetime(*day, hour, int(found["minute"]), int(found["second"]), microsecond)


def _hour_of_24(found: re.Match[str]) -> int:
    hour, half = int(found["hour"]), found["half"]
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError("no such hour")
    return hour % 12 + (12 if half.lower() == "pm" else 0)


def _offset(text: str) -> dt.tzinfo:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return dt.timezone(-offset if text[0] == "-" else offset)


def _in_zone(local: dt.datetime, zone: ZoneInfo) -> dt.datetime | Unreadable:
    early, late = local.replace(tzinfo=zone, fold=0), local.replace(tzinfo=zone, fold=1)
    if early.utcoffset() != late.utcoffset():
        repeated = early.utcoffset() > late.utcoffset()  # type: ignore[operator]
        return Unreadable("in the hour that the zone repeats" if repeated else "in the hour that the zone skips")
    return early.astimezone(UTC)
