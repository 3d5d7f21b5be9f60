"""ShowMojo: leads and showings. One event a delivery, in any order, sent hourly for 48 hours until it meets a 200."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from freshness.field_keys import FieldKeys
from freshness.sending import number_key
from freshness.settings import Settings
from hydrators.senders.showmojo import ShowmojoHydrator, lead_keys, uid_of

from .proofs import Bearer
from .sender import Key, Piece, Sender, Unusable

#: An id of so many characters is compared whole; of its text a receipt shows so much.
_LONGEST, _SHOWN = 1000, 100

_HTTPS_ONLY = "; ShowMojo sends its own to HTTPS addresses only: see that the endpoint's URL begins with https"


def showmojo(settings: Settings) -> Sender:
    """ShowMojo sends a bearer; `event.id` orders. Only 200 counts as success there, also for what waits on the disk."""
    keys = FieldKeys(settings.field_keys) if settings.field_keys else None

    def pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
        event = said.get("event")
        if not isinstance(event, dict):
            raise Unusable("no event")
        action = event.get("action")
        name = action if isinstance(action, str) else None
        found = event.get("showing")
        showing = found if isinstance(found, dict) else {}
        if uid := uid_of(showing):
            return [Piece(name, "showing", uid, said)]
        if keys is not None and (leads := lead_keys(showing, keys)):
            return [Piece(name, "lead", leads[0], said, formerly=leads[1:])]
        raise Unusable("neither a showing nor a lead's contact is named")

    proof = Bearer(settings.showmojo_token, _HTTPS_ONLY) if settings.showmojo_token else None
    return Sender("showmojo", proof, pieces, ShowmojoHydrator(), _order, spooled=HTTPStatus.OK)


def _order(piece: Piece, at: dt.datetime) -> Key | None:
    """By `event.id`, a text or a number of any size. Raises `Unusable` for one that is too long to be compared."""
    said = piece.payload["event"].get("id")
    if isinstance(said, Decimal) and abs(said.adjusted()) < _LONGEST and said == said.to_integral_value():
        said = int(said)
    text = str(said).strip() if isinstance(said, (str, int, Decimal)) and not isinstance(said, bool) else ""
    if len(text) > _LONGEST:
        raise Unusable(f"an event's id of more than {_LONGEST} characters")
    return (number_key(text), text[:_SHOWN]) if text else None
