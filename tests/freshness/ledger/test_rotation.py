"""Rotation of `FIELD_KEYS`: all that is sealed is sealed anew, a few rows at a time, and nobody is in the way."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from freshness.field_keys import FieldKeys
from freshness.ledger import rotation
from freshness.ledger.body_keys import BodyKeys
from freshness.ledger.rotation import Lot, sealed_tables

OLD, NEW, LOST = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
BEFORE, BOTH, AFTER = FieldKeys((OLD,)), FieldKeys((NEW, OLD)), FieldKeys((NEW,))
BORROWERS = next(table for table in sealed_tables() if table.name == "borrowers")

SEALED = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND column_name LIKE '%%\\_encrypted' AND data_type = 'bytea'
"""
LOAN = "INSERT INTO loans (mlm_reference_number) VALUES ('R000001') RETURNING id"
BORROWER = """
INSERT INTO borrowers (loan_id, lqb_id, position, role, ssn_encrypted, ssn_last4, ssn_index, birth_date_encrypted)
VALUES (%(loan)s, %(lqb)s, %(position)s, 'borrower', %(ssn)s, '0000', %(index)s, %(birth)s)
"""


def ssn(number: int) -> str:
    return f"9{number:08d}"


def fill(engine: sa.Engine, number: int, keys: FieldKeys = BEFORE) -> None:
    """So many borrowers of one loan; every third has no birth date."""
    with engine.begin() as conn:
        loan = conn.exec_driver_sql(LOAN).scalar_one()
        for n in range(number):
            birth = keys.seal(f"1980-01-{n % 28 + 1:02d}") if n % 3 else None
            values = {"loan": loan, "lqb": f"b-{n}", "position": n, "ssn": keys.seal(ssn(n)), "birth": birth}
            conn.exec_driver_sql(BORROWER, values | {"index": keys.index(ssn(n))})


def borrowers(engine: sa.Engine) -> list[Any]:
    with engine.begin() as conn:
        return list(conn.exec_driver_sql("SELECT * FROM borrowers ORDER BY id").mappings())


def rotated(engine: sa.Engine, keys: FieldKeys = BOTH) -> list[Lot]:
    return [lot for table in sealed_tables() for lot in rotation.rotate(engine.begin, keys, table)]


def test_every_sealed_column_of_the_database_is_among_those_that_are_rotated(engine: sa.Engine):
    with engine.begin() as conn:
        there = {tuple(row) for row in conn.exec_driver_sql(SEALED)}
    assert there == {(table.name, f"{column}_encrypted") for table in sealed_tables() for column in table.columns}
    assert {("borrowers", "birth_date_encrypted"), ("body_keys", "key_encrypted")} <= there


def test_afterwards_the_newest_key_alone_opens_every_value_and_finds_it(engine: sa.Engine):
    fill(engine, 7)
    assert sum(lot.sealed for lot in rotated(engine)) == 7 + 4
    for n, row in enumerate(borrowers(engine)):
        assert (AFTER.open(row["ssn_encrypted"]), row["ssn_index"]) == (ssn(n), AFTER.index(ssn(n)))
        assert (row["birth_date_encrypted"] is None) == (n % 3 == 0)
        assert row["birth_date_encrypted"] is None or AFTER.open(row["birth_date_encrypted"]).startswith("1980-01-")
    with engine.begin() as conn:
        assert rotation.keys_in_use(conn, BORROWERS) == {AFTER.newest: 7 + 4}


def test_what_was_broken_off_goes_on_with_what_is_left(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rotation, "AT_ONCE", 4)
    fill(engine, 10)
    first = next(rotation.rotate(engine.begin, BOTH, BORROWERS))
    rest = rotated(engine)
    assert (first.sealed, sum(lot.sealed for lot in rest)) == (4 + 2, 6 + 4)
    assert sum(lot.sealed for lot in rotated(engine)) == 0


