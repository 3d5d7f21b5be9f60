"""A batch of MLM's webhook: a body becomes entries (the contract, "The webhook's body"). Pure.

Taken: a bare list; an object that holds such a list under one key; a single such object; any letter case of the
key names, and other names by `MLM_WEBHOOK_KEYS`. Entries are decoded one by one, and of each only the fields we
use: an entry that cannot be used becomes an `Entry` with a `fault` and fails nobody else. What comes out is fit for
PostgreSQL: no NUL, no lone surrogate, nothing longer than `LONGEST`.

A body of the usual kind (a bare list, the names as they are set, every field there and a text, ASCII without escapes)
is decoded whole, with a third of the time; what it comes to is the same, since it is either just that or not taken.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Raw

from freshness.ledger.batches import Entry
from freshness.settings import WebhookKeys

from .errors import NotJson, TooMuch, UnknownForm
from .outline import STRING

#: Where MLM puts the stamp, under the entry's `values` (MLM's own name).
STAMP_KEY = "sLastModifiedTimestamp"

DEEPEST = 64
MOST_ENTRIES = 100_000
LONGEST = 100

_STRINGS = re.compile(STRING, re.DOTALL)
_BRACKET_OR_STRING = re.compile(STRING + rb"|[\[\]{}]", re.DOTALL)
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NOT_BRACKETS = bytes(set(range(256)) - set(_STEP))
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_BYTE = re.compile(r"\(byte (\d+)\)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f�]")
_WHOLE = re.compile(r"\d+", re.ASCII)


def decode(body: bytes, keys: WebhookKeys) -> list[Entry]:
    """All entries of a delivery, in its order.

    Raises:
        NotJson: the body is no JSON text; the position is the byte at which it stops being one.
        UnknownForm: JSON of no known form, or nested deeper than 64.
        TooMuch: more than 100,000 entries.
    """
    if (entries := _usual(body, keys)) is not None:
        return entries
    raw_entries = _raw_entries(as_json(body), keys)
    _refuse_too_many(len(raw_entries))
    return [_entry(raw, keys) for raw in raw_entries]


def as_json(body: bytes) -> Raw:
    """The body as one JSON value, not looked into yet, that nothing recurses into too deep.

    Raises:
        NotJson, UnknownForm: as `decode`.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        body = b"   " + body[3:]
    if (position := _too_deep(body)) is not None:
        raise UnknownForm(f"nested deeper than {DEEPEST}", position)
    return _json(body)


def _refuse_too_many(count: int) -> None:
    if count > MOST_ENTRIES:
        raise TooMuch(f"a batch of {count} entries; at most {MOST_ENTRIES} are taken")


def fit_reference(text: str) -> str:
    """A reference number, trimmed, as it may be looked up and stored.

    Raises:
        ValueError: it is empty, too long, or holds what no reference number holds; the message says which.
    """
    reference = text.strip()
    if not reference:
        raise ValueError("no reference")
    if len(reference) > LONGEST:
        raise ValueError(f"a reference of {len(reference)} characters")
    if not _is_plain(reference) and _UNFIT.search(reference):
        raise ValueError("a reference with unprintable characters")
    return reference


def _usual(body: bytes, keys: WebhookKeys) -> list[Entry] | None:
    """The entries of a body of the usual kind, or None: then it is looked at more closely."""
    decoder = _decoder(keys)
    if decoder is None or not body.isascii() or b"\\" in body:
        return None
    if _depth(b"".join(body.split(b'"')[::2])) > DEEPEST:
        return None
    try:
        usual = decoder.decode(body)
    except msgspec.DecodeError:
        return None
    _refuse_too_many(len(usual))
    return [_usual_entry(each) for each in usual]


@lru_cache
def _decoder(keys: WebhookKeys) -> msgspec.json.Decoder[Any] | None:
    """Of a list of entries that have all we use, each a text; None if two of the names are the same."""
    try:
        values = msgspec.defstruct("Values", [("stamp", str)], rename={"stamp": STAMP_KEY})
        fields = [("reference", str), ("number", str), ("event", str), ("values", values)]
        entry = msgspec.defstruct("Usual", fields, rename={name: getattr(keys, name) for name, _ in fields})
    except ValueError:
        return None
    return msgspec.json.Decoder(list[entry])  # type: ignore[valid-type]


def _usual_entry(usual: Any) -> Entry:
    reference, fault = _fit_or_fault(usual.reference)
    return Entry(
        reference=reference,
        loan_number=_fit(usual.number) if usual.number else None,
        event_type=_fit(usual.event) if usual.event else None,
        stamp_text=_fit(usual.values.stamp) or None,
        fault=fault,
    )


def _depth(outside_strings: bytes) -> int:
    """How many levels deep a JSON text goes whose strings were taken out."""
    brackets = outside_strings.translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _too_deep(body: bytes) -> int | None:
    """The byte that opens the level below the deepest allowed; asked before anything recurses into the body."""
    if _depth(_STRINGS.sub(b"", body)) <= DEEPEST:
        return None
    level = 0
    for token in _BRACKET_OR_STRING.finditer(body):
        level += _STEP.get(token[0][0], 0)
        if level > DEEPEST:
            return token.start()
    return None


