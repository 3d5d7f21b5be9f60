"""Times, lengths of time and decisions as people read them. What templates call their filters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from freshness import guard, sending
from freshness.guard import Outcome
from freshness.ledger.browsing import Place
from freshness.sending import Landing

from ..cells import span

#: What colour goes with a word; the word is always there too.
TONES = {
    "fresh": "good",
    "landed": "good",
    "dispatched": "blue",
    "closed": "good",
    "unconfirmed": "warn",
    "unstamped": "warn",
    "landed, served nothing": "warn",
    "waits": "warn",
    "half-open": "warn",
    "unknown_file": "warn",
    "unsupported_event": "warn",
    "stale": "bad",
    "given up": "bad",
    "failed": "bad",
    "broken off": "bad",
    "dead": "warn",
    "malformed": "bad",
    "open": "bad",
    "deleted": "off",
    "held": "off",
    "already_ordered": "off",
    "own_echo": "violet",
    "applied": "good",
    "waiting": "warn",
    "rebuilt": "good",
    "not whole": "bad",
}

#: How lists call an outcome.
SHORT = {
    "dispatched": "dispatched",
    "held": "held",
    "already_ordered": "already ordered",
    "own_echo": "own echo",
    "unknown_file": "unknown file",
    "unsupported_event": "unsupported event",
    "malformed": "malformed",
    "applied": "applied",
    "waiting": "waiting",
    "duplicate": "duplicate",
    "older": "older",
    "other_senders": "other senders",
}


#: Why an entry of another sender's was applied.
_APPLIED = {
    sending.NEWER: "newer than what was applied of its subject before",
    sending.SAME_KEY: "as new as what was applied before, and it says something else",
    sending.UNORDERED: "nothing says which of its subject's entries is newer, so the last to arrive wins",
}


def tone(word: str | None) -> str:
    """The colour that goes with a state, an outcome, the end of a run."""
    return TONES.get(word or "", "off")


def badge(word: str | None) -> Markup:
    """A word in its colour."""
    return Markup('<span class="badge {}">{}</span>').format(tone(word), SHORT.get(word or "", word or "–"))


def utc(moment: dt.datetime | None, form: str = "%Y-%m-%d %H:%M:%SZ") -> Markup:
    """A moment in UTC, to the second; machines and the mouse's tip have it to the microsecond."""
    if moment is None:
        return Markup('<span class="none">–</span>')
    whole = moment.astimezone(dt.UTC)
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(whole.isoformat(), whole.strftime(form))


def clock(moment: dt.datetime | None) -> Markup:
    """Likewise without its year, for lists."""
    return utc(moment, "%m-%d %H:%M:%SZ")


def minute(moment: dt.datetime | None) -> Markup:
    """Likewise within a day, for what was counted by the minute."""
    return utc(moment, "%H:%MZ")


def field(moment: dt.datetime | None) -> str:
    """A moment in UTC as a field of a form has it, to the second."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S") if moment else ""


def stamp(moment: dt.datetime | None) -> Markup:
    """A stamp of MLM's in UTC, to the millisecond: two of one file are often less than seconds apart."""
    if moment is None:
        return Markup('<span class="none">–</span>')
    whole = moment.astimezone(dt.UTC)
    said = whole.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    return Markup('<time class="stamp" datetime="{0}">{1}</time>').format(whole.isoformat(), said)


def ago(moment: dt.datetime | None, now: dt.datetime | None = None) -> str:
    """How long ago, or in how long."""
    if moment is None:
        return ""
    length = (now or dt.datetime.now(dt.UTC)) - moment
    if length < dt.timedelta(0):
        return f"in {span(-length)}"
    return "just now" if length < dt.timedelta(seconds=1) else f"{span(length)} ago"


def took(receipt: Mapping[str, Any]) -> str | None:
    """How long after it came everything that it asked for had landed."""
    if receipt["order_number"] is None:
        return None
    served = receipt["served_at"]
    return span(served - receipt["received_at"]) if served else "waits"


