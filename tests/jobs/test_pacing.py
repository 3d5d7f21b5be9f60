"""Pacing: never more calls under way, never faster, prompt calls first, and no place lost for long."""

from __future__ import annotations

import multiprocessing
import threading
import time
from contextlib import ExitStack

import pytest
import redis
from hands import NOWHERE, PATIENCE_S

from jobs import pacing
from jobs.broker import connect
from jobs.errors import NoPlace, PacingAway, Stopping
from jobs.pacing import Pacer

FAST = 100_000.0  # calls a second: so many that only the places count
MANY = 1_000  # places: so many that only the rate counts
SLOW = 0.01  # calls a second: none falls due while a test runs


def _calls(redis_url: str, limit: int, prompt: bool, count: int) -> None:
    """Make calls that count in Redis how many are under way; `most` keeps the highest count ever seen."""
    client = connect(redis_url)
    pacer = Pacer(client, limit=limit, rate=FAST)
    for _ in range(count):
        with pacer.place(prompt=prompt, deadline_s=60):
            client.zadd("test:most", {"bulk" if not prompt else "prompt": client.incr("test:now")}, gt=True)
            client.incr("test:calls")
            client.decr("test:now")


def _most(client: redis.Redis) -> int:
    return max(int(score) for _, score in client.zrange("test:most", 0, -1, withscores=True))


def test_threads_never_have_more_calls_under_way_than_allowed(redis_url: str) -> None:
    threads = [threading.Thread(target=_calls, args=(redis_url, 3, n % 3 == 0, 40)) for n in range(9)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    client = connect(redis_url)
    assert int(client.get("test:calls") or 0) == 360
    assert _most(client) <= 3


def test_processes_together_never_have_more_calls_under_way_than_allowed(redis_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_calls, args=(redis_url, 1, prompt, 60)) for prompt in (True, False)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)

    client = connect(redis_url)
    assert int(client.get("test:calls") or 0) == 120
    assert _most(client) == 1


