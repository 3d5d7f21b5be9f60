"""What an address or a form asks of the receipts, read and checked."""

from __future__ import annotations

import datetime as dt
from typing import Any

from starlette.requests import Request

from freshness.guard import Outcome
from freshness.ledger.browsing import Place, Wanted
from freshness.sending import Landing

from . import words
from .kit import Refused

#: What became of an entry: of MLM's, and of another sender's.
OUTCOMES = list(dict.fromkeys(each.value for each in (*Outcome, *Landing)))
SPANS = {"all": None, "1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
#: Nothing came before, and at the ends of the calendar there is no week before or after.
YEARS = range(1970, 9999)
SLOWER = {"1": "1 s", "10": "10 s", "60": "1 min", "600": "10 min", "3600": "1 h"}


def wanted_of(asked: Any) -> Wanted:
    """The filters of an address or a form.

    Raises:
        Refused: one of them cannot be understood.
    """
    span = asked.get("span") or "all"
    if span not in SPANS:
        raise Refused(400, "This length of time is none of those to choose from.")
    outcome = asked.get("outcome") or None
    if outcome is not None and outcome not in OUTCOMES:
        raise Refused(400, "There is no such outcome.")
    search = (asked.get("search") or "").strip()[:100] or None
    since, until = moment_of(asked.get("since")), moment_of(asked.get("until"))
    length = SPANS[span]
    if length is not None:
        begin = (until or dt.datetime.now(dt.UTC)) - dt.timedelta(seconds=length)
        since = max(since, begin) if since else begin
    slower = asked.get("slower") or None
    if slower is not None and slower not in SLOWER:
        raise Refused(400, "This is none of the lengths to choose from.")
    changed = {"yes": True, "no": False}.get(asked.get("changed") or "")
    return Wanted(
        search=search,
        outcome=outcome,
        sender=(asked.get("sender") or "").strip()[:60] or None,
        event=(asked.get("event") or "").strip()[:60] or None,
        since=since,
        until=until,
        slower_s=float(slower) if slower else None,
        changed=changed,
        unserved=asked.get("unserved") == "1",
    )


def moment_of(text: str | None) -> dt.datetime | None:
    """The moment that an address or a form names, in UTC unless it says otherwise.

    Raises:
        Refused: it names none.
    """
    if not text:
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.year not in YEARS:
        raise Refused(400, "A moment must be like 2026-11-20T13:04, in UTC.")
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def after_of(text: str | None) -> Place | None:
    """The place that a page goes on from.

    Raises:
        Refused: the address names none.
    """
    try:
        return words.read_place(text) if text else None
    except ValueError:
        raise Refused(400, "This address names no place in the list.") from None


def place_in(request: Request) -> Place:
    """The receipt that an address names.

    Raises:
        Refused: 404, it names none.
    """
    try:
        return words.read_place(request.path_params["place"])
    except ValueError:
        raise Refused(404, "There is no such receipt.") from None
