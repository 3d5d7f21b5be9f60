"""The queues: what a message holds, and what is left of it."""

from __future__ import annotations

import json

import pytest
import redis
import structlog
from hands import NOWHERE, Hands, broker_with

from freshness.bell import Ring, Work
from freshness.concerns import Concern
from jobs.bell import POSTS, make_bell
from jobs.broker import AT_ONCE, Queue, connect, make_broker
from jobs.declare import POLL, PRUNE, send
from jobs.worker import WorkerProcess

RINGS = (
    Ring(Work.HYDRATE_FILE, 7),
    Ring(Work.HYDRATE_CONCERN, 7, concern=Concern.FEES),
    Ring(Work.CAPTURE, 7, own_write_id=70),
    Ring(Work.CONFIRM, 8),
    Ring(Work.CHECK, 9),
    Ring(Work.AUDIT, 10),
)


def _everything_in(client: redis.Redis) -> str:
    kinds = {b"string": client.get, b"list": lambda k: client.lrange(k, 0, -1), b"hash": client.hgetall}
    kinds |= {b"set": client.smembers, b"zset": lambda k: client.zrange(k, 0, -1, withscores=True)}
    return repr([(key, kinds[client.type(key)](key)) for key in client.scan_iter()])


def test_a_message_carries_ids_and_nothing_else(redis_url: str) -> None:
    broker = make_broker(redis_url)

    make_bell(broker)(RINGS)

    messages = [json.loads(each) for q in Queue for each in broker.client.hvals(f"dramatiq:{q}.msgs")]
    assert {each["actor_name"]: each["args"] for each in messages} == {
        "file.hydrate": [7],
        "concern.hydrate": [7, "fees"],
        "mark.capture": [7, 70],
        "file.confirm": [8],
        "file.check": [9],
        "file.audit": [10],
    }
    assert all(each["kwargs"] == {} for each in messages)
    assert {key for each in messages for key in each["options"]} == {"redis_message_id"}


def test_every_kind_of_work_reaches_its_handler_with_its_ids(redis_url: str) -> None:
    hands = Hands()
    broker = broker_with(redis_url, hands.handlers())
    worker = WorkerProcess(broker)
    worker.start()

    make_bell(broker)(RINGS)
    send(broker, PRUNE)
    send(broker, POLL)

    heard = {hands.next() for _ in range(len(RINGS) + 2)}
    worker.end(5)
    assert heard == {
        ("hydrate_file", 7),
        ("hydrate_concern", 7, Concern.FEES),
        ("capture", 7, 70),
        ("confirm", 8),
        ("prune_receipts",),
        ("check", 9),
        ("audit", 10),
        ("poll",),
    }


def test_an_actor_is_declared_for_every_kind_of_work(redis_url: str) -> None:
    broker = broker_with(redis_url, Hands().handlers())

    assert broker.get_declared_actors() == {post.actor_name for post in (*POSTS.values(), PRUNE, POLL)}
    assert all(broker.get_actor(post.actor_name).queue_name == post.queue for post in POSTS.values())


def test_what_an_actor_raises_reaches_neither_redis_nor_the_log(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    hands = Hands()

    def careless(file_id: int) -> None:
        hands.calls.put(("hydrate_file", file_id))
        raise ValueError("Jane Roe 123-45-6789")

    broker = broker_with(redis_url, hands.handlers(hydrate_file=careless))
    worker = WorkerProcess(broker)
    with structlog.testing.capture_logs() as lines:
        worker.start()
        make_bell(broker)([Ring(Work.HYDRATE_FILE, 7)])
        hands.next()
        worker.end(5)

    assert "123-45-6789" not in _everything_in(broker.client) + repr(lines) + caplog.text
    assert [(line["job"], line["error"]) for line in lines if line["event"] == "job.raised"] == [
        ("file.hydrate", "ValueError")
    ]
    assert broker.client.hlen("dramatiq:loan-sync.msgs") == 0


def test_many_messages_keep_their_order(redis_url: str) -> None:
    broker = make_broker(redis_url)

    make_bell(broker)([Ring(Work.CONFIRM, file_id) for file_id in range(300)])

    ids = broker.client.lrange("dramatiq:prompt", 0, -1)
    messages = broker.client.hmget("dramatiq:prompt.msgs", ids)
    assert [json.loads(each)["args"] for each in messages] == [[file_id] for file_id in range(300)]


def test_more_messages_than_one_call_takes_are_all_there(redis_url: str) -> None:
    broker = make_broker(redis_url)
    make_bell(broker)([Ring(Work.CONFIRM, file_id) for file_id in range(AT_ONCE + 1)])
    assert broker.client.llen("dramatiq:prompt") == AT_ONCE + 1


def test_who_only_rings_is_no_worker_among_the_living(redis_url: str) -> None:
    """The reaper looks through them, and would find it dead."""
    broker = make_broker(redis_url)
    make_bell(broker)([Ring(Work.CONFIRM, 1), Ring(Work.CONFIRM, 2, delay_s=1)])
    assert broker.client.zcard("dramatiq:__heartbeats__") == 0


@pytest.mark.parametrize("patient", [True, False])
def test_a_timeout_is_never_tried_again(patient: bool) -> None:
    """Redis may have run the script all the same: a fetch that is repeated strands what the first one took."""
    tried: list[int] = []

    def times_out() -> None:
        tried.append(1)
        raise redis.TimeoutError

    retry = connect(NOWHERE, patient=patient).connection_pool.connection_kwargs["retry"]
    with pytest.raises(redis.TimeoutError):
        retry.call_with_retry(times_out, lambda error: None)
    assert len(tried) == 1
