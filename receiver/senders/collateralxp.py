"""CollateralXP: appraisal orders. One event a delivery; a payout speaks of every order in its transfers.

Its events have no order that holds for all of them: what an event does to its order is the hydrator's to say, and one
that comes too late is kept. CollateralXP warns of notes that go in circles between systems: nothing of ours answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from freshness.settings import Settings
from hydrators.senders.collateralxp import CollateralxpHydrator
from hydrators.senders.said import label, mapping

from .proofs import AllOf, Bearer, Proof, UrlSecret
from .sender import Piece, Sender, Unusable


def collateralxp(settings: Settings) -> Sender:
    """CollateralXP bears a secret in its URL, a bearer, or both: all that are configured."""
    found: list[Proof] = []
    if settings.collateralxp_url_secret:
        found.append(UrlSecret(settings.collateralxp_url_secret))
    if settings.collateralxp_token:
        found.append(Bearer(settings.collateralxp_token))
    proof = AllOf(tuple(found)) if found else None
    return Sender("collateralxp", proof, _pieces, CollateralxpHydrator())


def _pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
    event, data = said.get("event"), said.get("data")
    if not isinstance(event, str) or not event.strip():
        raise Unusable("no event is named")
    if not isinstance(data, dict):
        raise Unusable("no data")
    transfers = data.get("transfers")
    if isinstance(transfers, list) and transfers:
        return [_of_order(event, {**said, "transfer": place}, mapping(each)) for place, each in enumerate(transfers)]
    return [_of_order(event, said, data)]


def _of_order(event: str, payload: Mapping[str, Any], names: Mapping[str, Any]) -> Piece:
    """What names no order is kept by its event."""
    order_id, number = _label(names.get("order_id")), _label(names.get("loan_number"))
    if order_id is None:
        return Piece(event, "unnamed", event.strip()[:100], payload)
    return Piece(event, "order", order_id, payload, number)


def _label(value: Any) -> str | None:
    try:
        return None if value is None else label(value)
    except ValueError:
        return None
