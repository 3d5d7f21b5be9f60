"""`FIELD_KEYS` rotated as docs/security.md has it, with a worker that lands edits and a portal that reads meanwhile."""

from __future__ import annotations

import base64
import json
import signal
import threading
from collections.abc import Iterator

import psycopg
import pytest
from whole_house import WholeHouse, until, whole_house

from freshness.field_keys import FieldKeys
from freshness.ledger.rotation import sealed_tables

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
REFS = ("R000001", "R000002", "R000003")


def text(*keys: bytes) -> str:
    return ",".join(base64.urlsafe_b64encode(key).decode() for key in keys)


@pytest.fixture
def house(_admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    with whole_house(
        _admin, tmp_path_factory.mktemp("rotated"), "rotated", files=5, seed=3, FIELD_KEYS=text(OLD, NEW)
    ) as house:
        yield house


def restart_worker(house: WholeHouse, *keys: bytes) -> None:
    house.environment["FIELD_KEYS"] = text(*keys)
    worker = house.worker()
    worker.send(signal.SIGTERM)
    assert worker.ended() == 0
    house.id_of(house.worker())


def equals_mlm(house: WholeHouse, ref: str) -> None:
    """What was edited in MLM is here: its webhook may not have come yet."""
    until(lambda: house.differences(ref) == [], f"{ref} is as in MLM")
    house.rests(ref)


def opened(house: WholeHouse, keys: FieldKeys) -> int:
    """How many sealed values there are, after each has been opened and, where it is indexed, found."""
    number = 0
    for table in sealed_tables():
        for row in house.rows(f"SELECT * FROM {table.name} WHERE {table.where}"):
            for column in table.columns:
                sealed = getattr(row, f"{column}_encrypted")
                if sealed is not None:
                    plain, number = keys.open(sealed), number + 1
                    assert column not in table.indexed or getattr(row, f"{column}_index") in keys.indexes(plain)
    return number


def test_nothing_is_unreadable_at_any_moment(house: WholeHouse):
    house.import_(*REFS)
    assert opened(house, FieldKeys((OLD,))) > 20
    restart_worker(house, NEW, OLD)
    done, failed, reads = threading.Event(), [], []

    def read() -> None:
        while not done.is_set():
            try:
                reads.append(opened(house, FieldKeys((OLD, NEW))))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                failed.append(repr(error))

    portal = threading.Thread(target=read)
    portal.start()
    for ref in REFS:
        house.touch(ref, "borrowers")
        house.touch(ref, "assets")
    told = house.run("rotate-keys", "--json")
    until(lambda: len(reads) > 2 or failed, "the portal has read")
    done.set()
    portal.join()

    assert failed == []
    assert (told.returncode, json.loads(told.stdout)["lost"]) == (0, {})
    for ref in REFS:
        equals_mlm(house, ref)
    restart_worker(house, NEW)
    assert opened(house, FieldKeys((NEW,))) == reads[-1]
    house.touch(REFS[0], "assets")
    equals_mlm(house, REFS[0])
