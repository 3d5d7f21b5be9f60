"""MLM's clock: what a save is stamped with, and how a stamp reads as text.

A stamp is a whole number of ticks of 100 ns since 1970 (UTC), MLM's finest resolution (MLM's wire, §3.2; the true
form, zone and resolution are unknown, hence the knobs).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from mlm_client.sandbox.knobs import Dials, Knobs

TICKS_A_SECOND = 10_000_000

_zone = lru_cache(ZoneInfo)


class Clock:
    """Stamps that never go back, but by `clock_offset_s`; two saves within one resolution share theirs."""

    def __init__(self, dials: Dials, now_s: Callable[[], float] | None = None) -> None:
        self._dials = dials
        self._now_s = now_s
        self._newest = 0

    def stamp(self) -> int:
        """The stamp of a save made now."""
        knobs = self._dials.now
        now = time.time_ns() // 100 if self._now_s is None else round(self._now_s() * TICKS_A_SECOND)
        self._newest = max(self._newest, now)
        return truncated(self._newest + round(knobs.clock_offset_s * TICKS_A_SECOND), knobs.stamp_resolution_s)


def truncated(ticks: int, resolution_s: float) -> int:
    """`ticks` cut down to the resolution; 1/300 s rounds to .000, .003 and .007 as SQL Server's datetime does."""
    if abs(resolution_s - 1 / 300) < 1e-5:
        thirds = ticks * 300 // TICKS_A_SECOND
        return (thirds * 10 + 1) // 3 * 10_000
    step = max(1, round(resolution_s * TICKS_A_SECOND))
    return ticks // step * step


def stamp_text(ticks: int, knobs: Knobs) -> str:
    """The stamp as reads show it."""
    return _text(ticks, knobs.stamp_form, knobs)


def webhook_stamp_text(ticks: int, knobs: Knobs) -> str:
    """The stamp as webhooks show it: shifted and in another form where the knobs say so."""
    form = knobs.stamp_form if knobs.webhook_stamp_form == "same" else knobs.webhook_stamp_form
    return _text(ticks + round(knobs.webhook_shift_s * TICKS_A_SECOND), form, knobs)


def poll_text(ticks: int, knobs: Knobs) -> str:
    """The stamp as the poll list's LastModifiedD: US, whole seconds, no zone."""
    return f"{datetime.fromtimestamp(ticks // TICKS_A_SECOND, _zone(knobs.stamp_zone)):%m/%d/%Y %H:%M:%S}"


def utc_text(ticks: int) -> str:
    """The stamp for the JSON API, whatever the knobs: ISO 8601, UTC, seven digits."""
    seconds, rest = divmod(ticks, TICKS_A_SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:07d}Z"


def _text(ticks: int, form: str, knobs: Knobs) -> str:
    seconds, rest = divmod(ticks, TICKS_A_SECOND)
    if form == "blank":
        return ""
    if form == "garbled":
        return "yesterday"
    if form == "epoch_s":
        return str(seconds)
    if form == "epoch_ms":
        return str(ticks // 10_000)
    at = datetime.fromtimestamp(seconds, _zone(knobs.stamp_zone))
    digits = knobs.stamp_fraction_digits
    fraction = f".{rest:07d}"[: digits + 1] if digits else ""
    if form == "us":
        return f"{at:%m/%d/%Y %H:%M:%S}{fraction}"
    if form == "us_ampm":
        return f"{at:%m/%d/%Y %I:%M:%S}{fraction} {'AM' if at.hour < 12 else 'PM'}"
    offset = at.isoformat()[19:] if knobs.stamp_zone_shown else ""
    return f"{at:%Y-%m-%dT%H:%M:%S}{fraction}{offset}"
