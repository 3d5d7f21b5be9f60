"""The protocol as a small model, and an explorer that tries every interleaving of it.

One MLM file with three fields in two concerns: A holds P, which the portal also writes, and S; C holds K. A history is
a text, a letter a save:

    E  an outsider edits S      W  the portal writes P and captures         F  the portal's save fails
    Y  an outsider edits P      V  the portal writes P and does not capture T  it is applied, but times out
    X  an outsider edits K

Saves come in the history's order; all else comes in any: registrations, webhooks, the reads and commits of slices,
captures, the portal's local half, confirmations. Faults, each once: a webhook doubled, a webhook lost, a read or a
capture from a replica one stamp behind.

What is decided is decided by the product's own functions (`Ours`), not by copies of them; what the ledger does in SQL
beside them (own writes closed, orders placed) is restated here. Stamps are small whole numbers in the model and become
instants at the seam, where every answer is kept. Of orders the model knows only whether a concern has served the newest
and whether a slice took it: then a history that could order without end is a circle, and is found as one.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

from freshness import confirming, guard, settling, state
from freshness.confirming import HeldBy
from freshness.guard import FileNumbers
from freshness.settling import Read, Standing, Terms
from freshness.state import Holding, State

#: No stamp, in the model.
NOTHING = -1

PORTAL = "WVFT"

#: How far a portal's write has come; it has exited from QUEUED on, and waits for its capture.
REGISTERED, SAVED, TIMED_OUT, FAILED, QUEUED = range(5)

_NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
_DAYS_LATER = _NOON + dt.timedelta(days=3)


def _instant(stamp: int) -> dt.datetime | None:
    return None if stamp == NOTHING else _NOON + dt.timedelta(seconds=stamp)


class Write(NamedTuple):
    """A write of the portal that has not ended: which save, how far, and whether it is still open."""

    save: int
    stage: int
    open: bool


class Reading(NamedTuple):
    """A slice at work: the stamp it read, the need its lease fixed, whether that order is still the newest, and whether
    an own write has exited since."""

    stamp: int
    need: int
    newest: bool
    exited: bool


class Half(NamedTuple):
    """One concern of the local file: what it holds, whether it is stale, and its slice at work."""

    held: int
    stale: bool
    reading: Reading | None


class Point(NamedTuple):
    """Everything there is at one moment of a history. `done` counts the saves that have come to MLM, or failed."""

    done: int
    registered: int
    local: tuple[int, int, int]
    mark: int
    captured: int
    wanted: int
    a: Half
    c: Half
    hooks: tuple[int, ...]
    writes: tuple[Write, ...]
    lag: int
    dup: int
    lost: int


class Ruling(Protocol):
    """The rules under trial, over the model's whole numbers."""

    #: Whether own writes are closed, order when they end badly or closed, and a confirmation stands behind all.
    keeps_own_writes: bool

    def decide(self, point: Point, t: int) -> tuple[bool, int, str]:
        """A webhook of stamp t: whether it orders, what `wanted` becomes, and the outcome's name."""
        ...

    def settle(self, point: Point, half: Half, reading: Reading) -> tuple[bool, bool]:
        """A read at its commit: whether it is thrown away, and whether it serves."""
        ...

    def raises_mark(self, concern: str) -> bool:
        """Whether a commit of this concern moves the mark."""
        ...

    def confirms(self, point: Point, v: int) -> bool:
        """Whether a confirmation that reads v orders."""
        ...

    def state(self, point: Point) -> tuple[State, bool]:
        """What the file calls itself, and whether it waits for a confirmation."""
        ...


class Ours:
    """The rules of the product: its own functions, each question asked once."""

    keeps_own_writes = True

    def decide(self, point: Point, t: int) -> tuple[bool, int, str]:
        a, c = point.a, point.c
        return _decide(t, point.wanted, point.captured, a.held, c.held, a.stale, c.stale)

    def settle(self, point: Point, half: Half, reading: Reading) -> tuple[bool, bool]:
        return _settle(reading.stamp, reading.need, half.held, point.captured, point.mark, point.wanted)

    def raises_mark(self, concern: str) -> bool:
        return True

    def confirms(self, point: Point, v: int) -> bool:
        a, c = point.a, point.c
        return _confirms(v, a.held, c.held, a.stale, c.stale, point.mark, point.wanted)

    def state(self, point: Point) -> tuple[State, bool]:
        a, c = point.a, point.c
        under_way = any(not write.open and write.stage != QUEUED for write in point.writes)
        return _state(a.held, c.held, a.stale, c.stale, max(point.mark, point.wanted), under_way)


