"""Every interleaving of a small model of one file, with the product's decision functions in it.

The file has three fields in two concerns: A holds P (which the portal writes too) and S, C holds K. A history says who
saves what, in this order:

    S  an outsider edits S        P  an outsider edits P        K  an outsider edits K
    c  the portal writes P and captures                          w  the portal writes P, not captured
    f  the portal's write fails in MLM                           t  it is saved, but the portal hears a timeout

Between the saves everything may happen in any order: webhooks arrive whenever they like, slices read and commit,
captures read, the portal's local half lands. Faults, each once a run: a webhook doubled, a webhook lost, a read or
capture answered by a replica one save behind.

At rest the copy must equal MLM, from every state rest must be reachable, no number may go back, and before the
confirmation a copy that differs must not be called fresh unless its webhook was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .rules import Ours

OUTSIDERS, PORTAL = "SPK", "cwft"
A, C = 0, 1


class Write(NamedTuple):
    """An own write: which save of the history, how far it is, and whether it is still open."""

    save: int
    stage: str  # registered, saved, exited
    is_open: bool


class Reading(NamedTuple):
    """A slice that has read and not committed: its terms and what MLM showed."""

    stamp: int
    order: int
    need: int
    content: tuple[int, int, int]


class World(NamedTuple):
    """MLM, the copy, the ledger, and what is under way. Contents are (P, S, K); a value is the save that set it."""

    versions: tuple[tuple[int, int, int], ...] = ((0, 0, 0),)
    saves: int = 0
    copy: tuple[int, int, int] = (0, 0, 0)
    mark: int = 0
    captured: int = 0
    wanted: int = 0
    ordered: int = 0
    held: tuple[int, int] = (0, 0)
    served: tuple[int, int] = (0, 0)
    reads: tuple[Reading | None, Reading | None] = (None, None)
    webhooks: tuple[int, ...] = ()
    writes: tuple[Write, ...] = ()
    lags: int = 0
    doubles: int = 0
    losses: int = 0

    @property
    def now(self) -> int:
        """The stamp that MLM bears."""
        return len(self.versions) - 1

    @property
    def differs(self) -> bool:
        """Whether the copy is not what MLM has."""
        return self.copy != self.versions[-1]


@dataclass(frozen=True)
class Faults:
    """How often each may happen in a run."""

    lags: int = 0
    doubles: int = 0
    losses: int = 0


@dataclass
class Found:
    """What exploring one history found: a way to each broken rule, if there is one."""

    states: int = 0
    most_orders: int = 0
    loses: str | None = None
    lies: str | None = None
    endless: str | None = None
    goes_back: str | None = None

    @property
    def broken(self) -> str | None:
        """A way to a broken rule; None if all held."""
        return self.loses or self.lies or self.endless or self.goes_back


Step = tuple[str, World]


class Protocol:
    """The product's rules, as steps of the model."""

    def webhook(self, w: World, t: int) -> World:
        """One entry arrives."""
        if Ours.hook(t, w.ordered, w.wanted, w.captured, w.held, w.served):
            return w._replace(ordered=w.ordered + 1, wanted=max(w.wanted, t))
        return w

    def need(self, w: World) -> int:
        """What a slice that begins now needs to read."""
        return max(w.wanted, w.mark)

    def commit(self, w: World, concern: int, read: Reading) -> World:
        """A slice commits what it has read."""
        outcome = Ours.commit(read.stamp, read.need, w.held[concern], w.captured)
        if outcome == "thrown away":
            return w
        served = max(w.served[concern], read.order) if outcome == "served" else w.served[concern]
        return w._replace(
            copy=landed(w.copy, concern, read.content),
            held=put(w.held, concern, read.stamp),
            served=put(w.served, concern, served),
            mark=max(w.mark, read.stamp),
            writes=tuple(write._replace(is_open=False) for write in w.writes),
        )

    def capture(self, w: World, write: Write, v: int) -> World:
        """A capture has read v."""
        captured = max(w.captured, v) if write.is_open else w.captured
        return w._replace(mark=max(w.mark, v), captured=captured)

    def register(self, w: World, save: int) -> World:
        """The portal registers a write; two at once close each other."""
        busy = any(write.stage != "exited" for write in w.writes)
        others = tuple(write if write.stage == "exited" else write._replace(is_open=False) for write in w.writes)
        return w._replace(writes=(*others, Write(save, "registered", not busy)))

    def order(self, w: World) -> World:
        """A write that ended badly, or was closed meanwhile, orders."""
        return w._replace(ordered=w.ordered + 1)

    def confirmation(self, w: World) -> World | None:
        """The stamp alone is read, once all is quiet; None if that changes nothing."""
        if Ours.confirms(w.now, w.ordered, w.mark, w.wanted, w.held, w.served):
            return w._replace(mark=max(w.mark, w.now), wanted=max(w.wanted, w.now), ordered=w.ordered + 1)
        return None

    def calls_it_fresh(self, w: World) -> bool:
        """Whether the file is said to be fresh."""
        return Ours.is_fresh(w.ordered, max(w.mark, w.wanted), w.held, w.served, False)


