"""Announcements on the channel `mlm:files`, and what happens when nobody can hear them."""

from __future__ import annotations

import datetime as dt
import json

import redis
import structlog
from hands import NOWHERE

from freshness.ledger.events import Event
from jobs.announce import announce
from jobs.broker import connect

AT = dt.datetime(2026, 11, 20, 13, 4, 5, 123000, tzinfo=dt.UTC)
EVENTS = [Event(1, "fetching", "R000123", AT), Event(2, "hydrated", "R000123", AT)]


def test_who_listens_hears_each_event_in_order_as_the_contract_has_it(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url).pubsub() as channel:
        channel.subscribe("mlm:files")
        assert channel.get_message(timeout=5)["type"] == "subscribe"

        announce(connect(redis_url), EVENTS)

        heard = [json.loads(channel.get_message(timeout=5)["data"]) for _ in EVENTS]
    assert [(each["kind"], each["ref"]) for each in heard] == [("fetching", "R000123"), ("hydrated", "R000123")]
    assert {frozenset(each) for each in heard} == {frozenset({"kind", "ref", "at"})}
    assert dt.datetime.fromisoformat(heard[0]["at"]) == AT


def test_a_redis_that_is_away_fails_nobody_who_announces() -> None:
    with structlog.testing.capture_logs() as lines:
        announce(connect(NOWHERE, patient=False), EVENTS)

    assert [line["event"] for line in lines] == ["announce.unheard"]