def test_calls_begin_no_faster_than_the_rate_and_its_burst(redis_url: str) -> None:
    pacer = Pacer(connect(redis_url), limit=MANY, rate=100)
    begun = []

    def call_for_half_a_second(ends: float) -> None:
        while time.monotonic() < ends:
            with pacer.place(prompt=True, deadline_s=60):
                begun.append(time.monotonic())

    start = time.monotonic()
    threads = [threading.Thread(target=call_for_half_a_second, args=(start + 0.5,)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    assert pacer.burst < len(begun) <= 100 * (max(begun) - start) + pacer.burst


def test_after_a_pause_no_more_than_the_burst_begins_at_once(redis_url: str) -> None:
    pacer = Pacer(connect(redis_url), limit=MANY, rate=SLOW)

    for _ in range(pacer.burst):
        with pacer.place(prompt=True, deadline_s=0):
            pass
    with pytest.raises(NoPlace), pacer.place(prompt=True, deadline_s=0):
        pass


def test_a_call_that_finds_no_place_costs_nothing_of_the_rate(redis_url: str) -> None:
    client = connect(redis_url)
    pacer = Pacer(client, limit=1, rate=SLOW)
    with pacer.place(prompt=True, deadline_s=0):
        due = client.get("mlm:pace:due")
        with pytest.raises(NoPlace), pacer.place(prompt=True, deadline_s=0):
            pass

    assert client.get("mlm:pace:due") == due


def test_a_prompt_call_begins_at_once_when_bulk_calls_have_spent_the_rate(redis_url: str) -> None:
    pacer = Pacer(connect(redis_url), limit=MANY, rate=SLOW)
    for _ in range(pacer.burst - pacer.kept_burst):
        with pacer.place(prompt=False, deadline_s=0):
            pass
    with pytest.raises(NoPlace), pacer.place(prompt=False, deadline_s=0):
        pass

    with pacer.place(prompt=True, deadline_s=0):
        pass


@pytest.mark.parametrize(("limit", "for_bulk"), [(1, 1), (2, 1), (8, 6)])
def test_places_are_kept_for_prompt_calls(redis_url: str, limit: int, for_bulk: int) -> None:
    pacer = Pacer(connect(redis_url), limit=limit, rate=FAST)
    with ExitStack() as held:
        for _ in range(for_bulk):
            held.enter_context(pacer.place(prompt=False, deadline_s=0))
        with pytest.raises(NoPlace), pacer.place(prompt=False, deadline_s=0):
            pass
        for _ in range(limit - for_bulk):
            held.enter_context(pacer.place(prompt=True, deadline_s=0))
        with pytest.raises(NoPlace), pacer.place(prompt=True, deadline_s=0):
            pass


def test_a_prompt_call_that_waits_has_the_next_place(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "PROMPT_WAITS_MS", 60_000)
    pacer = Pacer(connect(redis_url), limit=1, rate=FAST)
    with pacer.place(prompt=False, deadline_s=0), pytest.raises(NoPlace), pacer.place(prompt=True, deadline_s=0):
        pass

    with pytest.raises(NoPlace), pacer.place(prompt=False, deadline_s=0):
        pass
    with pacer.place(prompt=True, deadline_s=0):
        pass
    with pacer.place(prompt=False, deadline_s=0):  # it waits no more
        pass


def test_a_place_comes_free_when_its_call_ends_badly(redis_url: str) -> None:
    pacer = Pacer(connect(redis_url), limit=1, rate=FAST)
    with pytest.raises(ZeroDivisionError), pacer.place(prompt=False, deadline_s=0):
        _ = 1 / 0

    with pacer.place(prompt=False, deadline_s=0):
        pass


def test_a_killed_holders_place_comes_free(redis_url: str) -> None:
    killed = Pacer(connect(redis_url), limit=1, rate=FAST, lease_s=0.05)
    never_left = killed.place(prompt=False, deadline_s=0)
    never_left.__enter__()

    with Pacer(connect(redis_url), limit=1, rate=FAST).place(prompt=False, deadline_s=PATIENCE_S):
        pass


def test_a_refreshed_place_stays_taken(redis_url: str) -> None:
    client = connect(redis_url)
    pacer, other = (Pacer(client, limit=1, rate=FAST) for _ in range(2))
    with pacer.place(prompt=False, deadline_s=0):
        (holder,) = client.zrange("mlm:pace:bulk", 0, -1)
        client.zadd("mlm:pace:bulk", {holder: 1})  # its lease ended long ago
        pacer.refresh()
        with pytest.raises(NoPlace), other.place(prompt=False, deadline_s=0):
            pass


def test_places_count_again_after_redis_forgot_them(redis_url: str) -> None:
    client = connect(redis_url)
    pacer = Pacer(client, limit=2, rate=FAST)
    with pacer.place(prompt=False, deadline_s=0), pacer.place(prompt=True, deadline_s=0):
        client.flushdb()
        pacer.refresh()
        for prompt in (True, False):
            with pytest.raises(NoPlace), pacer.place(prompt=prompt, deadline_s=0):
                pass


def test_a_process_that_stops_waits_no_longer(redis_url: str) -> None:
    stop = threading.Event()
    pacer = Pacer(connect(redis_url), limit=1, rate=FAST, stop=stop)
    threading.Timer(0.05, stop.set).start()
    with pacer.place(prompt=False, deadline_s=0), pytest.raises(Stopping), pacer.place(prompt=False, deadline_s=60):
        pass


def test_no_call_is_made_unpaced_when_redis_is_away() -> None:
    pacer = Pacer(connect(NOWHERE, patient=False), limit=1, rate=FAST)
    with pytest.raises(PacingAway), pacer.place(prompt=True, deadline_s=0):
        pass
    pacer.refresh()
