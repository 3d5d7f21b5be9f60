"""The real ledger on PostgreSQL holds what the protocol promises; under the seed's rule it loses changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Machine, World
from simulated import BORROWERS, CONDITIONS, LOAN_FIELDS
from sqlalchemy import Engine

from freshness import confirming, guard, settling
from freshness.confirming import Confirmation
from freshness.guard import Decision, FileNumbers, Outcome
from freshness.ledger import commits, own_writes
from freshness.settling import Settlement

UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def explore(engine: Engine, *, examples: int, steps: int) -> None:
    machine = type("MachineHere", (Machine,), {"engine": engine})
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=UNHURRIED, database=None
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_the_ledger_holds_what_must_hold(engine: Engine) -> None:
    explore(engine, examples=16, steps=25)


@pytest.mark.slow
def test_the_ledger_holds_what_must_hold_for_long(engine: Engine) -> None:
    explore(engine, examples=120, steps=30)


def slices_read_apart(world: World) -> None:
    """Conditions are read before an edit of them, loan fields after it."""
    world.save(LOAN_FIELDS, 1)
    world.deliver(0, 1)
    world.take(CONDITIONS)
    world.read(0, behind=False)
    world.tick(1)
    world.save(CONDITIONS, 2)
    world.take(LOAN_FIELDS)
    world.read(0, behind=False)
    world.land(1)
    world.deliver(0, 1)
    world.land(0)


def an_edit_inside_a_capture(world: World) -> None:
    """An outsider edits the file before our own write is captured; both stamps are at or below the capture's."""
    world.save(LOAN_FIELDS, 1)
    world.tick(1)
    world.register(BORROWERS, capture=True)
    world.write_to_mlm(0, "well")
    world.tick(0.1)
    world.leave(0)
    world.begin_capture(behind=False)
    world.finish_capture(0)
    world.deliver(0, 1)
    world.deliver(0, 1)


def an_old_read_over_our_own_write(world: World) -> None:
    """A slice that has read before our own write commits after its echo was skipped."""
    world.save(LOAN_FIELDS, 1)
    world.deliver(0, 1)
    world.take(BORROWERS)
    world.read(0, behind=False)
    world.tick(1)
    world.register(BORROWERS, capture=True)
    world.write_to_mlm(0, "well")
    world.tick(0.1)
    world.leave(0)
    world.begin_capture(behind=False)
    world.finish_capture(0)
    world.deliver(0, 1)
    world.land(0)


LOSSES = [slices_read_apart, an_edit_inside_a_capture, an_old_read_over_our_own_write]


@pytest.fixture
def world(engine: Engine) -> World:
    """A file that is fresh and quiet."""
    world = World(engine)
    world.begin("settled")
    return world


@pytest.mark.parametrize("story", LOSSES)
def test_what_the_seed_loses_we_do_not(world: World, story: Callable[[World], None]) -> None:
    story(world)
    world.check()
    world.check_at_rest()


@pytest.mark.parametrize("story", LOSSES)
def test_the_seeds_rule_in_our_place_loses_a_change_for_good(
    world: World, story: Callable[[World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide(t: dt.datetime | None, file: FileNumbers, **more: bool) -> Decision:
        if guard.at_most(t or dt.datetime.max.replace(tzinfo=dt.UTC), world.ledger.number("mark")):
            return Decision(Outcome.HELD, "not newer than the mark")
        return Decision(Outcome.DISPATCHED, guard.NEWER, orders=True, wanted=t)

    monkeypatch.setattr(guard, "decide", decide)
    monkeypatch.setattr(settling, "settle", lambda *terms, **more: Settlement(serves=True))
    # Of what stands behind these two the seed has nothing either: no confirmation, no word of own writes.
    monkeypatch.setattr(confirming, "confirm", lambda *terms, **more: Confirmation())
    monkeypatch.setattr(commits, "_WRITE", commits._WRITE.replace(own_writes.EXITED_SINCE, "false"))
    story(world)
    while world.startable():
        world.run_slices(behind=False)
    assert world.hooks == world.slices == world.writes == world.capturable() == [], "nothing is under way any more"
    assert world.copy() != world.versions[-1].content
    with pytest.raises(AssertionError):
        world.check_at_rest()
