"""Receivers as real processes on one spool: killed, asked to stop, and several at once."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from receiver_process import WITHIN_S, Process, listen, receiver_process
from running_receiver import SEEDED

from console.embedded import PostgreSQL
from freshness.ledger import own_writes
from freshness.ledger.batches import Entry
from freshness.ledger.files import FileRef
from freshness.rules import rules_of
from freshness.settings import load
from jobs.house import make_engine
from receiver.spool import Depth, Spool

RECEIPTS = "SELECT last_modified_text, outcome FROM mlm_webhook_receipts ORDER BY id"


def stamp(n: int) -> str:
    return f"2026-11-01T11:{n:02}:00Z"


def batch(n: int) -> list[dict[str, Any]]:
    return [{"eventType": "Modified", "referenceNumber": "R1", "values": {"sLastModifiedTimestamp": stamp(n)}}]


@dataclass
class Place:
    """What the receivers of a test share."""

    postgresql: PostgreSQL
    engine: sa.Engine
    directory: Path
    spool: Spool

    def receiver(self, target: Callable[..., None] = listen, *args: str) -> contextlib.AbstractContextManager[Process]:
        settings = {"DATABASE_URL": self.postgresql.url, "SPOOL_DIR": str(self.directory)}
        return receiver_process(settings, target, *args)

    def receipts(self) -> list[tuple[str, str]]:
        with self.engine.connect() as conn:
            return [tuple(row) for row in conn.exec_driver_sql(RECEIPTS)]

    def ordered(self) -> int:
        with self.engine.connect() as conn:
            return int(conn.exec_driver_sql("SELECT ordered FROM file_freshness").scalar_one())

    def wait_until_empty(self) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not self.spool.is_empty():
            assert time.monotonic() < deadline, "batches still wait"
            time.sleep(0.02)


@pytest.fixture
def place(postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Place]:
    engine = make_engine(postgresql.url, 4, "test")
    with engine.begin() as conn:
        own_writes.seed_mark(conn, rules_of(load({})), FileRef("loan", "R1"), SEEDED)
    yield Place(postgresql, engine, tmp_path / "spool", Spool(tmp_path / "spool"))
    engine.dispose()


def test_batches_of_one_file_taken_by_two_receivers_are_decided_in_the_order_they_came(place: Place) -> None:
    with place.receiver() as one, place.receiver() as other:
        place.postgresql.stop()
        for n in range(12):
            assert (one, other)[n % 3 == 0].post(batch(n)).status_code == 202
        place.postgresql.start()
        statuses = {other.post(batch(n)).status_code for n in range(12, 20)}
        place.wait_until_empty()
        assert one.post(batch(20)).status_code == 200
    assert statuses <= {200, 202}
    assert place.receipts() == [(stamp(n), "dispatched") for n in range(21)]


def test_through_outages_under_load_nothing_that_was_answered_is_missing_and_each_file_keeps_its_order(
    place: Place,
) -> None:
    """Eight senders, each with a file of its own, send one batch after the other to either receiver, until each has
    had its answer behind two stops of PostgreSQL and a cut of all connections. A batch may have two receipts."""
    answered: dict[str, list[str]] = {f"R{n}": [] for n in range(8)}
    failures: list[str] = []
    over = threading.Event()

    def send(ref: str, receivers: Sequence[Process]) -> None:
        for n in itertools.count():
            if over.is_set():
                return
            body = [{"eventType": "Modified", "referenceNumber": ref, "loanNumber": f"{n:06}"}]
            try:
                answer = receivers[n % len(receivers)].post(body)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                failures.append(type(error).__name__)
            else:
                answered[ref].append(f"{n:06}")

    def until_all_are_answered_again() -> None:
        before = {ref: len(batches) for ref, batches in answered.items()}
        deadline = time.monotonic() + WITHIN_S
        while any(len(answered[ref]) < count + 3 for ref, count in before.items()):
            assert time.monotonic() < deadline, "a sender is not answered"
            time.sleep(0.02)

    with place.receiver() as one, place.receiver() as other:
        threads = [threading.Thread(target=send, args=(ref, (one, other))) for ref in answered]
        for thread in threads:
            thread.start()
        for _ in range(2):
            until_all_are_answered_again()
            place.postgresql.stop()
            until_all_are_answered_again()
            place.postgresql.start()
        with place.engine.connect() as conn:
            conn.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        until_all_are_answered_again()
        over.set()
        for thread in threads:
            thread.join()
        place.wait_until_empty()
    assert failures == []
    with place.engine.connect() as conn:
        rows = conn.exec_driver_sql("SELECT reference_number, loan_number FROM mlm_webhook_receipts ORDER BY id").all()
    for ref, sent in answered.items():
        assert list(dict.fromkeys(number for reference, number in rows if reference == ref)) == sent


def test_what_a_killed_receiver_left_is_decided_by_one_that_lives(place: Place) -> None:
    with place.receiver() as one, place.receiver():
        place.postgresql.stop()
        for n in range(3):
            assert one.post(batch(n)).status_code == 202
        assert one.end(signal.SIGKILL) == -signal.SIGKILL
        place.postgresql.start()
        place.wait_until_empty()
    assert place.receipts() == [(stamp(n), "dispatched") for n in range(3)]


def test_a_receiver_that_is_asked_to_stop_leaves_what_waits_to_the_next_start(place: Place) -> None:
    with place.receiver() as process:
        place.postgresql.stop()
        for n in range(3):
            assert process.post(batch(n)).status_code == 202
        assert process.end(signal.SIGTERM) == 0
    assert place.spool.depth() == Depth(waiting=3, aside=0)
    place.postgresql.start()
    with place.receiver():
        place.wait_until_empty()
    assert place.receipts() == [(stamp(n), "dispatched") for n in range(3)]


def dies(name: str, when: str) -> None:
    """A receiver that is killed right before, or after, it does this to its spool."""
    done = getattr(Spool, name)

    def die(self: Spool, *arguments: Any) -> None:
        if when == "after":
            done(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(Spool, name, die)
    listen()


def test_a_receiver_killed_between_the_disk_and_the_answer_loses_nothing_and_sent_again_does_no_harm(
    place: Place,
) -> None:
    with place.receiver(dies, "put", "after") as process:
        place.postgresql.stop()
        with pytest.raises(httpx.TransportError):
            process.post(batch(1))
        assert process.ended() == -signal.SIGKILL
    assert place.spool.depth() == Depth(waiting=1, aside=0)
    place.postgresql.start()
    with place.receiver() as process:
        place.wait_until_empty()
        assert process.post(batch(1)).status_code == 200
    assert place.receipts() == [(stamp(1), "dispatched"), (stamp(1), "already_ordered")]
    assert place.ordered() == 1


def test_a_receiver_killed_between_a_commit_and_the_removal_decides_twice_and_does_no_harm(place: Place) -> None:
    for n in (1, 2):
        place.spool.put([Entry("R1", None, "Modified", stamp(n))], dt.datetime.now(dt.UTC))
    with place.receiver(dies, "remove", "before") as process:
        assert process.ended() == -signal.SIGKILL
    assert len(place.receipts()) == 2
    with place.receiver():
        place.wait_until_empty()
    first = [(stamp(n), "dispatched") for n in (1, 2)]
    assert place.receipts() == first + [(stamp(n), "already_ordered") for n in (1, 2)]
    assert place.ordered() == 2
