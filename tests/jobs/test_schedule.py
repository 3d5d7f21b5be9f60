"""The clock and the reaper."""

from __future__ import annotations

import queue

import pytest
import sqlalchemy as sa
from hands import PATIENCE_S

from freshness.bell import Ring, Work
from freshness.ledger import claims
from jobs.bell import make_bell
from jobs.broker import make_broker
from jobs.schedule import Reaper, Tick, make_schedule


def test_each_tick_runs_at_once_and_again_even_after_it_raised() -> None:
    called: queue.Queue[str] = queue.Queue()

    def raises() -> None:
        called.put("raises")
        raise OSError

    schedule = make_schedule({"raises": Tick(0.05, raises), "once a day": Tick(86_400, lambda: called.put("day"))})
    schedule.start()

    heard = [called.get(timeout=PATIENCE_S) for _ in range(4)]
    schedule.shutdown()
    assert heard.count("day") == 1


@pytest.mark.parametrize(
    ("now", "week"),
    [
        ("2026-11-20T12:00:00+00:00", "2026-W47"),
        ("2027-01-03T23:59:59+00:00", "2026-W53"),
        ("2027-01-03T18:00:00-08:00", "2027-W01"),
    ],
)
def test_a_weekly_period_is_the_iso_week_in_utc(engine: sa.Engine, now: str, week: str) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": now})
        assert claims.this_week(conn) == week


def test_a_period_is_claimed_once_and_a_rollback_leaves_it_to_others(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        assert claims.claim(conn, "job", "2026-W47")
        conn.rollback()
    with engine.begin() as conn:
        assert not claims.is_claimed(conn, "job", "2026-W47")
        assert claims.claim(conn, "job", "2026-W47")
    with engine.begin() as conn:
        assert not claims.claim(conn, "job", "2026-W47")


def test_the_reaper_hands_back_what_the_dead_had_fetched_and_nothing_of_the_living(redis_url: str) -> None:
    dead, living = make_broker(redis_url), make_broker(redis_url)
    bell = make_bell(living)
    bell([Ring(Work.CONFIRM, 1), Ring(Work.CONFIRM, 2), Ring(Work.CONFIRM, 3, delay_s=5)])
    dead.do_fetch("prompt", 1)
    dead.do_fetch("prompt.DQ", 1)
    living.do_fetch("prompt", 1)
    living.client.zadd("dramatiq:__heartbeats__", {dead.broker_id: 1})

    Reaper(redis_url).tick()

    assert living.client.llen("dramatiq:prompt") == 1
    assert living.client.llen("dramatiq:prompt.DQ") == 1
    assert living.client.scard(f"dramatiq:__acks__.{living.broker_id}.prompt") == 1
    assert living.client.zscore("dramatiq:__heartbeats__", dead.broker_id) is None
