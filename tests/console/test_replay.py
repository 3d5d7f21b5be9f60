"""`freshness replay`: receipts' entries decided once more, shown first if asked to, and never twice by accident."""

from __future__ import annotations

import datetime as dt
import re

import pytest
import redis
import sqlalchemy as sa
from from_outside import ANSI, NEWER, RULES, SEEDED, Run, entry, objects, on_a_terminal, receive, rows

from console import replaying
from freshness.bell import Ring
from freshness.ledger import own_writes, receipts
from freshness.ledger.files import FileRef
from jobs.bell import depth
from jobs.broker import Queue

ALL = "SELECT id, replay_of, reference_number AS ref, outcome, order_number FROM mlm_webhook_receipts ORDER BY id"


@pytest.fixture
def received(engine: sa.Engine) -> list[int]:
    """Ids of: two entries for files that came after them, one three hours ago; then our own echo, one malformed."""
    receive(engine, entry("R000001", NEWER), ago=dt.timedelta(hours=3))
    receive(engine, entry("R000002", NEWER))
    for ref in ("R000001", "R000002"):
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("loan", ref), SEEDED)
    receive(engine, entry("R000001", SEEDED), entry(None, None, fault="no reference"))
    return [row.id for row in rows(engine, ALL)]


def replays(engine: sa.Engine) -> list[tuple[str, str, int | None]]:
    return [(row.ref, row.outcome, row.order_number) for row in rows(engine, ALL) if row.replay_of]


def test_named_receipts_are_decided_once_more_and_rung_for(
    received: list[int], run: Run, engine: sa.Engine, redis_url: str
) -> None:
    told = objects(run("replay", str(received[1]), str(received[0]), "--json"))
    assert [(each["replay_of"], each["outcome_before"], each["outcome"]) for each in told] == [
        (received[0], "unknown_file", "dispatched"),
        (received[1], "unknown_file", "dispatched"),
    ]
    assert replays(engine) == [("R000001", "dispatched", 1), ("R000002", "dispatched", 1)]
    with redis.Redis.from_url(redis_url) as client:
        assert depth(client, Queue.LOAN_SYNC) == 2


def test_a_dry_run_shows_what_would_be_decided_and_changes_nothing(
    received: list[int], environment: dict[str, str], engine: sa.Engine, redis_url: str
) -> None:
    before = rows(engine, "SELECT * FROM file_freshness ORDER BY id")
    shown = ANSI.sub("", on_a_terminal(environment, "replay", "--since", "1d", "--dry-run"))
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(rf"^ {received[0]} +R000001 +Modified +unknown_file +dispatched, newer +–", shown, re.MULTILINE)
    assert re.search(rf"^ {received[2]} +R000001 +Modified +own_echo +already_ordered +–", shown, re.MULTILINE)
    assert "Would be decided: 2 dispatched, 1 already_ordered." in shown
    assert "Malformed, and left out: 1." in shown
    assert replays(engine) == []
    assert rows(engine, "SELECT * FROM file_freshness ORDER BY id") == before
    with redis.Redis.from_url(redis_url) as client:
        assert depth(client, Queue.LOAN_SYNC) == 0


def test_options_say_which_and_replays_are_not_replayed_with_them(
    received: list[int], run: Run, engine: sa.Engine
) -> None:
    options = ["--outcome", "unknown_file", "--until", "1h"]
    for _ in range(2):
        done = run("replay", *options)
        assert done.returncode == 0
    assert "Decided: 1 already_ordered." in done.stdout
    assert [row.replay_of for row in rows(engine, ALL) if row.replay_of] == [received[0], received[0]]
    assert run("replay", "--ref", "R000009").stdout == "No receipts.\n"


def test_by_force_it_orders_what_the_guard_would_skip(received: list[int], run: Run, engine: sa.Engine) -> None:
    (told,) = objects(run("replay", str(received[2]), "--force", "--json"))
    assert (told["outcome_before"], told["outcome"], told["reason"], told["order_number"]) == (
        "own_echo", "dispatched", "forced", 1,
    )  # fmt: skip
    assert rows(engine, "SELECT cause FROM refresh_orders")[0].cause == f"replay of receipt {received[2]}, forced"


@pytest.mark.parametrize(("which", "why"), [(3, "it is malformed"), (None, "there is none")])
def test_of_several_none_is_replayed_if_one_cannot_be(
    received: list[int], which: int | None, why: str, run: Run, engine: sa.Engine
) -> None:
    other = 999_999 if which is None else received[which]
    done = run("replay", str(received[0]), str(other))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"freshness: receipt {other} cannot be replayed: {why}")
    assert replays(engine) == []


@pytest.mark.parametrize("args", [[], ["--dry-run"], ["1", "--since", "2h"], ["R000001"]])
def test_receipts_are_named_or_chosen_and_not_both(args: list[str], run: Run) -> None:
    assert run("replay", *args).returncode == 2


def test_what_is_broken_off_between_two_pages_keeps_the_first(received: list[int], engine: sa.Engine) -> None:
    with engine.begin() as conn:
        old = receipts.by_id(conn, received[:2])
    rang: list[Ring] = []
    steps = replaying.replay(engine, RULES, rang.extend, old, page=1)
    assert next(steps).replay_of == old[0]["id"]
    steps.close()
    assert [(ref, outcome) for ref, outcome, _ in replays(engine)] == [("R000001", "dispatched")]
    assert len(rang) == 1
