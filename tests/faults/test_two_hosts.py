"""Two hosts' worth of receivers, workers and schedulers against one PostgreSQL and one Redis, in network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from .hosts import TwoHosts, two_hosts
from .network import why_not
from .on_hosts import host_cut_off, upgraded, upgraded_from
from .scene import BEYOND, Fault, Line, warm_up

FILES = 24
#: Longer than a lease stands without its worker's beat (6 s); shorter than in `make faults`.
CUT_OFF_S = 9.0
#: Enough deliveries for a percentile. That it has a limit is test_upgraded's matter: here others use the processor too.
STEADY_S = 5.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoHosts]:
    if missing := why_not():
        pytest.skip(missing)
    with (tmp_path_factory.mktemp("two-hosts") / "log").open("w") as log, two_hosts(log, files=FILES) as house:
        warm_up(house)
        yield house


def test_nothing_is_lost_or_shown_stale_when_one_of_two_hosts_is_cut_off_and_returns(house: TwoHosts) -> None:
    line = _struck(house, Fault("host-cut-off", "a host", partial(host_cut_off, CUT_OFF_S)))

    assert not set(line.short) - {BEYOND}, line.seen


def test_nothing_is_lost_when_both_hosts_are_upgraded_from_older_code_in_turn_under_load(house: TwoHosts) -> None:
    line = _struck(house, Fault("rolling-upgrade", "both hosts", partial(upgraded, upgraded_from(), STEADY_S)))

    assert not set(line.short) - {BEYOND}, line.seen


def _struck(house: TwoHosts, fault: Fault) -> Line:
    return fault.run(house, fault)
