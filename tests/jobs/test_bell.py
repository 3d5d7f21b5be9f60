"""The bell: one message for a work that waits, and never an error for whoever rang."""

from __future__ import annotations

import pytest
import structlog
from hands import NOWHERE, PATIENCE_S

from freshness.bell import Bell, Ring, Work
from freshness.concerns import Concern
from jobs.bell import FAR_S, WAITS_MS, depth, make_bell, started
from jobs.broker import Broker, Queue, make_broker

FEES = Ring(Work.HYDRATE_CONCERN, 7, concern=Concern.FEES)
FEES_LATER = Ring(Work.HYDRATE_CONCERN, 7, concern=Concern.FEES, delay_s=5)


@pytest.fixture
def broker(redis_url: str) -> Broker:
    return make_broker(redis_url)


@pytest.fixture
def bell(broker: Broker) -> Bell:
    return make_bell(broker)


def _waiting(broker: Broker) -> int:
    return depth(broker.client, Queue.LOAN_SYNC_ASSOC)


def test_a_ring_for_work_that_waits_already_adds_nothing(broker: Broker, bell: Bell) -> None:
    bell([FEES])
    bell([FEES])
    bell([FEES, FEES])

    assert _waiting(broker) == 1


def test_a_ring_after_the_message_started_is_a_new_message(broker: Broker, bell: Bell) -> None:
    bell([FEES])
    started(broker.client, FEES)
    bell([FEES])

    assert _waiting(broker) == 2


@pytest.mark.parametrize(
    "other",
    [
        Ring(Work.HYDRATE_CONCERN, 7, concern=Concern.ASSETS),
        Ring(Work.HYDRATE_CONCERN, 8, concern=Concern.FEES),
        Ring(Work.HYDRATE_FILE, 7),
        Ring(Work.CAPTURE, 7, own_write_id=1),
        Ring(Work.CONFIRM, 7),
    ],
    ids=lambda ring: f"{ring.work} {ring.file_id} {ring.concern or ''}",
)
def test_work_that_waits_silences_no_other_work(broker: Broker, bell: Bell, other: Ring) -> None:
    bell([FEES])
    bell([other])

    assert sum(depth(broker.client, queue) for queue in Queue) == 2


def test_captures_of_two_own_writes_both_wait(broker: Broker, bell: Bell) -> None:
    bell([Ring(Work.CAPTURE, 7, own_write_id=1), Ring(Work.CAPTURE, 7, own_write_id=2)])

    assert depth(broker.client, Queue.PROMPT) == 2


def test_a_ring_is_not_swallowed_by_one_that_is_due_later(broker: Broker, bell: Bell) -> None:
    bell([FEES_LATER])
    bell([FEES])

    assert broker.client.llen("dramatiq:loan-sync-assoc") == 1


def test_a_ring_that_is_due_later_is_not_swallowed_by_one_that_waits(broker: Broker, bell: Bell) -> None:
    bell([FEES])
    bell([FEES_LATER])

    assert broker.client.hlen("dramatiq:loan-sync-assoc.DQ.msgs") == 1


def test_in_a_mixed_batch_each_ring_meets_its_own_mark(broker: Broker, bell: Bell) -> None:
    assets = Ring(Work.HYDRATE_CONCERN, 7, concern=Concern.ASSETS)
    bell([FEES])
    bell([FEES_LATER, FEES, assets])

    assert broker.client.llen("dramatiq:loan-sync-assoc") == 2
    assert broker.client.hlen("dramatiq:loan-sync-assoc.DQ.msgs") == 1


def test_depth_counts_what_waits_and_what_is_due_later(broker: Broker, bell: Bell) -> None:
    bell([FEES, FEES_LATER, Ring(Work.HYDRATE_CONCERN, 8, concern=Concern.FEES)])

    assert _waiting(broker) == 3


def test_a_ring_far_off_is_left_to_the_sweep(broker: Broker, bell: Bell) -> None:
    bell([Ring(Work.CONFIRM, 7, delay_s=FAR_S + 1)])

    assert depth(broker.client, Queue.PROMPT) == 0


def test_a_flushed_redis_swallows_no_ring(broker: Broker, bell: Bell) -> None:
    bell([FEES])
    broker.client.flushdb()
    bell([FEES])

    assert _waiting(broker) == 1


def test_the_mark_of_a_message_that_was_lost_ends_by_itself(broker: Broker, bell: Bell) -> None:
    bell([FEES])

    (mark,) = broker.client.keys("mlm:rung:*")
    assert 0 < broker.client.pttl(mark) <= WAITS_MS < PATIENCE_S * 1000


def test_whoever_rings_never_fails_and_the_log_names_the_file() -> None:
    with structlog.testing.capture_logs() as lines:
        make_bell(make_broker(NOWHERE, patient=False))([FEES])

    assert [(line["event"], line["files"]) for line in lines] == [("bell.unheard", [7])]


def test_a_job_starts_even_if_its_mark_cannot_be_taken_away() -> None:
    started(make_broker(NOWHERE, patient=False).client, FEES)