class Published:
    """The seed's rule: skip what is not newer than the mark; loan fields and captures move it; nothing else is kept."""

    keeps_own_writes = False

    def decide(self, point: Point, t: int) -> tuple[bool, int, str]:
        return t > point.mark, point.wanted, "skip"

    def settle(self, point: Point, half: Half, reading: Reading) -> tuple[bool, bool]:
        return False, True

    def raises_mark(self, concern: str) -> bool:
        return concern == "a"

    def confirms(self, point: Point, v: int) -> bool:
        return False

    def state(self, point: Point) -> tuple[State, bool]:
        return State.STALE if point.a.stale or point.c.stale else State.FRESH, False


@cache
def _decide(t: int, wanted: int, captured: int, a: int, c: int, a_stale: bool, c_stale: bool) -> tuple[bool, int, str]:
    served = [held for held, stale in ((a, a_stale), (c, c_stale)) if not stale]
    numbers = FileNumbers(
        ordered=1,
        wanted=_instant(wanted),
        captured=_instant(captured),
        least_held=_instant(min(a, c)),
        least_held_served=_instant(min(served)) if served else None,
        all_stale=not served,
        unstamped=False,
    )
    decision = guard.decide(_instant(t), numbers)
    return decision.orders, t if decision.wanted else wanted, decision.outcome.value


@cache
def _settle(v: int, need: int, held: int, captured: int, mark: int, wanted: int) -> tuple[bool, bool]:
    read = Read(_instant(v), _DAYS_LATER, _DAYS_LATER)
    now = Standing(_instant(held), _instant(captured), _instant(mark), _NOON, _instant(wanted), _NOON, None)
    settled = settling.settle(Terms(1, _instant(need), None), read, now, resolution_s=0.004, read_lag_s=600)
    assert not settled.new_epoch
    assert settled.racy_due_at is None
    return settled.throw_away, settled.serves


@cache
def _confirms(v: int, a: int, c: int, a_stale: bool, c_stale: bool, mark: int, wanted: int) -> bool:
    shown = _instant(v)
    assert shown is not None
    held = [HeldBy(_instant(a), a_stale, False), HeldBy(_instant(c), c_stale, False)]
    found = confirming.confirm(
        shown, held, mark=_instant(mark), wanted=_instant(wanted), raised_at=_NOON, now=_NOON, read_lag_s=600
    )
    assert not found.new_epoch
    return found.orders


@cache
def _state(a: int, c: int, a_stale: bool, c_stale: bool, newest: int, under_way: bool) -> tuple[State, bool]:
    holdings = [Holding(_instant(a), 0 if a_stale else 1), Holding(_instant(c), 0 if c_stale else 1)]
    word = state.state_of(
        holdings, ordered=1, newest=_instant(newest), deleted=False, unstamped=False, write_under_way=under_way
    )
    return word, state.needs_confirmation(holdings, ordered=1, newest=_instant(newest))


Step = tuple[str, Point]


