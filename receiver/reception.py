"""The reception: what all senders other than MLM share, from a proved body to its commit.

A body is decoded by its sender's declaration, decided, landed, and kept sealed; what waits in the spool, or is
replayed, comes this way again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger import rebuilds, sendings
from freshness.ledger.body_keys import BodyKeys
from freshness.ledger.rebuilds import Rebuilt
from freshness.ledger.sendings import Applied, Delivery, Landed, Received
from freshness.ledger.spent import Once
from freshness.sending import Sent
from freshness.settings import Settings

from .senders import SENDERS
from .senders.sender import Sender


def reception_of(settings: Settings) -> Reception:
    """The reception as these settings have it.

    Raises:
        SettingError: FIELD_KEYS is not set.
    """
    settings.need("FIELD_KEYS")
    return Reception([declare(settings) for declare in SENDERS], FieldKeys(settings.field_keys))


class Reception:
    """The senders that there are, and the keys that bodies are sealed with."""

    def __init__(self, senders: Sequence[Sender], keys: FieldKeys) -> None:
        self._senders = {sender.name: sender for sender in senders}
        self._keys = keys
        self._body_keys = BodyKeys(keys)

    def opened(self, name: str, body: bytes, at: dt.datetime, once: Once | None = None) -> Delivery:
        """A body of this sender's as a delivery, received then; `once` has proved it, and proves nothing else.

        Raises:
            BodyFault: it cannot be one.
        """
        entries = self._senders[name].entries(body, at, self._keys)
        return Delivery(name, body.decode(), entries, at, once)

    def sealed(self, delivery: Delivery) -> bytes:
        """A delivery's body for the spool, where no week's key can be had."""
        return self._keys.seal(delivery.body)

    def reopened(self, name: str, sealed: bytes, at: dt.datetime, once: Once | None = None) -> Delivery:
        """A delivery that was sealed for the spool.

        Raises:
            FieldKeyError: none of our keys opens it.
        """
        body = self._keys.open(sealed)
        return Delivery(name, body, self._entries(name, body, at), at, once)

    def receive(self, conn: Connection, deliveries: Sequence[Delivery]) -> Received:
        """Decide these deliveries and land what they say, in the caller's transaction.

        Raises:
            Replayed: what proves one of them has proved another before.
        """
        return sendings.receive(conn, deliveries, self._hydrate, self._entries, self._body_keys)

    def rebuild(self, conn: Connection, subject_id: int, replay_of: int | None = None) -> Rebuilt:
        """Land a subject's whole history once more; its receipt names the one that was asked for.

        Raises:
            NotWhole: part of it is not there any more; nothing is changed.
        """
        return rebuilds.rebuild(conn, subject_id, self._clear, self._hydrate, self._entries, self._body_keys, replay_of)

    def _entries(self, name: str, body: str, at: dt.datetime) -> Sequence[Sent]:
        return self._senders[name].entries(body.encode(), at, self._keys)

    def _hydrate(self, conn: Connection, applied: Sequence[Applied]) -> Sequence[Landed]:
        """Each sender's hydrator on its own entries; senders in one order, so that no two transactions cross."""
        landed: dict[int, Landed] = {}
        for name in sorted({each.sent.sender for each in applied}):
            places = [place for place, each in enumerate(applied) if each.sent.sender == name]
            own = self._senders[name].hydrator.land(conn, self._keys, [applied[place] for place in places])
            landed.update(zip(places, own, strict=True))
        return [landed[place] for place in range(len(applied))]

    def _clear(self, conn: Connection, name: str, kind: str, subject: str) -> None:
        self._senders[name].hydrator.clear(conn, kind, subject)