class Seed(Protocol):
    """The rule as it was asked for: one mark; a newer stamp syncs, A's commit and every capture advance the mark."""

    def webhook(self, w: World, t: int) -> World:
        """Newer than the mark: sync."""
        return w._replace(ordered=w.ordered + 1) if t > w.mark else w

    def commit(self, w: World, concern: int, read: Reading) -> World:
        """Whatever was read lands; the scalar slice's stamp becomes the mark."""
        return w._replace(
            copy=landed(w.copy, concern, read.content),
            held=put(w.held, concern, read.stamp),
            served=put(w.served, concern, max(w.served[concern], read.order)),
            mark=max(w.mark, read.stamp) if concern == A else w.mark,
        )

    def capture(self, w: World, write: Write, v: int) -> World:
        """The capture advances the mark."""
        return w._replace(mark=max(w.mark, v))

    def order(self, w: World) -> World:
        """Nothing is said of a write that ends badly."""
        return w

    def confirmation(self, w: World) -> World | None:
        """There is none."""
        return None

    def calls_it_fresh(self, w: World) -> bool:
        """A file that nothing is queued for is taken for fresh."""
        return min(w.served) >= w.ordered


def landed(copy: tuple[int, int, int], concern: int, content: tuple[int, int, int]) -> tuple[int, int, int]:
    """The copy once a concern's content has landed in it."""
    return (content[0], content[1], copy[2]) if concern == A else (copy[0], copy[1], content[2])


def put(pair: tuple, place: int, value: object) -> tuple:
    """The pair with another value in one place."""
    return (value, pair[1]) if place == 0 else (pair[0], value)


def steps(w: World, history: str, rules: Protocol) -> Iterator[Step]:
    """Everything that may happen next, but for the confirmation."""
    yield from _saves(w, history, rules)
    yield from _exits_and_captures(w, history, rules)
    yield from _webhooks(w, rules)
    for concern in (A, C):
        yield from _slice(w, concern, rules)


def _saves(w: World, history: str, rules: Protocol) -> Iterator[Step]:
    registered = {write.save for write in w.writes}
    ahead = next((j for j in range(w.saves, len(history)) if history[j] in PORTAL and j not in registered), None)
    if ahead is not None and (ahead == w.saves or not w.writes):
        yield f"register {ahead + 1}", rules.register(w, ahead)
    if w.saves == len(history):
        return
    who, number = history[w.saves], w.saves + 1
    p, s, k = w.versions[-1]
    content = {"S": (p, number, k), "K": (p, s, number)}.get(who, (number, s, k))
    after = w._replace(saves=number)
    saved = after._replace(versions=(*w.versions, content), webhooks=tuple(sorted((*w.webhooks, w.now + 1))))
    if who in OUTSIDERS:
        yield f"{who}@{w.now + 1}", saved
        return
    write = next((x for x in w.writes if x.save == w.saves and x.stage == "registered"), None)
    if write is None:
        return
    rest = tuple(x for x in w.writes if x != write)
    if who == "f":
        yield "write fails", rules.order(after._replace(writes=rest))
    elif who == "t":
        yield f"times out@{w.now + 1}", rules.order(saved._replace(writes=rest))
    else:
        yield f"{who}@{w.now + 1}", saved._replace(writes=_sorted((*rest, write._replace(stage="saved"))))