@dataclass
class Model:
    """The steps that may come next, at any point of one history under one ruling."""

    history: str
    ruling: Ruling

    def __post_init__(self) -> None:
        """What MLM shows at each stamp, and the newest stamp after each save."""
        self.contents = [(0, 0, 0)]
        self.newest = [0]
        for number, letter in enumerate(self.history, start=1):
            p, s, k = self.contents[-1]
            if letter != "F":
                shown = {"E": (p, number, k), "X": (p, s, number)}.get(letter, (number, s, k))
                self.contents.append(shown)
            self.newest.append(len(self.contents) - 1)

    def start(self, lag: int, dup: int, lost: int) -> Point:
        """The file is fresh at stamp 0, and nothing is under way."""
        half = Half(0, False, None)
        return Point(0, 0, (0, 0, 0), 0, NOTHING, NOTHING, half, half, (), (), lag, dup, lost)

    def steps(self, at: Point) -> Iterator[Step]:
        """Every step that may come next. A confirmation needs a file that waits for one, or one that is quiet."""
        quiet = True
        for source in (self._registrations, self._saves, self._exits, self._captures, self._hooks, self._slices):
            for step in source(at):
                quiet = False
                yield step
        yield from self._confirmation(at, quiet)

    def shown(self, at: Point) -> tuple[int, int, int]:
        """What MLM shows now."""
        return self.contents[self.newest[at.done]]

    def _registrations(self, at: Point) -> Iterator[Step]:
        following = self.history[at.registered :]
        ahead = next((i for i, letter in enumerate(following) if letter in PORTAL), None)
        if ahead is None:
            return
        save = at.registered + ahead
        others = any(write.stage != QUEUED for write in at.writes)
        writes = at.writes
        if others and self.ruling.keeps_own_writes:
            writes = tuple(w if w.stage == QUEUED else w._replace(open=False) for w in writes)
        mine = Write(save, REGISTERED, not (others and self.ruling.keeps_own_writes))
        yield f"register {save + 1}", at._replace(registered=save + 1, writes=(*writes, mine))

    def _saves(self, at: Point) -> Iterator[Step]:
        if at.done == len(self.history):
            return
        letter, writes = self.history[at.done], at.writes
        if letter in PORTAL:
            if at.registered <= at.done:
                return
            stage = {"F": FAILED, "T": TIMED_OUT}.get(letter, SAVED)
            writes = tuple(w._replace(stage=stage) if w.save == at.done else w for w in writes)
        stamp = self.newest[at.done + 1]
        hooks = at.hooks if letter == "F" else tuple(sorted((*at.hooks, stamp)))
        registered = max(at.registered, at.done + 1)
        yield f"{letter}@{stamp}", at._replace(done=at.done + 1, registered=registered, hooks=hooks, writes=writes)

    def _exits(self, at: Point) -> Iterator[Step]:
        """The portal's local half and its exit, in one transaction; a bad end is an exit of its own."""
        for write in at.writes:
            if write.stage not in (SAVED, TIMED_OUT, FAILED):
                continue
            rest = tuple(w for w in at.writes if w != write)
            to = at._replace(a=_noting_exit(at.a), c=_noting_exit(at.c)) if self.ruling.keeps_own_writes else at
            if write.stage == SAVED:
                to = to._replace(local=(write.save + 1, *at.local[1:]))
                if self.history[write.save] == "W" and (write.open or not self.ruling.keeps_own_writes):
                    rest = (*rest, write._replace(stage=QUEUED))
            if self.ruling.keeps_own_writes and not (write.stage == SAVED and write.open):
                to = _ordered(to)
            yield f"exit {write.save + 1}", to._replace(writes=rest)

    def _captures(self, at: Point) -> Iterator[Step]:
        for write in at.writes:
            if write.stage != QUEUED:
                continue
            rest = tuple(w for w in at.writes if w != write)
            for v, lag in self._answers(at):
                captured = max(at.captured, v) if write.open and self.ruling.keeps_own_writes else at.captured
                to = at._replace(writes=rest, mark=max(at.mark, v), captured=captured, lag=lag)
                yield f"capture@{v}", to

    def _hooks(self, at: Point) -> Iterator[Step]:
        for t in sorted(set(at.hooks)):
            left = list(at.hooks)
            left.remove(t)
            orders, wanted, outcome = self.ruling.decide(at, t)
            after = _ordered(at._replace(wanted=wanted)) if orders else at
            yield f"webhook {t}: {outcome}", after._replace(hooks=tuple(left))
            if at.dup:
                yield f"webhook {t}: {outcome}, to come again", after._replace(dup=0)
            if at.lost:
                yield f"webhook {t} is lost", at._replace(hooks=tuple(left), lost=0)

    def _slices(self, at: Point) -> Iterator[Step]:
        for name, half in (("a", at.a), ("c", at.c)):
            if half.reading is not None:
                yield self._commit(at, name, half, half.reading)
            elif half.stale:
                need = max(at.wanted, at.mark)
                for v, lag in self._answers(at):
                    reading = Reading(v, need, True, False)
                    yield f"{name} reads {v}", at._replace(**{name: half._replace(reading=reading)}, lag=lag)

    def _commit(self, at: Point, name: str, half: Half, reading: Reading) -> Step:
        away, serves = self.ruling.settle(at, half, reading)
        if away:
            return f"{name} throws {reading.stamp} away", at._replace(**{name: half._replace(reading=None)})
        v, content = reading.stamp, self.contents[reading.stamp]
        writes = at.writes
        if self.ruling.keeps_own_writes:
            writes = tuple(w._replace(open=False) for w in writes)
        to = at._replace(
            **{name: Half(v, not (serves and reading.newest), None)},
            local=(*content[:2], at.local[2]) if name == "a" else (*at.local[:2], content[2]),
            mark=max(at.mark, v) if self.ruling.raises_mark(name) else at.mark,
            writes=writes,
        )
        to = _ordered(to) if reading.exited else to
        return f"{name} lands {v}{'' if serves else ', serving nothing'}", to

    def _confirmation(self, at: Point, quiet: bool) -> Iterator[Step]:
        _, waits = self.ruling.state(at)
        v = self.newest[at.done]
        if (waits or quiet) and self.ruling.confirms(at, v):
            yield f"confirmation@{v}", _ordered(at._replace(mark=max(at.mark, v), wanted=max(at.wanted, v)))

    def _answers(self, at: Point) -> list[tuple[int, int]]:
        """The stamps MLM may answer with, and what is left of the one lagging answer."""
        newest = self.newest[at.done]
        return [(newest, at.lag)] + ([(newest - 1, at.lag - 1)] if at.lag and newest else [])


