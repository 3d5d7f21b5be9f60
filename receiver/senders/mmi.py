"""MMI: loan officers, lenders, agents, listing alerts. One object a delivery; retried on anything but 2xx."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from freshness import stamp
from freshness.sending import instant_key
from freshness.settings import Settings
from hydrators.senders.mmi import MmiHydrator, subject_of

from .proofs import Signature
from .sender import Key, Piece, Sender, Unusable

_UTC, _LATEST = ZoneInfo("UTC"), dt.datetime.max.replace(tzinfo=dt.UTC)
_KINDS = {"mortgage": "loan_officer", "lender": "lender", "real estate": "agent"}


def mmi(settings: Settings) -> Sender:
    """MMI signs the body; `timestamp` orders, in whole seconds of `MMI_ZONE`. Listing alerts have no order."""

    def order(piece: Piece, at: dt.datetime) -> Key | None:
        said = piece.payload.get("timestamp")
        if piece.kind == "listing_alert" or not isinstance(said, str):
            return None
        instant = _instant(said, settings.mmi_zone, at)
        return None if instant is None else (instant_key(instant), said.strip()[: stamp.LONGEST_TEXT])

    signature = Signature(
        settings.mmi_signature_header,
        settings.mmi_secret,
        settings.mmi_signature_algorithm,
        settings.mmi_signature_encoding,
    )
    proof = signature if settings.mmi_secret else None
    return Sender("mmi", proof, _pieces, MmiHydrator(), order)


def _instant(said: str, zone: ZoneInfo, at: dt.datetime) -> dt.datetime | None:
    """What a timestamp means; None if it is none. In the hour that the zone repeats it is the earlier of the two, and
    the hour that the zone skips is moved forward: an entry must have its place, though it may be an hour off.

    Raises:
        Unusable: it is more than a day ahead of our clock, and would silence its subject until then.
    """
    read = stamp.parse(said, zone, at)
    if isinstance(read, stamp.Stamp):
        return read.instant
    on_the_wall = stamp.parse(said, _UTC, _LATEST)
    if not isinstance(on_the_wall, stamp.Stamp):
        return None
    instant = on_the_wall.instant.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    if max(instant, on_the_wall.instant) - at > stamp.AHEAD_LIMIT:
        raise Unusable("a timestamp more than a day ahead of our clock")
    return instant


def _pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
    named = said.get("type")
    event = named if isinstance(named, str) else None
    if said.get("listing_id") is not None:
        event, kind = "Listing Alert", "listing_alert"
    else:
        kind = _KINDS.get(" ".join((event or "").lower().split()), "")
    if not kind:
        return [Piece(event, supported=False)]
    try:
        subject = subject_of(kind, said)
    except ValueError:
        raise Unusable(f"a {kind.replace('_', ' ')} without its id") from None
    return [Piece(event, kind, subject, said)]
