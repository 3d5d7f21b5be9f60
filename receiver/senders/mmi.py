"""MMI: loan officers, lenders, agents, listing alerts. One object a delivery; retried on anything but 2xx."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from freshness import stamp
from freshness.sending import instant_key
from freshness.settings import Settings
from hydrators.senders.mmi import MmiHydrator, subject_of

from .proofs import Signature
from .sender import Key, Piece, Sender, Unusable

_KINDS = {"mortgage": "loan_officer", "lender": "lender", "real estate": "agent"}


def mmi(settings: Settings) -> Sender:
    """MMI signs the body; `timestamp` orders, in whole seconds of `MMI_ZONE`. Listing alerts have no order."""

    def order(piece: Piece, at: dt.datetime) -> Key | None:
        said = piece.payload.get("timestamp")
        if piece.kind == "listing_alert" or not isinstance(said, str):
            return None
        read = stamp.parse(said, settings.mmi_zone, at)
        return (instant_key(read.instant), said[: stamp.LONGEST_TEXT]) if isinstance(read, stamp.Stamp) else None

    signature = Signature(
        settings.mmi_signature_header,
        settings.mmi_secret,
        settings.mmi_signature_algorithm,
        settings.mmi_signature_encoding,
    )
    proof = signature if settings.mmi_secret else None
    return Sender("mmi", proof, _pieces, MmiHydrator(), order)


def _pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
    named = said.get("type")
    event = named if isinstance(named, str) else None
    if "listing_id" in said:
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
