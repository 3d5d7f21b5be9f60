"""Files that are fresh, and the changes that webhooks tell of them: half of them news, half of them held already."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator

from freshness.concerns import ALL
from freshness.ledger.batches import Entry

#: What every file holds when a round begins. Stamps are a second apart: the resolution in force is one.
HELD = dt.datetime(2026, 1, 5, 12, 0, 0, tzinfo=dt.UTC)

LOANS = """
INSERT INTO loans (mlm_reference_number, mlm_loan_number, mlm_last_modified_at, is_hydrated, hydrated_at)
SELECT 'R' || lpad(n::text, 6, '0'), '2026' || lpad(n::text, 6, '0'), %(held)s, true, %(held)s
FROM generate_series(1, %(files)s) n
"""
THEIR_NUMBERS = """
UPDATE file_freshness SET ordered = 1, served = 1, mark = %(held)s, wanted = %(held)s, unconfirmed_since = NULL,
       confirm_at = NULL
"""
THEIR_CONCERNS = """
INSERT INTO file_concerns (file_id, concern, held, served, landed, landed_at)
SELECT f.id, c, %(held)s, f.ordered, f.ordered, %(held)s FROM file_freshness f CROSS JOIN unnest(%(concerns)s::text[]) c
"""
RECEIPT_WEEKS = "SELECT mlm_make_receipt_weeks(current_date, 2)"
CALIBRATED = "UPDATE stamp_calibration SET alike_at = mlm_now()"

# What was ordered is not any more, with its order and its receipt: nine times fewer rows than if it were served.
FRESH_AGAIN = "UPDATE file_freshness SET ordered = served, wanted = %(held)s WHERE served < ordered"
FORGET = "TRUNCATE mlm_webhook_receipts, refresh_orders"
RECEIVED = "SELECT outcome, reason, count(*) FROM mlm_webhook_receipts GROUP BY 1, 2"
ORDERED = "SELECT count(*) FROM refresh_orders"

ACTIVE = [concern.value for concern in ALL]


def changes(files: int, seed: int = 1) -> Iterator[tuple[int, dt.datetime]]:
    """Without end: a file's number, and the stamp that it is said to bear. Every other one is newer than all before.

    The files come in one shuffled order again and again, so that no two batches that are under way at once name the
    same; one that was newer is held the next time.
    """
    order = list(range(1, files + 1))
    random.Random(seed).shuffle(order)
    turn = 0
    while True:
        turn += 1
        for place, number in enumerate(order):
            yield number, HELD + dt.timedelta(seconds=turn) if (place + turn) % 2 else HELD


def text(number: int, stamp: dt.datetime) -> str:
    """The entry as MLM writes it."""
    return (
        f'{{"eventType":"Modified","loanNumber":"2026{number:06d}","referenceNumber":"R{number:06d}",'
        f'"values":{{"sLastModifiedTimestamp":"{_written(stamp)}"}}}}'
    )


def entry(number: int, stamp: dt.datetime) -> Entry:
    """The entry as the receiver has decoded it."""
    return Entry(f"R{number:06d}", f"2026{number:06d}", "Modified", _written(stamp))


def _written(stamp: dt.datetime) -> str:
    return f"{stamp:%Y-%m-%dT%H:%M:%S}Z"
