"""Signatures that were used: each proves one delivery.

A signature is spent in the transaction that decides its delivery, so that it is not if that fails, and the same
delivery may come again; and it is spent for all receivers. It is kept until it has ended by itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from ..errors import Replayed
from .arrays import arrays, unnested


@dataclass(frozen=True, slots=True)
class Once:
    """What proves one delivery and no other: its digest, and when it has ended by itself."""

    digest: bytes = field(repr=False)
    ends_at: dt.datetime


_COLUMNS = (("digest", "bytea"), ("ends_at", "timestamptz"))

# Those that have ended go with the next that comes; what another transaction takes away is left to it.
_SPEND = f"""
WITH ended AS (
    DELETE FROM spent_signatures WHERE digest IN (
        SELECT digest FROM spent_signatures WHERE ends_at < mlm_now() ORDER BY ends_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO spent_signatures (digest, ends_at) SELECT * FROM {unnested(_COLUMNS)} ORDER BY 1
ON CONFLICT (digest) DO NOTHING
"""  # noqa: S608 - column names of ours


def spend(conn: Connection, signatures: Sequence[Once]) -> None:
    """Spend these.

    Raises:
        Replayed: one was spent before, or is there twice. The transaction is to be rolled back.
    """
    if signatures:
        spent = conn.exec_driver_sql(_SPEND, arrays(_COLUMNS, [(each.digest, each.ends_at) for each in signatures]))
        if spent.rowcount < len(signatures):
            raise Replayed
