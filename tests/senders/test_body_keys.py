"""A week's bodies have a key of the week's: once it is gone, no copy of them opens, and it is said so."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import OPEN, row, rows, send
from running_receiver import receiver
from test_maxwell import CREATED, MILESTONE
from test_order import BEGAN, RECEPTION, SETTINGS, deliver, mmi

from freshness.errors import FieldKeyError
from freshness.field_keys import FieldKeys
from freshness.ledger import pruning
from freshness.ledger.body_keys import BodyKeys

KEYS = FieldKeys(SETTINGS.field_keys)
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)  # a Wednesday
WRONG = FieldKeys((bytes(32),))


def keys_of_weeks(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.begin() as conn:
        return [dict(each) for each in conn.exec_driver_sql("SELECT * FROM body_keys ORDER BY week").mappings()]


def rebuild(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        RECEPTION.rebuild(conn, row(engine, "sender_subjects")["id"])


def test_bodies_of_one_week_share_a_key_and_those_of_another_have_another(engine: sa.Engine):
    deliver(engine, "mmi", [mmi("1", 1)], LONG_AGO)
    deliver(engine, "mmi", [mmi("1", 2)], LONG_AGO + dt.timedelta(days=4, hours=23))
    deliver(engine, "mmi", [mmi("1", 3)], LONG_AGO + dt.timedelta(days=5))
    weeks = [each["key_week"] for each in rows(engine, "sender_bodies")]
    assert weeks == [dt.date(2019, 12, 30), dt.date(2019, 12, 30), dt.date(2020, 1, 6)]
    assert len({KEYS.open(each["key_encrypted"]) for each in keys_of_weeks(engine)}) == 2


def test_without_its_weeks_key_a_body_opens_no_more_and_that_is_an_error_that_names_the_week(engine: sa.Engine):
    deliver(engine, "mmi", [mmi("1", 1, timestamp="2019-12-31 00:00:00")], LONG_AGO)
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM body_keys")
    with pytest.raises(FieldKeyError, match="week of 2019-12-30 was dropped"):
        rebuild(engine)
    with pytest.raises(FieldKeyError, match="does not hold"):
        KEYS.open(row(engine, "sender_bodies")["body_encrypted"])


def test_the_key_goes_with_the_last_body_of_its_week(engine: sa.Engine):
    deliver(engine, "mmi", [mmi("1", 1)], LONG_AGO)
    deliver(engine, "mmi", [mmi("1", 2)], dt.datetime.now(dt.UTC))
    pruned = pruning.prune(engine.begin, dt.timedelta(days=90))
    assert (pruned.sender_bodies, pruned.body_keys) == (1, 1)
    assert [each["key_week"] for each in rows(engine, "sender_bodies")] == [
        each["week"] for each in keys_of_weeks(engine)
    ]


def test_the_key_of_a_body_that_waits_stays(engine: sa.Engine):
    deliver(engine, "maxwell", [MILESTONE], LONG_AGO)
    assert pruning.prune(engine.begin, dt.timedelta(days=90)).body_keys == 0
    deliver(engine, "maxwell", [CREATED])
    assert row(engine, "maxwell_applications")["milestone"] == "Underwriting"


def test_two_that_make_a_weeks_key_at_once_use_the_same(engine: sa.Engine):
    opened, made = BodyKeys(KEYS), []
    second = threading.Thread(target=lambda: made.append(_this_week(engine, opened)))
    with engine.begin() as conn:
        first = opened.this_week(conn)
        second.start()
        until(lambda: _waits(engine))
    second.join()
    assert KEYS.open(keys_of_weeks(engine)[0]["key_encrypted"])
    assert made[0].keys.open(first.seal("said")) == "said"


def test_a_key_whose_making_was_taken_back_is_used_by_nobody(engine: sa.Engine):
    opened = BodyKeys(KEYS)
    with engine.connect() as conn, conn.begin() as transaction:
        first = opened.this_week(conn)
        transaction.rollback()
    second = _this_week(engine, opened)
    with pytest.raises(FieldKeyError):
        second.keys.open(first.seal("said"))


def test_with_a_wrong_key_nothing_is_taken_and_nothing_is_made_anew(engine: sa.Engine):
    deliver(engine, "mmi", [mmi("1", 1)])
    with engine.begin() as conn:
        conn.exec_driver_sql(f"SET LOCAL mlm.now = '{BEGAN.isoformat()}'")
        with pytest.raises(FieldKeyError, match="does not hold"):
            BodyKeys(WRONG).this_week(conn)
    assert len(keys_of_weeks(engine)) == 1


def test_a_receiver_with_a_wrong_key_refuses_so_that_the_sender_comes_again_and_says_why(engine: sa.Engine):
    deliver(engine, "mmi", [mmi("1", 1)], dt.datetime.now(dt.UTC))
    with receiver(engine, OPEN | {"FIELD_KEYS": "A" * 43}) as served:
        answer = send(served, "mmi", mmi("1", 2))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "FIELD_KEYS" in answer.json()["detail"]
    assert len(rows(engine, "mlm_webhook_receipts")) == 1


def _this_week(engine: sa.Engine, keys: BodyKeys):
    with engine.begin() as conn:
        return keys.this_week(conn)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline


def _waits(engine: sa.Engine) -> bool:
    query = """SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
               AND wait_event = 'transactionid')"""
    with engine.begin() as conn:
        return conn.exec_driver_sql(query).scalar_one()


def test_a_week_is_not_begun_with_a_key_that_does_not_open_the_week_before(engine: sa.Engine):
    """A receiver that began without PostgreSQL has not been able to look whether its key is right."""
    deliver(engine, "mmi", [mmi("1", 1)], LONG_AGO)
    with engine.begin() as conn, pytest.raises(FieldKeyError, match=f"does not hold key {KEYS.newest}"):
        BodyKeys(WRONG).this_week(conn)
    assert len(keys_of_weeks(engine)) == 1
    both = FieldKeys((bytes(32), *SETTINGS.field_keys))
    with engine.begin() as conn:
        assert BodyKeys(both).this_week(conn).week > dt.date(2020, 1, 1)
