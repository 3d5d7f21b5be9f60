"""Few files under way when MLM goes away, or a bad one: others tell which it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import pytest
from in_process import InProcess

from freshness.bell import Ring, Work
from jobs.circuit import DOUBTED_KEY, FAILED_KEY, OPEN_KEY, circuit_state
from mlm_client.sandbox.server import SandboxServer

ONE, TWO, *OTHERS = (f"R{number:06d}" for number in range(1, 5))
TRIED = "SELECT max(attempts) AS most FROM file_concerns"


@pytest.fixture
def mlm() -> Iterator[SandboxServer]:
    with SandboxServer(files=4) as server:
        yield server


@pytest.fixture
def here(environment: dict[str, str], mlm: SandboxServer) -> Iterator[InProcess]:
    """A worker and a schedule without rounds, polls and audits: these tick for themselves."""
    here = InProcess(environment, mlm)
    yield here
    here.close()


def fails(here: InProcess, ref: str) -> None:
    """The file's slices are read, in vain."""
    here.mlm.dials.patch(outage="html502")
    here.order(ref)
    here.work()
    assert circuit_state(here.redis).state == "closed"


def asked(here: InProcess) -> list[Ring]:
    """What the sweep has asked MLM for beside what is due."""
    here.queue.clear()
    here.sweeper.ring_what_is_due()
    return [ring for ring in here.queue if ring.work is Work.CONFIRM]


@pytest.mark.parametrize("under_way", [(ONE,), (ONE, TWO)])
def test_one_file_or_two_under_way_suffice_to_find_that_mlm_is_away(here: InProcess, under_way: tuple[str]) -> None:
    here.import_(ONE, TWO, *OTHERS)
    for ref in under_way:
        fails(here, ref)
    here.sweeper.ring_what_is_due()
    here.work()
    assert circuit_state(here.redis).state == "open"

    calls = here.mlm.calls.total
    for _ in range(30):  # ten minutes
        here.later(20)
        here.redis.hset(OPEN_KEY, "probe_at", 2**52)  # no window is over, by Redis' clock
        here.sweeper.ring_what_is_due()
        here.work()
    assert here.mlm.calls.total == calls
    assert here.rows(TRIED)[0].most == 1

    here.mlm.dials.patch(outage="")
    here.redis.hset(OPEN_KEY, "probe_at", 1)
    here.house.pacer._away_until = 0.0
    here.settle()
    assert {here.state(ref) for ref in under_way} == {"fresh"}


def test_bad_files_open_nothing_while_others_are_answered_and_cost_these_little(here: InProcess) -> None:
    here.import_(ONE, TWO, *OTHERS)
    for _ in range(5):
        fails(here, ONE)
        fails(here, TWO)
        here.mlm.dials.patch(outage="")  # but for these two
        here.mlm.calls.clear()
        here.redis.delete(DOUBTED_KEY)  # half a minute later
        here.queue = deque(asked(here))
        assert len(here.queue) == 1
        here.work()
        assert here.mlm.calls.total == 1
        assert (circuit_state(here.redis).state, circuit_state(here.redis).failures) == ("closed", 0)


def test_while_a_bad_file_goes_on_failing_others_are_asked_for_once_in_half_a_minute(here: InProcess) -> None:
    here.import_(ONE, TWO, *OTHERS)
    fails(here, ONE)
    assert [len(asked(here)) for _ in range(3)] == [2, 0, 0]
    assert 0 < here.redis.pttl(DOUBTED_KEY) <= 30_000


def test_two_failures_raise_no_doubt(here: InProcess) -> None:
    here.import_(ONE, TWO, *OTHERS)
    here.redis.hset(FAILED_KEY, ONE, 2)
    assert not asked(here)


def test_a_house_that_has_no_other_file_asks_for_none(here: InProcess) -> None:
    here.import_(ONE)
    fails(here, ONE)
    assert not asked(here)
