"""What other senders send: an entry, its subject, and what is decided of it. Pure.

A subject is what an entry speaks of: a loan officer, an order, a showing. It has at most one order key:

    the entry                                                     decision
    ------------------------------------------------------------  ---------------------------------------
    follows a beginning that has not come                         waiting, applied after it
    has the content of the subject's latest applied entry         skip: duplicate
    its key is below the key applied                              skip: older
    its key is the key applied, its content another               apply: same_key
    its key is above, or is the subject's first                   apply: newer
    it, or its sender, has no key                                 apply: unordered (the last arrival wins)

The content of an older entry is no duplicate: A → B → A is three changes. An entry without a key leaves the subject's.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import msgspec

from .field_keys import FieldKeys

NEWER, SAME_KEY, UNORDERED = "newer", "same_key", "unordered"


class Landing(StrEnum):
    """What became of a sender's entry; the receipt's `outcome`."""

    APPLIED = "applied"
    WAITING = "waiting"
    DUPLICATE = "duplicate"
    OLDER = "older"
    UNSUPPORTED = "unsupported_event"
    MALFORMED = "malformed"

    @property
    def counted_as(self) -> str:
        """How the answer counts it."""
        match self:
            case Landing.APPLIED | Landing.WAITING:
                return self.value
            case Landing.MALFORMED:
                return "rejected"
            case _:
                return "skipped"


_WHY = {
    Landing.WAITING: "it came before its subject began; applied after that",
    Landing.DUPLICATE: "the latest that was applied says the same",
    Landing.OLDER: "a newer one was applied",
    Landing.UNSUPPORTED: "nothing that we know of is spoken of",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One entry as its sender means it. With a `fault` nothing else counts but the event.

    `key` is written so that the order of texts is the order of keys (`number_key`, `instant_key`), `key_text` is how
    its sender wrote it. `content` says what makes two entries the same (`content_of`). `formerly` are names that older
    keys have given the subject. `payload` is for the hydrator. `begins` and `follows`: a subject that must begin first
    takes what follows only then.
    """

    sender: str
    event: str | None
    kind: str = ""
    subject: str = ""
    key: str | None = None
    key_text: str | None = None
    content: tuple[bytes, ...] = ()
    formerly: tuple[str, ...] = ()
    payload: Any = field(default=None, repr=False)
    loan_number: str | None = None
    begins: bool = False
    follows: bool = False
    fault: str | None = None
    unsupported: bool = False


@dataclass(frozen=True, slots=True)
class SubjectState:
    """What was applied of a subject last: its key, its content's digest; and whether it has begun."""

    key: str | None = None
    content: bytes | None = None
    begun: bool = False

    def after(self, sent: Sent) -> SubjectState:
        """The state once this entry was applied."""
        content = sent.content[0] if sent.content else None
        return replace(self, key=sent.key or self.key, content=content, begun=self.begun or sent.begins)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided of an entry, and why."""

    landing: Landing
    reason: str

    @property
    def applies(self) -> bool:
        """Whether its rows land."""
        return self.landing is Landing.APPLIED


def decide(sent: Sent, state: SubjectState) -> Verdict:
    """Decide one entry against what its subject has seen."""
    if sent.fault is not None:
        return Verdict(Landing.MALFORMED, sent.fault)
    if sent.unsupported:
        return _verdict(Landing.UNSUPPORTED)
    if sent.follows and not state.begun:
        return _verdict(Landing.WAITING)
    if state.content in sent.content:
        return _verdict(Landing.DUPLICATE)
    if sent.key is None:
        return Verdict(Landing.APPLIED, UNORDERED)
    if state.key is None or sent.key > state.key:
        return Verdict(Landing.APPLIED, NEWER)
    return Verdict(Landing.APPLIED, SAME_KEY) if sent.key == state.key else _verdict(Landing.OLDER)


def content_of(value: Any, keys: FieldKeys) -> tuple[bytes, ...]:
    """The digest of a JSON value under each key, newest first: equal however its keys are ordered and its text is
    spaced. Keyed, because what is stored must not let anybody try which SSN is in it."""
    digest = hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()
    return keys.indexes(f"content {digest}")


def number_key(text: str) -> str:
    """A key of an id: all digits as the number they are, below every text; "9" is before "10"."""
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        return f"0{len(digits):06d}{digits}"
    return f"1{text}"


def instant_key(instant: dt.datetime) -> str:
    """A key of an instant, to the microsecond."""
    return instant.astimezone(dt.UTC).isoformat(timespec="microseconds")


def _verdict(landing: Landing) -> Verdict:
    return Verdict(landing, _WHY[landing])
