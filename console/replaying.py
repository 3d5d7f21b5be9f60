"""Replaying: receipts' entries decided once more, a page at a time, or only looked at."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine

from freshness.bell import Bell
from freshness.ledger import replays
from freshness.ledger.replays import Replayed
from freshness.rules import Rules

#: Entries decided in one transaction, which holds their files' locks.
PAGE = 200


def replay(
    engine: Engine,
    rules: Rules,
    bell: Bell,
    old: Sequence[Mapping[str, Any]],
    *,
    force: bool = False,
    dry_run: bool = False,
    page: int = PAGE,
    rate: float | None = None,
) -> Iterator[Replayed]:
    """What becomes of each entry, page by page, in the order of these receipts, at most `rate` of them a second; rings
    after each page.

    `dry_run` decides each page and takes it back: a page is shown as if none before it had been replayed, and without
    the numbers that it would have got.
    """
    page = page if rate is None else max(1, min(page, int(rate)))
    began = time.monotonic()
    for start in range(0, len(old), page):
        if rate is not None:
            time.sleep(max(0.0, began + start / rate - time.monotonic()))
        with engine.connect() as conn, conn.begin() as transaction:
            done, rings = replays.replay(conn, rules, old[start : start + page], force=force)
            if dry_run:
                transaction.rollback()
        if dry_run:
            done = [replace(each, id=None, order_number=None) for each in done]
        else:
            bell(rings)
        yield from done
