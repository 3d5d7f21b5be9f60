"""What stands in the cells of tables on a narrow screen: times, lengths of time, what became of a receipt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from freshness.guard import Outcome

_STEPS = ((86_400 * 2, 86_400, "d"), (3600 * 2, 3600, "h"), (60 * 2, 60, "min"))


def span(length: dt.timedelta) -> str:
    """A length of time to two digits or so: 80 ms, 1.2 s, 3 min, 5 h, 2 d."""
    seconds = max(0.0, length.total_seconds())
    for least, unit, name in _STEPS:
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def second(moment: dt.datetime | None) -> str | None:
    """A moment in UTC, to the second, without its year."""
    return moment.astimezone(dt.UTC).strftime("%m-%d %H:%M:%S") if moment else None


def millisecond(moment: dt.datetime | None) -> str | None:
    """A stamp likewise, to the millisecond: two of one file are often less than seconds apart."""
    return moment.astimezone(dt.UTC).strftime("%m-%d %H:%M:%S.%f")[:-3] if moment else None


def served_after(receipt: Mapping[str, Any]) -> str | None:
    """How long after it was received a receipt was served; that it waits, if it does."""
    if receipt["order_number"] is None:
        return None
    served_at: dt.datetime | None = receipt["served_at"]
    return span(served_at - receipt["received_at"]) if served_at else "waits"


def decision(receipt: Mapping[str, Any]) -> str:
    """What was decided of an entry, in a word or two; a skip's word says enough."""
    word: str = receipt["outcome"]
    return f"{word}, {receipt['reason']}" if word in (Outcome.DISPATCHED, Outcome.MALFORMED) else word
