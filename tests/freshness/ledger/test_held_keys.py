"""Which key has sealed what was sealed last, table by table, and whether we hold it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from freshness.errors import KeyNotHeld
from freshness.field_keys import FieldKeys
from freshness.ledger import held_keys
from freshness.ledger.held_keys import must_hold, newest_keys

ONE, OTHER = FieldKeys((bytes(range(32)),)), FieldKeys((bytes(range(32, 64)),))
LEAD = "INSERT INTO showmojo_leads (lead_key, other_encrypted) VALUES (%(name)s, %(sealed)s)"


def say(conn: sa.Connection, name: str, sealed: bytes | None) -> None:
    conn.exec_driver_sql(LEAD, {"name": name, "sealed": sealed})


def test_an_empty_database_asks_for_no_key(engine: sa.Engine):
    with engine.begin() as conn:
        assert newest_keys(conn) == {}
        must_hold(conn, ONE, ())


def test_it_is_the_newest_rows_key_that_is_wanted_and_rows_without_a_value_say_nothing(engine: sa.Engine):
    with engine.begin() as conn:
        say(conn, "first", ONE.seal("x"))
        say(conn, "second", OTHER.seal("x"))
        say(conn, "third", None)
        assert newest_keys(conn) == {"showmojo_leads": OTHER.newest}
        must_hold(conn, OTHER, ())
        must_hold(conn, ONE, (OTHER.newest,))
        with pytest.raises(KeyNotHeld, match=rf"key {OTHER.newest}, with which the newest values of showmojo_leads"):
            must_hold(conn, ONE, (ONE.newest,))


def test_it_does_not_look_further_than_at_some_rows(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(held_keys, "NEWEST_ROWS", 2)
    with engine.begin() as conn:
        for name, sealed in (("first", ONE.seal("x")), ("second", None), ("third", None)):
            say(conn, name, sealed)
        assert newest_keys(conn) == {}


def test_before_the_first_migration_there_is_nothing_to_look_at(empty_database_url: str):
    engine = sa.create_engine(sa.make_url(empty_database_url).set(drivername="postgresql+psycopg"))
    with engine.begin() as conn:
        assert newest_keys(conn) == {}
    engine.dispose()
