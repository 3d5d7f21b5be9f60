"""What a hydrator of a sender is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Applied, Landed


class Hydrator(Protocol):
    """Turns what was applied into rows."""

    def land(self, conn: Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        """Land these entries as if one after the other; one answer each. Never an error for what a payload says."""

    def clear(self, conn: Connection, kind: str, subject: str) -> None:
        """Bring the rows of one subject back to where its first entry met them, for a rebuild."""
