"""Deliveries that come while others are being committed: they share a commit, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from running_receiver import NEWER, SEEDED

from freshness.bell import silent
from freshness.ledger import own_writes
from freshness.ledger.batches import Entry
from freshness.ledger.files import FileRef
from freshness.rules import Rules
from receiver.desk import Desk
from receiver.intake import LANES, QUIET_TURNS, Intake, Taken

COMMITS = "SELECT count(DISTINCT xmin::text) FROM mlm_webhook_receipts"


def change(ref: str, number: str | None = None) -> Entry:
    return Entry(ref, number, "Modified", NEWER)


def seed(engine: sa.Engine, *refs: str) -> None:
    with engine.begin() as conn:
        for ref in refs:
            own_writes.seed_mark(conn, Rules(), FileRef("loan", ref), SEEDED)


def take(engine: sa.Engine, deliveries: Sequence[Sequence[Entry]]) -> list[Taken | BaseException]:
    """What comes of deliveries that arrive all at once."""

    async def at_once() -> list[Taken | BaseException]:
        intake = Intake(Desk(engine, Rules(), silent))
        return await asyncio.gather(*(intake.take(each) for each in deliveries), return_exceptions=True)

    return asyncio.run(at_once())


def counts(answer: Taken | BaseException) -> tuple[int, int, int, int]:
    assert isinstance(answer, Taken)
    told = answer.counts
    return told["received"], told["dispatched"], told["skipped"], told["rejected"]


def test_what_comes_at_once_shares_one_commit(engine: sa.Engine) -> None:
    take(engine, [[change(f"R{number}")] for number in range(20)])
    with engine.connect() as conn:
        assert conn.exec_driver_sql(COMMITS).scalar_one() == 1


def test_each_delivery_is_told_of_its_own_entries(engine: sa.Engine) -> None:
    seed(engine, "R1", "R2")
    malformed = Entry(None, None, None, None, fault="no reference")
    deliveries = [[change("R0")], [change("R0")], [change("R1")], [], [malformed, change("R2"), change("R0")]]
    told = [counts(answer) for answer in take(engine, deliveries)]
    assert told == [(1, 0, 1, 0), (1, 0, 1, 0), (1, 1, 0, 0), (0, 0, 0, 0), (3, 1, 1, 1)]


def test_a_delivery_that_fails_fails_alone(own_engine: sa.Engine) -> None:
    with own_engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE mlm_webhook_receipts ADD CHECK (loan_number <> 'bad')")
    numbers = ["good", "good", "good", "bad", "good"]
    answers = take(own_engine, [[change(f"R{place}", number)] for place, number in enumerate(numbers)])
    assert [isinstance(answer, Taken) for answer in answers] == [True, True, True, False, True]
    with own_engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM mlm_webhook_receipts").scalar_one() == 4


@pytest.mark.parametrize(("first", "commits"), [(2, 2), (1, 3)])
def test_who_comes_a_moment_later_shares_the_next_commit_only_after_a_shared_one(
    engine: sa.Engine, first: int, commits: int
) -> None:
    async def one_after_another() -> None:
        intake = Intake(Desk(engine, Rules(), silent))
        await asyncio.gather(*(intake.take([change(f"first {number}")]) for number in range(first)))
        soon = asyncio.create_task(intake.take([change("soon")]))
        await a_lane_has_taken_it()
        await asyncio.gather(soon, intake.take([change("a moment later")]))

    asyncio.run(one_after_another())
    with engine.connect() as conn:
        assert conn.exec_driver_sql(COMMITS).scalar_one() == commits


async def send_while_held_up(engine: sa.Engine, held_up: int, others: int) -> None:
    """Deliveries for files that somebody has locked, one after the other, then others: these must be answered."""
    refs = [f"R{place}" for place in range(held_up)]
    seed(engine, *refs)
    intake = Intake(Desk(engine, Rules(), silent))
    with engine.connect() as holder:
        holder.exec_driver_sql("SELECT 1 FROM file_freshness FOR UPDATE")
        waiting = []
        for ref in refs:
            waiting.append(asyncio.create_task(intake.take([change(ref)])))
            await a_lane_has_taken_it()
        answered = asyncio.gather(*(intake.take([change(f"other {number}")]) for number in range(others)))
        await asyncio.wait_for(answered, 20)
        assert not waiting[0].done()
    await asyncio.gather(*waiting)


async def a_lane_has_taken_it() -> None:
    """If one is free: the delivery has come, a lane has opened, looked whether more come, and begun."""
    for _ in range(3 + QUIET_TURNS):
        await asyncio.sleep(0)


def test_what_waits_while_another_is_held_up_shares_one_commit(own_engine: sa.Engine) -> None:
    asyncio.run(send_while_held_up(own_engine, 1, others=9))
    with own_engine.connect() as conn:
        assert conn.exec_driver_sql(COMMITS + " WHERE outcome = 'unknown_file'").scalar_one() == 1


def test_others_do_not_wait_though_more_are_held_up_than_there_are_lanes(own_engine: sa.Engine) -> None:
    asyncio.run(send_while_held_up(own_engine, LANES + 2, others=3))
