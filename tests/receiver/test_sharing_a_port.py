"""Receivers at one port: a new one begins before the old one ends, and nobody is turned away in between."""

from __future__ import annotations

import signal

import pytest
from receiver_process import receiver_process

from console.cli import main

ENTRY = [{"eventType": "Modified", "referenceNumber": "R-unknown", "values": {}}]


def listen_at(port: str, *options: str) -> None:
    main(["receiver", "--port", port, *options])


def test_a_new_receiver_takes_over_the_port_of_an_old_one(database_url: str) -> None:
    settings = {"DATABASE_URL": database_url}
    with (
        receiver_process(settings, listen_at, "0", "--share-port") as old,
        receiver_process(settings, listen_at, str(old.port), "--share-port") as new,
    ):
        assert old.end(signal.SIGTERM) == 0
        assert [new.post(ENTRY).status_code for _ in range(8)] == [200] * 8


def test_a_port_that_is_not_shared_is_not_given_to_a_second(database_url: str) -> None:
    settings = {"DATABASE_URL": database_url}
    with (
        receiver_process(settings) as first,
        pytest.raises(AssertionError, match="it ended before it listened"),
        receiver_process(settings, listen_at, str(first.port), "--share-port"),
    ):
        pass
