"""A receiver that is asked to stop: what it has begun to read it takes and answers, and it keeps to its time."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from databases import WAITS
from receiver_process import WITHIN_S, Process, listen, receiver_process
from running_receiver import MLM_TOKEN, NEWER, SEEDED, WEBHOOK

from freshness.ledger import own_writes
from freshness.ledger.files import FileRef
from freshness.rules import rules_of
from freshness.settings import load

BATCH = [{"eventType": "Modified", "referenceNumber": "R1", "values": {"sLastModifiedTimestamp": NEWER}}]


def outcomes(engine: sa.Engine) -> list[str]:
    with engine.connect() as conn:
        return list(conn.exec_driver_sql("SELECT outcome FROM mlm_webhook_receipts").scalars())


@contextlib.contextmanager
def held_up(engine: sa.Engine, process: Process) -> Iterator[list[Any]]:
    """A batch that the receiver has taken and cannot finish before the block ends; what it was answered is filled in
    afterwards."""
    answered: list[Any] = []

    thread = threading.Thread(target=lambda: answered.append(process.post(BATCH).status_code))
    with engine.begin() as holder:
        own_writes.seed_mark(holder, rules_of(load({})), FileRef("loan", "R1"), SEEDED)
    with engine.begin() as holder, engine.connect() as other:
        holder.exec_driver_sql("SELECT 1 FROM file_freshness FOR UPDATE")
        thread.start()
        deadline = time.monotonic() + WITHIN_S
        while not other.exec_driver_sql(WAITS).all():
            assert time.monotonic() < deadline
            other.rollback()
        yield answered
    thread.join(WITHIN_S)


def test_a_batch_under_way_is_committed_and_answered_before_the_end(own_engine: sa.Engine, database_url: str) -> None:
    with receiver_process({"DATABASE_URL": database_url}) as process:
        with held_up(own_engine, process) as answered:
            process.forked.send_signal(signal.SIGTERM)
            _wait_until_deaf(process)
            assert process.forked.poll() is None
        assert (answered, process.ended()) == ([200], 0)
    assert outcomes(own_engine) == ["dispatched"]


def test_a_batch_that_is_half_read_is_read_taken_and_answered(own_engine: sa.Engine, database_url: str) -> None:
    body = json.dumps(BATCH).encode()
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {MLM_TOKEN}\r\nContent-Length: {len(body)}\r\n"
    with receiver_process({"DATABASE_URL": database_url}) as process:
        with socket.create_connection(("127.0.0.1", process.port), timeout=WITHIN_S) as connection:
            connection.sendall(head.encode() + b"Expect: 100-continue\r\n\r\n")
            assert b" 100 " in connection.recv(100)
            connection.sendall(body[:20])
            process.forked.send_signal(signal.SIGTERM)
            _wait_until_deaf(process)
            connection.sendall(body[20:])
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert process.ended() == 0
    assert outcomes(own_engine) == ["unknown_file"]


def test_a_batch_that_outlasts_the_grace_is_cut_off_and_leaves_nothing(
    own_engine: sa.Engine, database_url: str
) -> None:
    """The sender is told to try again; the process does not wait for PostgreSQL to give up."""
    with receiver_process({"DATABASE_URL": database_url}, listen, "--grace", "1") as process:
        with held_up(own_engine, process) as answered:
            assert process.end(signal.SIGTERM) == 0
            with own_engine.connect() as conn:
                assert conn.exec_driver_sql(WAITS).all()
        assert answered == [503]
    assert outcomes(own_engine) == []


def _wait_until_deaf(process: Process) -> None:
    """Until it takes no new connections."""
    deadline = time.monotonic() + WITHIN_S
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            assert time.monotonic() < deadline
            socket.create_connection(("127.0.0.1", process.port), timeout=WITHIN_S).close()
            time.sleep(0.02)