def seconds(value: float | None) -> str:
    """A length in seconds, as people read it."""
    return "–" if value is None else span(dt.timedelta(seconds=value))


def rate(a_second: float) -> str:
    """So many a second, or a minute if they are few."""
    return f"{a_second:.1f}/s" if a_second >= 0.1 or not a_second else f"{a_second * 60:.1f}/min"


def empty_in(due: int, a_second: float) -> str:
    """When that many are done at this rate; nobody knows while none is."""
    if not due:
        return "now"
    return seconds(due / a_second) if a_second else "–"


def number(value: int | None) -> str:
    """A whole number with thin gaps between thousands."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def place_of(receipt: Mapping[str, Any]) -> str:
    """A receipt's place, as addresses have it."""
    return place_text(Place(receipt["received_at"], receipt["id"]))


def place_text(place: Place) -> str:
    """A place, as addresses have it: microseconds since 1970, and the id."""
    micros = (place.at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return f"{micros}.{place.id}"


def read_place(text: str) -> Place:
    """The place that an address names.

    Raises:
        ValueError: it names none.
    """
    micros, _, number_ = text.partition(".")
    if not (micros.isdecimal() and number_.isdecimal() and len(micros) < 18 and len(number_) < 19):
        raise ValueError("no place of a receipt")
    return Place(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(micros)), int(number_))


def decided(receipt: Mapping[str, Any]) -> Markup:
    """The rule that decided, in a sentence, with the stamp it was held against."""
    t, mark = receipt["last_modified_at"], receipt["mark_before"]
    seen = escape("its stamp ") + stamp(t) if t else escape("it bore no stamp that can be read")
    before = escape("the newest we had seen was ") + stamp(mark) if mark else escape("we had seen none of this file")
    match receipt["outcome"], receipt["reason"]:
        case Outcome.DISPATCHED, guard.NEWER:
            said = Markup("Newer than what we hold: {}; {}. The file was ordered.").format(seen, before)
        case Outcome.DISPATCHED, guard.UNGUARDED if t is None:
            said = Markup("No stamp that can be read, so nothing could be compared. The file was ordered to be safe.")
        case Outcome.DISPATCHED, guard.UNGUARDED:
            said = Markup(
                "Ordered whatever its stamp ({}): the file's last read bore no stamp, or no webhook's stamp had "
                "equalled a read's yet."
            ).format(stamp(t))
        case Outcome.DISPATCHED, guard.DELETED_EVENT:
            said = Markup("MLM says it was deleted. We read before we believe it: the file was ordered.")
        case Outcome.DISPATCHED, guard.FORCED:
            said = Markup("Replayed with force: the file was ordered though the guard would have skipped it.")
        case Outcome.HELD, _:
            said = Markup("Skipped: {}, and every part of the file holds that or newer; {}.").format(seen, before)
        case Outcome.ALREADY_ORDERED, _:
            said = Markup("Joined an order that is under way and will read {} or newer.").format(seen)
        case Outcome.OWN_ECHO, _:
            said = Markup("The echo of the portal's own write: after it we saw {} or newer ourselves.").format(seen)
        case Outcome.UNKNOWN_FILE, _:
            said = Markup("We have no loan or lead with this reference, so there was nothing to refresh.")
        case Outcome.UNSUPPORTED_EVENT, _:
            said = Markup("An event of this name changes nothing here.")
        case Outcome.MALFORMED, reason:
            said = Markup("Could not be understood: {}. The entry was not kept.").format(reason)
        case Landing.APPLIED, reason:
            why, *notes = reason.split(", ")
            said = Markup(", ").join([escape(f"Applied: {_APPLIED.get(why, why)}"), *map(escape, notes)]) + "."
        case Landing.WAITING, _:
            said = Markup("It came before its subject began: kept, and applied once that has come.")
        case Landing.DUPLICATE, _:
            said = Markup("Skipped: the latest entry that was applied says the same.")
        case Landing.OLDER, _:
            said = Markup("Skipped: a newer entry of its subject had been applied.")
        case _, reason:
            said = Markup("{}").format(reason)
    return said[:1].upper() + said[1:]
