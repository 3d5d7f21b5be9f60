"""The worker process: prompt jobs first, a clean end, and an end at all when Redis is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
import worker_child
from forked import Forked
from hands import PATIENCE_S, Hands, broker_with

from console.embedded import embedded
from freshness.bell import Ring, Work
from freshness.concerns import Concern
from jobs.bell import make_bell
from jobs.broker import connect, make_broker
from jobs.schedule import Reaper
from jobs.worker import WorkerProcess

Spawn = Callable[..., Forked]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts worker processes, and kills those that still run at the end."""
    started: list[Forked] = []

    def start(redis_url: str, log: Path | None = None) -> Forked:
        started.append(Forked(worker_child.main, redis_url, env=os.environ, out=log))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _fees(file_id: int) -> Ring:
    return Ring(Work.HYDRATE_CONCERN, file_id, concern=Concern.FEES)


def _until(true: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.005)


def _patient(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, socket_timeout=None)


def test_a_prompt_job_runs_while_slices_wait_and_keep_every_other_thread_busy(redis_url: str) -> None:
    go = threading.Event()
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers(hydrate_concern=lambda *ids: go.wait(PATIENCE_S)))
    worker = WorkerProcess(broker, bulk_threads=2)
    worker.start()
    bell = make_bell(broker)
    bell([_fees(file_id) for file_id in range(200)])
    _until(lambda: broker.client.llen("dramatiq:loan-sync-assoc") == 198)

    bell([Ring(Work.CAPTURE, 7, own_write_id=70)])

    assert hands.next() == ("capture", 7, 70)
    worker.stop.set()
    go.set()
    worker.end(5)


def test_a_worker_without_threads_for_slices_leaves_them_to_others(redis_url: str) -> None:
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    worker = WorkerProcess(broker, bulk_threads=0)
    worker.start()

    make_bell(broker)([_fees(1), Ring(Work.CAPTURE, 7, own_write_id=70)])

    assert hands.next() == ("capture", 7, 70)
    assert broker.client.llen("dramatiq:loan-sync-assoc") == 1
    worker.end(5)


def test_a_worker_without_threads_for_captures_leaves_them_to_others(redis_url: str) -> None:
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    worker = WorkerProcess(broker, prompt_threads=0)
    worker.start()

    make_bell(broker)([Ring(Work.CAPTURE, 7, own_write_id=70), _fees(1)])

    assert hands.next()[:2] == ("hydrate_concern", 1)
    assert broker.client.llen("dramatiq:prompt") == 1
    worker.end(5)


def test_a_file_is_fanned_out_before_the_slices_that_wait(redis_url: str) -> None:
    go = threading.Event()
    hands = Hands()

    def hydrate_concern(file_id: int, concern: Concern) -> None:
        hands.calls.put(("hydrate_concern", file_id))
        go.wait(PATIENCE_S)

    broker = broker_with(redis_url, hands.handlers(hydrate_concern=hydrate_concern))
    worker = WorkerProcess(broker, bulk_threads=1)
    worker.start()
    bell = make_bell(broker)
    bell([_fees(1), _fees(2)])
    assert hands.next() == ("hydrate_concern", 1)
    bell([Ring(Work.HYDRATE_FILE, 9)])
    _until(lambda: broker.client.scard(f"dramatiq:__acks__.{_fetcher(broker.client)}.loan-sync") == 1)

    go.set()

    assert [hands.next(), hands.next()] == [("hydrate_file", 9), ("hydrate_concern", 2)]
    worker.end(5)


def _fetcher(client: redis.Redis) -> str:
    (key,) = client.keys("dramatiq:__acks__.*.loan-sync-assoc")
    return key.decode().removeprefix("dramatiq:__acks__.").removesuffix(".loan-sync-assoc")


def test_no_more_is_fetched_of_a_queue_than_there_are_threads(redis_url: str) -> None:
    """The rest is for other processes."""
    go = threading.Event()
    broker = broker_with(redis_url, Hands().handlers(hydrate_concern=lambda *ids: go.wait(PATIENCE_S)))
    worker = WorkerProcess(broker, bulk_threads=3)
    worker.start()

    make_bell(broker)([_fees(file_id) for file_id in range(20)])
    _until(lambda: broker.client.llen("dramatiq:loan-sync-assoc") <= 17)
    other = make_broker(redis_url)
    assert len(other.do_fetch("loan-sync-assoc", 100)) == 20 - 3
    go.set()
    worker.end(5)


