"""The protocol holds in every interleaving of a small model; the seed's rule does not."""

from __future__ import annotations

from itertools import product

import pytest

from .explorer import OUTSIDERS, PORTAL, Faults, Protocol, Reading, Seed, World, explore, put

KINDS = OUTSIDERS + PORTAL
HISTORIES = [*KINDS, *("".join(pair) for pair in product(KINDS, repeat=2))]

ALL_FAULTS = {
    "no fault": Faults(),
    "a webhook doubled": Faults(doubles=1),
    "an answer from a replica behind": Faults(lags=1),
    "a webhook lost": Faults(losses=1),
    "all at once": Faults(lags=1, doubles=1, losses=1),
}

#: Of each kind of trouble one: the three losses of the seed's rule, two own writes at once, bad ends.
SAMPLE = ["SK", "Sc", "cP", "cc", "cw", "tS", "fP", "wK"]


@pytest.mark.parametrize("fault", [name for name in ALL_FAULTS if name != "all at once"])
@pytest.mark.parametrize("history", SAMPLE)
def test_a_sample_of_histories_keeps_every_rule(history: str, fault: str) -> None:
    found = explore(history, Protocol(), ALL_FAULTS[fault])

    assert found.broken is None


@pytest.mark.parametrize("history", ["Sc", "cK"])
def test_histories_with_all_faults_at_once_keep_every_rule(history: str) -> None:
    found = explore(history, Protocol(), ALL_FAULTS["all at once"])

    assert found.broken is None


@pytest.mark.parametrize(
    ("history", "why"),
    [
        ("SK", "slices that read apart"),
        ("Sc", "an edit inside a capture"),
        ("cK", "a scalar slice that vouches for its sibling"),
    ],
)
def test_the_seeds_rule_loses_a_change_without_any_fault(history: str, why: str) -> None:
    found = explore(history, Seed(), Faults())

    assert found.loses is not None, why


def test_the_seeds_rule_loses_most_histories_that_meet_a_replica_behind() -> None:
    losing = [history for history in KINDS if explore(history, Seed(), Faults(lags=1)).loses]

    assert len(losing) > len(KINDS) / 2


class NoConfirmation(Protocol):
    """The protocol without its backstop."""

    def confirmation(self, w: World) -> World | None:
        """Nobody looks."""
        return None


class OlderReadsLand(Protocol):
    """The protocol, but that an older read lands over a newer one."""

    def commit(self, w: World, concern: int, read: Reading) -> World:
        """Lands whatever was read."""
        return super().commit(w._replace(held=put(w.held, concern, 0)), concern, read)


@pytest.mark.parametrize(
    ("rules", "history", "faults"),
    [
        (NoConfirmation(), "Sc", Faults()),
        (OlderReadsLand(), "SS", Faults(lags=1)),
    ],
)
def test_a_protocol_without_one_of_its_rules_is_found_out(rules: Protocol, history: str, faults: Faults) -> None:
    found = explore(history, rules, faults)

    assert found.broken is not None


@pytest.mark.slow
@pytest.mark.parametrize("fault", ALL_FAULTS)
def test_every_history_of_up_to_two_saves_keeps_every_rule(fault: str) -> None:
    most_orders = 0
    for history in HISTORIES:
        found = explore(history, Protocol(), ALL_FAULTS[fault])
        assert found.broken is None, history
        most_orders = max(most_orders, found.most_orders)

    assert most_orders <= 4, "finitely many saves cause few orders"
