"""Rebuilding: the subjects of other senders' receipts, each in a transaction of its own, or only looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine

from freshness.errors import NotWhole
from receiver.reception import Reception


def rebuild(
    engine: Engine,
    reception: Reception,
    receipts: Sequence[Mapping[str, Any]],
    *,
    dry_run: bool = False,
    rate: float | None = None,
) -> Iterator[dict[str, Any]]:
    """What became of each subject, in the order of the first receipt of each, at most `rate` of them a second; `why` it
    was not rebuilt.

    `dry_run` rebuilds each and takes it back.
    """
    first = {receipt["subject_id"]: receipt for receipt in reversed(receipts)}
    began = time.monotonic()
    for number, subject_id in enumerate(dict.fromkeys(receipt["subject_id"] for receipt in receipts)):
        if rate is not None:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        receipt = first[subject_id]
        try:
            with engine.connect() as conn, conn.begin() as transaction:
                done = asdict(reception.rebuild(conn, subject_id, receipt["id"]))
                if dry_run:
                    transaction.rollback()
        except NotWhole as error:
            yield {"sender": receipt["sender"], "subject": receipt["subject"], "done": False, "why": str(error)}
        else:
            yield {**done, "done": True, "why": None}