def _json(body: bytes) -> Raw:
    """The body as one JSON value, its entries not yet looked into."""
    try:
        return msgspec.json.decode(body, type=Raw)
    except msgspec.DecodeError as error:
        if any(escape["lone"] for escape in _ESCAPE.finditer(body)):
            # half a surrogate pair is well-formed JSON, and its entry's fault alone
            return _json(_ESCAPE.sub(lambda m: rb"\ufffd" if m["lone"] else m[0], body))
        raise NotJson("not JSON", _position(str(error), len(body))) from None


def _position(message: str, end: int) -> int:
    """The byte that msgspec's message names; it names none for a body that ends too soon."""
    found = _BYTE.search(message)
    if found is None:
        return end
    return int(found[1]) - ("trailing characters" in message)  # there it names the byte behind


def _raw_entries(whole: Raw, keys: WebhookKeys) -> list[Raw]:
    form = _first(whole)
    if form == "[":
        return msgspec.json.decode(whole, type=list[Raw])
    if form != "{":
        raise UnknownForm("neither a list of entries nor an object")
    fields = _fields(whole)
    if fields is None:
        raise UnknownForm("a key that is not UTF-8")
    if _field(fields, keys.reference) is not None:
        return [whole]
    lists = [msgspec.json.decode(raw, type=list[Raw]) for raw in fields.values() if _first(raw) == "["]
    of_objects = [items for items in lists if any(_first(item) == "{" for item in items)]
    if len(of_objects) > 1:
        raise UnknownForm("an object that holds several lists of objects; one of them must be the batch")
    if of_objects:
        return of_objects[0]
    if any(_field(fields, key) is not None for key in (keys.event, keys.number, keys.values)):
        return [whole]
    if lists and not any(lists):
        return []
    raise UnknownForm("an object that neither is an entry nor holds a list of entries")


def _entry(raw: Raw, keys: WebhookKeys) -> Entry:
    if _first(raw) != "{":
        return Entry(reference=None, loan_number=None, event_type=None, stamp_text=None, fault="not an object")
    fields = _fields(raw)
    if fields is None:
        return Entry(
            reference=None, loan_number=None, event_type=None, stamp_text=None, fault="a key that is not UTF-8"
        )
    reference, fault = _reference(_field(fields, keys.reference))
    return Entry(
        reference=reference,
        loan_number=_label(_field(fields, keys.number)),
        event_type=_label(_field(fields, keys.event)),
        stamp_text=_stamp_text(_field(fields, keys.values)),
        fault=fault,
    )


def _reference(raw: Raw | None) -> tuple[str | None, str | None]:
    if raw is None:
        return None, "no reference"
    text = _scalar(raw)
    if text is None or (_first(raw) != '"' and not _WHOLE.fullmatch(text)):
        return None, "a reference that is neither text nor a whole number"
    return _fit_or_fault(text)


def _fit_or_fault(text: str) -> tuple[str | None, str | None]:
    try:
        return fit_reference(text), None
    except ValueError as error:
        return None, str(error)


def _label(raw: Raw | None) -> str | None:
    """A text or number that only describes: cleaned and cut rather than refused."""
    text = None if raw is None else _scalar(raw)
    return _fit(text) if text else None


def _stamp_text(values: Raw | None) -> str | None:
    """The stamp as written, for the one parser to read. What is no text stays there as an unreadable one."""
    fields = _fields(values) if values is not None and _first(values) == "{" else None
    raw = _field(fields, STAMP_KEY) if fields else None
    if raw is None:
        return None
    text = _scalar(raw)
    return "(neither text nor number)" if text is None else _fit(text) or None


def _fit(text: str) -> str:
    """Trimmed, without control characters; a longer one is cut and marked, so that it cannot read as a shorter one."""
    fit = text.strip()
    if not _is_plain(fit):
        fit = _CONTROL.sub("�", fit)
    return fit if len(fit) <= LONGEST else fit[: LONGEST - 1] + "…"


def _is_plain(text: str) -> bool:
    """Whether it is nothing but letters, digits and signs that every keyboard has; asked first, as it is cheap."""
    return text.isascii() and text.isprintable()


def _scalar(raw: Raw) -> str | None:
    """The text of a JSON text, or a JSON number as written; None for anything else."""
    first = _first(raw)
    if first == '"':
        try:
            return msgspec.json.decode(raw, type=str)
        except UnicodeDecodeError:
            return "�"
    return bytes(raw).decode() if first in "-0123456789" else None


def _fields(raw: Raw) -> dict[str, Raw] | None:
    """An object's fields; of a key that is there twice the last. None if a key is not UTF-8."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Raw])
    except UnicodeDecodeError:
        return None


def _field(fields: dict[str, Raw], name: str) -> Raw | None:
    """The field of that name, or else of that name in another letter case; None where it is absent or null."""
    found = fields.get(name)
    if found is None:
        folded = name.casefold()
        found = next((raw for key, raw in fields.items() if key.casefold() == folded), None)
    return None if found is None or _first(found) == "n" else found


def _first(raw: Any) -> str:
    return chr(memoryview(raw)[0])
