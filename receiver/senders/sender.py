"""What a sender is: a short declaration, and how a body becomes entries by it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.routing import Route

from freshness.field_keys import FieldKeys
from freshness.sending import Sent, content_of
from hydrators.senders.hydrator import Hydrator
from hydrators.senders.said import fit

from ..decoding import MOST_ENTRIES, as_json
from ..errors import NotJson, TooMuch, UnknownForm
from .proofs import Proof

#: A key and the text it was read from.
Key = tuple[str, str]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_EVENT = 100
_LONG_NUMBER = re.compile(rb"\d{18}")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Unusable(ValueError):
    """An entry that cannot be used; says why, and quotes nothing of it."""


@dataclass(frozen=True)
class Piece:
    """What one entry is about, and what of the payload is its own. `supported` is False where nothing of ours is;
    with a `fault` it cannot be used, and others beside it can. `formerly`: names that older keys gave the subject."""

    event: str | None
    kind: str = ""
    subject: str = ""
    payload: Any = field(default=None, repr=False)
    loan_number: str | None = None
    begins: bool = False
    follows: bool = False
    supported: bool = True
    fault: str | None = None
    formerly: tuple[str, ...] = ()


def _unordered(piece: Piece, at: dt.datetime) -> Key | None:
    return None


def _whole(piece: Piece) -> Any:
    return piece.payload


@dataclass(frozen=True)
class Sender:
    """One system that sends us what has changed.

    `proof`: how it proves itself; None: it is not configured, and its route answers 404 · `pieces`: how one JSON object
    becomes entries; raises `Unusable` · `order`: what orders two entries of one subject, at the time of receipt; None:
    nothing does · `same`: what makes two entries the same · `hydrator`: what they become · `spooled`: what it is
    answered for a body that waits on the disk · `routes`: what else it needs of us.
    """

    name: str
    proof: Proof | None
    pieces: Callable[[Mapping[str, Any]], Sequence[Piece]]
    hydrator: Hydrator
    order: Callable[[Piece, dt.datetime], Key | None] = _unordered
    same: Callable[[Piece], Any] = _whole
    spooled: HTTPStatus = HTTPStatus.ACCEPTED
    routes: tuple[Route, ...] = ()

    @property
    def path(self) -> str:
        """Where it delivers to."""
        return f"/api/v1/senders/{self.name}/webhook"

    def entries(self, body: bytes, at: dt.datetime, keys: FieldKeys) -> list[Sent]:
        """All entries of a body that was received then: one JSON object, or a list of such. `keys` make the digests of
        what they say.

        Raises:
            BodyFault: it is no JSON, of no known form, or more than we take.
        """
        try:
            said = _decoder.decode(as_json(body))
            if _LONG_NUMBER.search(body):
                said = _without_long_numbers(said)
        except UnicodeDecodeError:
            raise NotJson("a text that is not UTF-8", _not_utf8(body)) from None
        except (msgspec.DecodeError, ValueError):  # Python's own limit, of 4,300 digits
            raise UnknownForm("a whole number that is longer than any") from None
        if not isinstance(said, (dict, list)):
            raise UnknownForm("neither an object nor a list of objects")
        found = [sent for each in (said if isinstance(said, list) else [said]) for sent in self._of(each, at, keys)]
        if len(found) > MOST_ENTRIES:
            raise TooMuch(f"a body of {len(found)} entries; at most {MOST_ENTRIES} are taken")
        return found

    def _of(self, said: Any, at: dt.datetime, keys: FieldKeys) -> list[Sent]:
        if not isinstance(said, dict):
            return [Sent(self.name, None, fault="not an object")]
        try:
            return [self._sent(piece, at, keys) for piece in self.pieces(said)]
        except Unusable as error:
            return [Sent(self.name, None, fault=str(error))]

    def _sent(self, piece: Piece, at: dt.datetime, keys: FieldKeys) -> Sent:
        event = None if piece.event is None else _plain(piece.event)[:_LONGEST_EVENT]
        if piece.fault is not None or not piece.supported:
            return Sent(self.name, event, fault=piece.fault, unsupported=not piece.supported)
        key, key_text = map(fit, self.order(piece, at) or (None, None))
        return Sent(
            self.name,
            event,
            piece.kind,
            _plain(piece.subject),
            key,
            key_text,
            content_of(self.same(piece), keys),
            piece.formerly,
            piece.payload,
            piece.loan_number,
            piece.begins,
            piece.follows,
        )


def _not_utf8(body: bytes) -> int | None:
    """The byte at which a body stops being UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _plain(said: str) -> str:
    return said if said.isascii() and said.isprintable() else _CONTROL.sub("�", said)


def _without_long_numbers(value: Any) -> Any:
    """The same JSON value, whole numbers of more than 64 bits as decimals: nothing else takes them everywhere."""
    if isinstance(value, dict):
        return {key: _without_long_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_long_numbers(each) for each in value]
    return Decimal(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value
