"""Looking into the queues: what waits, what is for later, who has fetched what, and that nothing is disturbed."""

from __future__ import annotations

import json
import threading
import time

import pytest
import redis
from dramatiq import Message
from hands import NOWHERE, PATIENCE_S, Hands, broker_with
from whole_house import Monitor, until

from freshness.bell import Ring, Work
from freshness.concerns import Concern
from jobs.bell import make_bell
from jobs.broker import Broker, Queue, connect, make_broker
from jobs.inspecting import QueueDepth, inspect
from jobs.worker import WorkerProcess

SLICES = Queue.LOAN_SYNC_ASSOC


@pytest.fixture
def broker(redis_url: str) -> Broker:
    return make_broker(redis_url, name="here:1:a")


def fees(file_id: int, delay_s: float = 0.0) -> Ring:
    return Ring(Work.HYDRATE_CONCERN, file_id, concern=Concern.FEES, delay_s=delay_s)


def depth_of(client: redis.Redis, queue: Queue) -> QueueDepth:
    (found,) = (each for each in inspect(client).queues if each.queue == queue)
    return found


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    return {key: client.dump(key) for key in client.scan_iter()}


def test_every_queue_is_shown_most_urgent_first_though_nothing_waits(broker: Broker) -> None:
    seen = inspect(broker.client)
    assert seen.queues == tuple(QueueDepth(name, 0, 0, 0, 0, None) for name in ("prompt", "loan-sync", str(SLICES)))
    assert seen.fetched == ()


def test_what_waits_and_what_is_for_later_are_counted_by_queue(broker: Broker) -> None:
    make_bell(broker)([fees(1), fees(2), fees(3, delay_s=5), Ring(Work.HYDRATE_FILE, 1)])

    slices, files = depth_of(broker.client, SLICES), depth_of(broker.client, Queue.LOAN_SYNC)
    assert (slices.waiting, slices.delayed, slices.in_flight) == (2, 1, 0)
    assert (files.waiting, files.delayed, files.in_flight) == (1, 0, 0)
    assert depth_of(broker.client, Queue.PROMPT).waiting == 0


def test_what_was_fetched_is_in_flight_with_the_worker_that_has_it(broker: Broker, redis_url: str) -> None:
    make_bell(broker)([*map(fees, range(5)), Ring(Work.CONFIRM, 1)])
    broker.do_fetch("prompt", 1)
    broker.twin().do_fetch(str(SLICES), 2)
    make_broker(redis_url, name="there:2:b").do_fetch(str(SLICES), 1)

    slices = depth_of(broker.client, SLICES)
    assert (slices.waiting, slices.in_flight) == (2, 3)
    fetched = sorted((each.worker, each.queue, each.bells) for each in inspect(broker.client).fetched)
    assert fetched == [("here:1:a", str(SLICES), 2), ("here:1:a", "prompt", 1), ("there:2:b", str(SLICES), 1)]


def test_a_worker_process_is_known_by_its_own_name(redis_url: str) -> None:
    go = threading.Event()
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers(hydrate_concern=lambda *ids: go.wait(PATIENCE_S)))
    broker.broker_id = "here:1:a"
    worker = WorkerProcess(broker)
    worker.start()
    make_bell(broker)([fees(1)])

    (fetched,) = until(lambda: inspect(broker.client).fetched, "the worker has fetched it")
    assert (fetched.worker, fetched.queue, fetched.bells) == ("here:1:a", str(SLICES), 1)
    go.set()
    until(lambda: not inspect(broker.client).fetched, "the worker has answered it")
    worker.end(5)


def test_a_worker_that_is_silent_shows_for_how_long(broker: Broker) -> None:
    make_bell(broker)([fees(1)])
    broker.do_fetch(str(SLICES), 1)
    (seconds, _) = broker.client.time()
    broker.client.zadd("dramatiq:__heartbeats__", {"here:1:a": (seconds - 100) * 1000})

    (fetched,) = inspect(broker.client).fetched
    assert 99 <= fetched.silent_s <= 100 + PATIENCE_S


@pytest.mark.parametrize("options", [{}, {"eta": 1}])
def test_the_oldest_wait_is_that_of_the_queues_head(broker: Broker, options: dict[str, int]) -> None:
    enqueue(broker, ago_s=100, options=options)
    enqueue(broker, ago_s=50)

    wait_s = depth_of(broker.client, SLICES).oldest_wait_s
    assert wait_s is not None
    assert 100 <= wait_s <= 100 + PATIENCE_S


def test_a_wait_for_a_time_that_was_asked_for_is_no_wait(broker: Broker) -> None:
    enqueue(broker, ago_s=100, options={"eta": round(time.time() * 1000) - 10_000})

    wait_s = depth_of(broker.client, SLICES).oldest_wait_s
    assert wait_s is not None
    assert 10 <= wait_s <= 10 + PATIENCE_S


def test_a_bell_that_no_worker_can_answer_is_dead_and_the_others_go_on(redis_url: str) -> None:
    """So a worker of the version before meets a bell of the version to come."""
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    broker.enqueue(Message("prompt", "file.of_tomorrow", (1,), {}, {}))
    make_bell(broker)([Ring(Work.CONFIRM, 7)])
    worker = WorkerProcess(broker)
    worker.start()

    assert hands.next() == ("confirm", 7)
    until(lambda: depth_of(broker.client, Queue.PROMPT) == QueueDepth("prompt", 0, 0, 0, 1, None), "it is dead")
    worker.end(5)


def test_a_look_changes_nothing_and_walks_through_nothing(broker: Broker, redis_url: str) -> None:
    make_bell(broker)([fees(1), fees(2), fees(3, delay_s=5)])
    broker.do_fetch(str(SLICES), 1)
    before = everything(broker.client)
    monitor = Monitor(redis_url)
    inspect(connect(redis_url, patient=False))
    monitor.close()

    used = {command.split()[0].upper() for command in monitor.commands}
    assert {"LLEN", "HLEN", "ZCARD", "LINDEX", "HGET", "SCARD", "ZREVRANGE"} <= used
    assert not used & {"KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "HGETALL", "SMEMBERS", "EVALSHA"}
    assert everything(broker.client) == before


def test_a_redis_that_is_away_is_an_error() -> None:
    with pytest.raises(redis.ConnectionError):
        inspect(connect(NOWHERE, patient=False))


def enqueue(broker: Broker, *, ago_s: float, options: dict[str, int] | None = None) -> None:
    """A bell as it would lie there if it had been rung so many seconds ago."""
    message = Message(str(SLICES), "concern.hydrate", (1, "fees"), {}, options or {})
    then = json.loads(message.encode()) | {"message_timestamp": round((time.time() - ago_s) * 1000)}
    broker.do_enqueue(str(SLICES), message.message_id, json.dumps(then).encode())
