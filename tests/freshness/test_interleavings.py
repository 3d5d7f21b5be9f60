"""The model explored with the product's own decisions in it; and the seed's rule, which loses changes there."""

from __future__ import annotations

import itertools

import pytest
from interleavings import Explored, Half, Ours, Point, Published, Reading, Ruling, explore

LETTERS = "EXYWVFT"
HISTORIES = ["".join(saves) for n in (1, 2) for saves in itertools.product(LETTERS, repeat=n)]

#: Histories that are small even with every fault, each kind of save among them.
SAMPLE = [*LETTERS, "EX", "XE", "EY", "EE", "XF", "FE", "EW", "XV", "TX"]


def holds(explored: Explored) -> None:
    assert explored.loses is None, "at rest the local copy differs"
    assert explored.lies is None, "a copy that differs calls itself fresh"
    assert explored.goes_back is None, "a number went back"
    assert explored.endless is None, "orders may never end"


@pytest.mark.parametrize("history", HISTORIES)
def test_every_history_of_up_to_two_saves_holds_without_faults(history: str) -> None:
    holds(explore(history, Ours()))


@pytest.mark.parametrize("history", SAMPLE)
def test_a_sample_of_histories_holds_with_every_fault(history: str) -> None:
    holds(explore(history, Ours(), lag=1, dup=1, lost=1))


@pytest.mark.slow
@pytest.mark.parametrize("history", [history for history in HISTORIES if history not in SAMPLE])
def test_every_history_of_up_to_two_saves_holds_with_every_fault(history: str) -> None:
    holds(explore(history, Ours(), lag=1, dup=1, lost=1))


@pytest.mark.parametrize(
    ("history", "how"),
    [
        ("EX", "slices that read apart"),
        ("EW", "an edit inside a capture"),
        ("WE", "an old read over our own write, or an edit inside its capture"),
    ],
)
def test_the_published_rule_loses_a_change_for_good_without_any_fault(history: str, how: str) -> None:
    assert explore(history, Published()).loses is not None, how


class NothingThrownAway(Ours):
    """Lands a read older than what is held."""

    def settle(self, point: Point, half: Half, reading: Reading) -> tuple[bool, bool]:
        away, serves = super().settle(point, half, reading)
        return False, serves and not away


class NoConfirmation(Ours):
    """Trusts what captures vouch for."""

    def confirms(self, point: Point, v: int) -> bool:
        return False


class OwnWritesStayOpen(Ours):
    """Closes no own write, and orders for none."""

    keeps_own_writes = False


@pytest.mark.parametrize(
    ("ruling", "history", "fault"),
    [
        (NothingThrownAway(), "XE", "goes_back"),
        (NoConfirmation(), "EW", "loses"),
        (OwnWritesStayOpen(), "WY", "lies"),
        (OwnWritesStayOpen(), "VY", "loses"),
    ],
)
def test_without_one_of_our_rules_the_explorer_finds_a_fault(ruling: Ruling, history: str, fault: str) -> None:
    assert getattr(explore(history, ruling, lag=1), fault) is not None
