"""The rule that was asked for at first, in our rule's place: one high-water mark a file, older stamps are skipped.

What stands behind our guard it has nothing of: a read serves whatever it shows, nothing is confirmed, and nobody asks
whether the portal wrote while a slice read. It loses changes; the simulation must find that out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from freshness import confirming, guard, settling
from freshness.confirming import Confirmation
from freshness.guard import Decision, Outcome
from freshness.ledger import batches, commits, own_writes
from freshness.settling import Settlement

_ours = batches._decide


def _decide(entry: Any, file: Any, t: dt.datetime | None, calibrated: bool) -> Decision:
    ours = _ours(entry, file, t, calibrated)
    if file is None or t is None or entry.event_type not in ("Modified", "Created"):
        return ours
    if guard.at_most(t, file.mark):
        return Decision(Outcome.HELD, "not newer than the mark")
    return Decision(Outcome.DISPATCHED, guard.NEWER, orders=True, wanted=t)


@contextmanager
def in_force() -> Iterator[None]:
    """For as long as the block runs, in this process."""
    with ExitStack() as stack:
        for module, name, rule in (
            (batches, "_decide", _decide),
            (settling, "settle", lambda *terms, **more: Settlement(serves=True)),
            (confirming, "confirm", lambda *terms, **more: Confirmation()),
            (commits, "_WRITE", commits._WRITE.replace(own_writes.EXITED_SINCE, "false")),
        ):
            stack.enter_context(patch.object(module, name, rule))
        yield