def _ordered(at: Point) -> Point:
    """An order makes every concern stale, and every slice at work one of an older order."""
    return at._replace(a=_stale(at.a), c=_stale(at.c))


def _stale(half: Half) -> Half:
    reading = half.reading
    return Half(half.held, True, reading._replace(newest=False) if reading is not None else None)


def _noting_exit(half: Half) -> Half:
    return half if half.reading is None else half._replace(reading=half.reading._replace(exited=True))


@dataclass
class Explored:
    """What came of one history. Each fault is the way to it, step by step; None if there is none."""

    history: str
    points: int
    #: At rest, and the local copy differs.
    loses: str | None = None
    #: The copy differs, nothing is under way that could tell, and it calls itself fresh.
    lies: str | None = None
    #: From here one can go round in a circle: rest may never come, and orders never end.
    endless: str | None = None
    #: A number went back.
    goes_back: str | None = None

    @property
    def fault(self) -> str | None:
        """The first thing that does not hold, if any."""
        return self.loses or self.lies or self.endless or self.goes_back


def explore(
    history: str, ruling: Ruling, *, lag: int = 0, dup: int = 0, lost: int = 0, most_points: int = 1_500_000
) -> Explored:
    """Try every interleaving of a history's steps.

    Raises:
        AssertionError: there are more points than `most_points`.
    """
    model = Model(history, ruling)
    points = [model.start(lag, dup, lost)]
    index = {points[0]: 0}
    came: list[tuple[int, str]] = [(0, "")]
    leads: list[list[int]] = []
    found = Explored(history, 0)
    todo = deque([0])
    while todo:
        here = todo.popleft()
        at = points[here]
        leads.append([])
        for label, to in model.steps(at):
            there = index.get(to)
            if there is None:
                there = index[to] = len(points)
                assert there < most_points, f"{history}: more than {most_points} points"
                points.append(to)
                came.append((here, label))
                todo.append(there)
            leads[here].append(there)
            if found.goes_back is None and _goes_back(at, to):
                found.goes_back = f"{_way(came, here)} · {label}"
        if at.local != model.shown(at):
            _judge(model, at, not leads[here], found, came, here, lost)
    found.points = len(points)
    circle = _on_a_circle(leads)
    found.endless = _way(came, circle) if circle is not None else None
    return found


def _judge(
    model: Model, at: Point, rest: bool, found: Explored, came: list[tuple[int, str]], here: int, lost: int
) -> None:
    """Whether a copy that differs is one at rest, or calls itself fresh though every webhook has come."""
    if rest and found.loses is None:
        found.loses = _way(came, here)
    told = not at.hooks and at.lost == lost
    if told and found.lies is None and model.ruling.state(at)[0] is State.FRESH:
        found.lies = _way(came, here)


def _goes_back(at: Point, to: Point) -> bool:
    return (
        to.mark < at.mark
        or to.captured < at.captured
        or to.wanted < at.wanted
        or to.a.held < at.a.held
        or to.c.held < at.c.held
    )


def _on_a_circle(leads: list[list[int]]) -> int | None:
    """A point that can come again, if there is one: what is left when whatever nothing leads to is taken away."""
    into = [0] * len(leads)
    for there in (there for ways in leads for there in ways):
        into[there] += 1
    free = [here for here, count in enumerate(into) if not count]
    while free:
        for there in leads[free.pop()]:
            into[there] -= 1
            if not into[there]:
                free.append(there)
    return next((here for here, count in enumerate(into) if count), None)


def _way(came: list[tuple[int, str]], here: int) -> str:
    steps: list[str] = []
    while here:
        here, label = came[here]
        steps.append(label)
    return " · ".join(reversed(steps))