def test_a_ring_with_a_delay_runs_when_it_is_due_and_not_before(redis_url: str) -> None:
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    worker = WorkerProcess(broker)
    worker.start()

    rung = time.time()
    make_bell(broker)([Ring(Work.CONFIRM, 7, delay_s=0.3), Ring(Work.CONFIRM, 8)])

    assert hands.next() == ("confirm", 8)
    assert hands.next() == ("confirm", 7)
    assert time.time() - rung >= 0.29  # dramatiq counts in whole milliseconds
    worker.end(5)


def test_a_worker_hears_again_after_its_subscription_broke(redis_url: str) -> None:
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    worker = WorkerProcess(broker)
    worker.start()
    _until(lambda: broker.client.pubsub_numsub("mlm:work")[0][1] == 1)

    broker.client.client_kill_filter(_type="pubsub")
    _until(lambda: broker.client.pubsub_numsub("mlm:work")[0][1] == 1)
    make_bell(broker)([Ring(Work.CONFIRM, 7)])

    assert hands.next() == ("confirm", 7)
    worker.end(5)


def test_a_tick_that_raises_is_not_the_last(redis_url: str) -> None:
    ticks = []
    twice = threading.Event()

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 2:
            twice.set()
        raise OSError

    worker = WorkerProcess(broker_with(redis_url, Hands().handlers()), on_tick=tick)
    worker.start()

    assert twice.wait(PATIENCE_S)
    worker.end(5)


def test_sigterm_lets_running_jobs_finish_and_hands_the_others_back(redis_url: str, spawn: Spawn) -> None:
    client = _patient(redis_url)
    worker = spawn(redis_url)
    make_bell(make_broker(redis_url))([Ring(Work.CONFIRM, file_id) for file_id in range(5)])
    for _ in range(2):
        assert client.blpop(["test:began"], timeout=PATIENCE_S)

    worker.send_signal(signal.SIGTERM)
    assert client.blpop(["test:stopping"], timeout=PATIENCE_S)
    client.rpush("test:go", "go", "go", "go")

    assert worker.wait(PATIENCE_S) == 0
    assert client.llen("test:done") == 2
    assert client.llen("dramatiq:prompt") == 3
    assert client.hlen("dramatiq:prompt.msgs") == 3


def test_a_second_sigterm_ends_at_once(redis_url: str, spawn: Spawn) -> None:
    client = _patient(redis_url)
    worker = spawn(redis_url)
    make_bell(make_broker(redis_url))([Ring(Work.CONFIRM, 1)])
    assert client.blpop(["test:began"], timeout=PATIENCE_S)

    worker.send_signal(signal.SIGTERM)
    assert client.blpop(["test:stopping"], timeout=PATIENCE_S)
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(PATIENCE_S) == 128 + signal.SIGTERM
    assert client.llen("test:done") == 0


def test_a_killed_workers_message_is_handed_back_and_runs_elsewhere(redis_url: str, spawn: Spawn) -> None:
    client = _patient(redis_url)
    worker = spawn(redis_url)
    make_bell(make_broker(redis_url))([Ring(Work.CONFIRM, 1)])
    assert client.blpop(["test:began"], timeout=PATIENCE_S)
    worker.kill()
    worker.wait()

    for broker_id in client.zrange("dramatiq:__heartbeats__", 0, -1):
        client.zadd("dramatiq:__heartbeats__", {broker_id: 1})  # long silent
    spawn(redis_url)
    Reaper(redis_url).tick()

    assert client.blpop(["test:began"], timeout=PATIENCE_S) == (b"test:began", b"1")


def test_a_worker_that_lost_redis_exits_to_be_started_again(spawn: Spawn) -> None:
    with embedded(durable=False, database_url="postgresql://unused", redis_url=None) as servers:
        worker = spawn(servers.redis_url)
        _until(lambda: connect(servers.redis_url).pubsub_numsub("mlm:work")[0][1] == 1)

    assert worker.wait(30) == 1


def test_a_worker_that_finds_no_redis_begins_when_it_comes(spawn: Spawn, tmp_path: Path) -> None:
    """It need not be started again, which whoever does so puts off longer each time."""
    with embedded(durable=False, database_url="postgresql://unused", redis_url=None) as servers:
        assert servers.valkey is not None
        servers.valkey.stop()
        worker, log = spawn(servers.redis_url, tmp_path / "log"), tmp_path / "log"
        _until(lambda: log.exists() and b"worker.waits_for_redis" in log.read_bytes())

        servers.valkey.start()
        make_bell(make_broker(servers.redis_url))([Ring(Work.CONFIRM, 1)])

        assert _patient(servers.redis_url).blpop(["test:began"], timeout=PATIENCE_S)
        worker.kill()
        worker.wait()