def _exits_and_captures(w: World, history: str, rules: Protocol) -> Iterator[Step]:
    for write in w.writes:
        rest = tuple(x for x in w.writes if x != write)
        if write.stage == "saved":
            stays = (write._replace(stage="exited"),) if history[write.save] == "c" and write.is_open else ()
            after = w._replace(copy=(write.save + 1, *w.copy[1:]), writes=_sorted((*rest, *stays)))
            if isinstance(rules, Seed) and history[write.save] == "c":
                after = after._replace(writes=_sorted((*rest, write._replace(stage="exited"))))
            yield f"local half {write.save + 1}", after if write.is_open else rules.order(after)
        elif write.stage == "exited":
            for v, lags in _shown(w):
                yield f"capture@{v}", rules.capture(w._replace(writes=rest, lags=lags), write, v)


def _webhooks(w: World, rules: Protocol) -> Iterator[Step]:
    for t in sorted(set(w.webhooks)):
        rest = list(w.webhooks)
        rest.remove(t)
        gone = w._replace(webhooks=tuple(rest))
        yield f"webhook {t}", rules.webhook(gone, t)
        if w.doubles:
            yield f"webhook {t}, to come again", rules.webhook(w._replace(doubles=w.doubles - 1), t)
        if w.losses:
            yield f"webhook {t} is lost", gone._replace(losses=w.losses - 1)


def _slice(w: World, concern: int, rules: Protocol) -> Iterator[Step]:
    name, read = "AC"[concern], w.reads[concern]
    if read is not None:
        yield f"commit {name}@{read.stamp}", rules.commit(w._replace(reads=put(w.reads, concern, None)), concern, read)
    elif w.served[concern] < w.ordered:
        for v, lags in _shown(w):
            begun = Reading(v, w.ordered, rules.need(w), w.versions[v])
            yield f"read {name}@{v}", w._replace(reads=put(w.reads, concern, begun), lags=lags)


def _shown(w: World) -> Iterator[tuple[int, int]]:
    """What MLM may answer now, and how many lags are left then."""
    yield w.now, w.lags
    if w.lags and w.now:
        yield w.now - 1, w.lags - 1


def _sorted(writes: tuple[Write, ...]) -> tuple[Write, ...]:
    return tuple(sorted(writes))


def explore(history: str, rules: Protocol, faults: Faults, most_states: int = 3_000_000) -> Found:
    """Try every interleaving of one history."""
    first = World(lags=faults.lags, doubles=faults.doubles, losses=faults.losses)
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    before: dict[World, list[World]] = {}
    rests: list[World] = []
    found, waiting = Found(), deque([first])
    while waiting:
        w = waiting.popleft()
        following = list(steps(w, history, rules))
        if not following:
            if w.differs and w.losses == faults.losses and rules.calls_it_fresh(w):
                found.lies = found.lies or _way(came_from, w)
            confirmed = rules.confirmation(w)
            if confirmed is not None:
                following = [("confirmation", confirmed)]
            else:
                rests.append(w)
                if w.differs:
                    found.loses = found.loses or _way(came_from, w)
        for label, after in following:
            if _goes_back(w, after):
                found.goes_back = found.goes_back or f"{_way(came_from, w)} · {label}"
            before.setdefault(after, []).append(w)
            if after not in came_from:
                came_from[after] = (w, label)
                waiting.append(after)
        if len(came_from) > most_states:
            raise AssertionError(f"{history}: more than {most_states} states")
    found.states = len(came_from)
    found.most_orders = max(w.ordered for w in came_from)
    stuck = set(came_from) - _reaching(rests, before)
    found.endless = _way(came_from, next(iter(stuck))) if stuck else None
    return found


def _goes_back(w: World, after: World) -> bool:
    pairs = ((w.mark, after.mark), (w.captured, after.captured), (w.wanted, after.wanted), (w.ordered, after.ordered))
    return any(now < then for then, now in (*pairs, *zip(w.held, after.held), *zip(w.served, after.served)))  # noqa: B905


def _reaching(rests: list[World], before: dict[World, list[World]]) -> set[World]:
    fine, waiting = set(rests), list(rests)
    while waiting:
        for w in before.get(waiting.pop(), ()):
            if w not in fine:
                fine.add(w)
                waiting.append(w)
    return fine


def _way(came_from: dict[World, tuple[World, str] | None], w: World) -> str:
    labels = []
    while (step := came_from[w]) is not None:
        w, label = step
        labels.append(label)
    return " · ".join(reversed(labels))
