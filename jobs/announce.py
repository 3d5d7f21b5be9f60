"""Announcements on Redis: what the ledger wrote down as events, said aloud on the channel `mlm:files`.

The rows are what counts: a follower reads those, and takes the channel for a doorbell.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import redis
import structlog

from freshness.ledger.events import Event

log = structlog.get_logger(__name__)

#: Each message is `{"kind","ref","at"}` in JSON (the contract), `at` ISO 8601 in UTC.
CHANNEL = "mlm:files"


def announce(client: redis.Redis, events: Sequence[Event]) -> None:
    """Say these events in their order, in one round trip. Never raises: nobody need be listening."""
    if not events:
        return
    try:
        with client.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.publish(CHANNEL, _json(event))
            pipe.execute()
    except redis.RedisError as error:
        log.warning("announce.unheard", events=len(events), error=type(error).__name__)


def _json(event: Event) -> str:
    return json.dumps({"kind": event.kind, "ref": event.ref, "at": event.at.isoformat()})
