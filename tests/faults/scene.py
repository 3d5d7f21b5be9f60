"""What a fault is given, what it gives back, and the course that most take: load, strike, load, rest, reckoning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from threading import Timer
from typing import TextIO

from mlm_client.sandbox.editing import touch

from .account import Account, Sender
from .house import NotWithin, Standing, standing, until
from .load import Load, Portal
from .watching import Doubter, History, Needs, now, rest

#: The load runs so long before the fault, and goes on so long after its end.
BEFORE_S, AFTER_S = 4.0, 5.0
CURRENT_WITHIN_S = 120.0

#: What a line says of a figure that is beyond its limit, beside whatever else fell short.
BEYOND = "beyond its limit"

_NEWEST_RUN = "SELECT coalesce(max(id), 0) FROM slice_runs"

#: Two runs of one slice that were at work at the same time and both landed. No lease allows it.
_BOTH_LANDED = """
SELECT count(*) FROM slice_runs a JOIN slice_runs b USING (file_id, concern)
WHERE a.id > %(since)s AND b.id > a.id AND a.outcome = 'landed' AND b.outcome = 'landed'
  AND a.started_at < b.finished_at AND b.started_at < a.finished_at
"""


_IS_CALIBRATED = "SELECT count(*) FROM stamp_calibration WHERE alike_at IS NOT NULL"


@dataclass
class Line:
    """A line of the table: what was struck, the figure and its limit in words, and whether it was held."""

    fault: str
    struck: str
    figure: str
    limit: str
    held: bool
    #: What else was seen, in words.
    seen: str = ""
    #: What fell short, a line each.
    short: list[str] = field(default_factory=list)
    seconds: float | None = None


@dataclass
class Scene:
    """Everything a strike may use."""

    house: Standing
    account: Account
    sender: Sender
    portal: Portal
    load: Load
    history: History
    doubter: Doubter
    #: Closed once every file is current: what is to last until then.
    until_current: ExitStack
    first_run: int
    noted: list[str] = field(default_factory=list)
    fell_short: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Something seen, for the line."""
        self.noted.append(what)

    def must(self, holds: object, what: str) -> None:
        """Something beside the figure that has to hold; said in words if it does not."""
        if not holds:
            self.fell_short.append(what)

    def line(self, fault: Fault, figure: str, limit: str, within: bool, seconds: float | None = None) -> Line:
        """The fault's line."""
        short = list(self.fell_short) if within else [BEYOND, *self.fell_short]
        return Line(fault.name, fault.struck, figure, limit, not short, "; ".join(self.noted), short, seconds)


#: Strikes, and returns when the fault has ended: when it did, by `time.monotonic`.
Strike = Callable[[Scene], float]


#: What a fault strikes: built with a log to write to, and whether one call to MLM reads all that is stale of a file.
Built = Callable[[TextIO, bool], AbstractContextManager[Standing]]


@dataclass(frozen=True)
class Fault:
    """A fault by name: what is struck in words, how it is run on a house that is at rest, and on which house."""

    name: str
    struck: str
    run: Callable[[Standing, Fault], Line]
    house: Built = standing


def under_load(name: str, struck: str, limit_s: float | None, strike: Strike, even: bool = False) -> Fault:
    """A fault that takes the usual course. `limit_s`: every file current so long after the fault's end."""

    def run(house: Standing, fault: Fault) -> Line:
        with ExitStack() as stack:
            scene = set_up(house, stack, even=even)
            scene.load.start()
            time.sleep(BEFORE_S)
            since = strike(scene)
            ending = Timer(max(0.0, since + AFTER_S - now()), scene.load.stop)
            stack.callback(ending.cancel)
            ending.start()
            seconds = current(scene, since)
            scene.until_current.close()
            time.sleep(max(0.0, since + AFTER_S - now()))
            reckon(scene)
        within = seconds is not None and (limit_s is None or seconds <= limit_s)
        figure = "never" if seconds is None else f"{seconds:.1f} s"
        return scene.line(fault, figure, "–" if limit_s is None else f"{limit_s:g} s", within, seconds)

    return Fault(name, struck, run)


def warm_up(house: Standing) -> None:
    """Let one change come the usual way: until a webhook's stamp has equalled a read's, every webhook orders."""
    with Sender(house, Account()) as sender:
        touch(house.mlm.store, house.mlm.maker, house.refs[0], "loan_fields")
        sender.wait_until_idle()
        until(lambda: house.number(_IS_CALIBRATED), "stamps are calibrated")
    rest(house)


def set_up(house: Standing, stack: ExitStack, *, spared: Iterable[str] = (), even: bool = False) -> Scene:
    """Everything that stands around a fault until the stack closes, the load not started yet."""
    account, portal = Account(), Portal(house)
    stack.callback(portal.close)
    history = History(house, portal)
    stack.callback(history.close)
    sender = stack.enter_context(Sender(house, account))
    doubter = stack.enter_context(Doubter(house))
    load = Load(house, portal, frozenset(spared), even)
    stack.callback(load.stop)
    until_current = stack.enter_context(ExitStack())
    return Scene(house, account, sender, portal, load, history, doubter, until_current, house.number(_NEWEST_RUN))


def current(scene: Scene, since: float, without: Iterable[str] = ()) -> float | None:
    """How long after `since` every file was current; None if one never was. What shows other values falls short."""
    needs = Needs(scene.house, scene.history, without)
    try:
        seconds = needs.seconds_from(since, CURRENT_WITHIN_S)
    except NotWithin:
        scene.note(f"not current: {needs.left()[:5]}")
        return None
    scene.note(f"{len(needs.behind or ())} files to catch up")
    for line in needs.untrue()[:5]:
        scene.must(False, line)
    return seconds


def reckon(scene: Scene) -> None:
    """Stop the load, let everything run out, and hold it against MLM and against the account."""
    scene.load.stop()
    scene.sender.wait_until_idle()
    wrong = rest(scene.house)
    missing = scene.account.missing(scene.house)
    both = scene.house.number(_BOTH_LANDED, since=scene.first_run)
    scene.must(not wrong, f"{len(wrong)} files not equal and fresh at rest, such as {wrong[:3]}")
    scene.must(not missing, f"{len(missing)} entries answered 2xx without a receipt, such as {missing[:3]}")
    scene.must(not scene.doubter.lies, f"{len(scene.doubter.lies)} lies, such as {scene.doubter.lies[:2]}")
    scene.must(not scene.account.refused(), f"{scene.account.refused()} answers were 4xx")
    scene.must(not both, f"{both} times two runs of one slice were at work at once and both landed")
    answers = ", ".join(f"{times} × {status or 'none'}" for status, times in sorted(scene.account.answers.items()))
    scene.note(
        f"{scene.load.edits} edits, {scene.load.writes} own writes; answers {answers}; "
        f"{scene.doubter.fresh} of {scene.doubter.asked} files picked called themselves fresh, and were"
    )