def test_a_row_that_somebody_is_writing_is_left_to_the_next_pass_and_not_waited_for(engine: sa.Engine):
    fill(engine, 3)
    with engine.begin() as other:
        other.exec_driver_sql("UPDATE borrowers SET first_name = 'Ann' WHERE lqb_id = 'b-1'")
        (lot,) = rotation.rotate(engine.begin, BOTH, BORROWERS)
        assert (lot.sealed, lot.in_use) == (3, 1)
    (lot,) = rotation.rotate(engine.begin, BOTH, BORROWERS)
    assert (lot.sealed, lot.in_use) == (2, 0)
    assert borrowers(engine)[1]["first_name"] == "Ann"


def test_what_a_key_has_sealed_that_we_do_not_hold_is_told_by_its_id_and_stays_as_it_is(engine: sa.Engine):
    fill(engine, 2, FieldKeys((LOST,)))
    before = borrowers(engine)
    (lot,) = rotation.rotate(engine.begin, BOTH, BORROWERS)
    assert (lot.sealed, lot.lost) == (0, {FieldKeys((LOST,)).newest: 3})
    assert borrowers(engine) == before


def test_it_is_no_change_of_the_portals(engine: sa.Engine):
    fill(engine, 2)
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM audit_log")
    rotated(engine)
    with engine.begin() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM audit_log").scalar_one() == 0


def test_of_bodies_the_weeks_key_is_sealed_anew_and_those_from_before_there_was_one(engine: sa.Engine):
    with engine.begin() as conn:
        week = BodyKeys(BEFORE).this_week(conn)
        add = """INSERT INTO sender_bodies (id, sender, received_at, body_encrypted, key_week)
                 VALUES (gen_random_uuid(), 'mmi', mlm_now(), %(body)s, %(week)s)"""
        conn.exec_driver_sql(add, {"body": week.seal("of the week"), "week": week.week})
        conn.exec_driver_sql(add, {"body": BEFORE.seal("from before"), "week": None})
    assert sum(lot.sealed for lot in rotated(engine)) == 2
    with engine.begin() as conn:
        found = conn.exec_driver_sql(
            "SELECT b.body_encrypted, b.key_week, k.key_encrypted FROM sender_bodies b "
            "LEFT JOIN body_keys k ON k.week = b.key_week"
        )
        assert {BodyKeys(AFTER).open(*row) for row in found} == {"of the week", "from before"}


def test_nothing_is_unreadable_at_any_moment_while_one_writes_and_one_reads(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
):
    """Both hold both keys, as the procedure has it; the writer still writes with the old one for a while."""
    monkeypatch.setattr(rotation, "AT_ONCE", 20)
    fill(engine, 200)
    done, unreadable, reads, writes = threading.Event(), [], [], []

    def read() -> None:
        while not done.is_set() or not reads:
            for row in borrowers(engine):
                plain = BOTH.open(row["ssn_encrypted"])
                if row["ssn_index"] not in BOTH.indexes(plain) or plain[1:] != f"{int(row['lqb_id'][2:]):08d}":
                    unreadable.append(row["id"])
            reads.append(1)

    def write() -> None:
        while not done.is_set() or not writes:
            n = len(writes) * 7 % 200
            keys = FieldKeys((OLD, NEW)) if len(writes) < 50 else BOTH
            with engine.begin() as conn:
                conn.exec_driver_sql(
                    "UPDATE borrowers SET ssn_encrypted = %(sealed)s, ssn_index = %(index)s WHERE lqb_id = %(lqb)s",
                    {"sealed": keys.seal(ssn(n)), "index": keys.index(ssn(n)), "lqb": f"b-{n}"},
                )
            writes.append(1)

    threads = [threading.Thread(target=each) for each in (read, write)]
    for thread in threads:
        thread.start()
    while len(writes) < 100:
        rotated(engine)
    done.set()
    for thread in threads:
        thread.join()
    rotated(engine)
    assert unreadable == []
    assert [AFTER.open(row["ssn_encrypted"]) for row in borrowers(engine)] == [ssn(n) for n in range(200)]
