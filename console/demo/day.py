"""The day: the steps in their order, each told as it happens, and a table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import fill

from console.errors import StepFailed
from console.laptop import Laptop
from console.output import lines, say, table

from . import steps
from .scene import Scene

#: What the demo runs with, so that a day takes a minute and a half. Everything else is as it comes.
SETTINGS = {
    "MLM_QUIET": "2",
    "MLM_STAMP_RESOLUTION": "0.004",
    "MLM_RATE": "500",
    "MLM_MAX_CONCURRENCY": "16",
}


@dataclass(frozen=True)
class Told:
    """One step: whether it held, how long it took, and what happened or why it did not hold."""

    number: int
    step: str
    held: bool
    seconds: float
    story: str


def act(laptop: Laptop, as_json: bool) -> bool:
    """Act the day out; True if every step held. The first that does not ends it."""
    scene = Scene.of(laptop)
    deletion = steps.Deletion(scene)
    day: list[tuple[str, Callable[[], str]]] = [
        ("25 files are imported", lambda: steps.import_all(scene)),
        ("A file is deleted in MLM, and is not purged on a webhook's word", deletion.begin),
        ("An outsider's edit in each of the nine concerns lands", lambda: steps.edits(scene)),
        ("An own write with capture is not chased, and is confirmed once quiet", lambda: steps.own_write(scene)),
        ("An outsider's edit inside a capture lands", lambda: steps.edit_inside_capture(scene)),
        ("A write with dependents, not captured, brings back the LTV", lambda: steps.dependents(scene)),
        ("Two edits seconds apart both land, though their slices are read apart", lambda: steps.slices_apart(scene)),
        ("A lead follows its file, and becomes a loan", lambda: steps.lead_to_loan(scene)),
        ("Redis is flushed in mid-work: everything is current again", lambda: steps.redis_flushed(scene)),
        ("The deleted file is purged once MLM has said so twice, a minute apart", deletion.finish),
        ("At the end of the day every copy equals MLM's file", lambda: steps.everything(scene)),
    ]
    told: list[Told] = []
    for number, (step, happens) in enumerate(day, 1):
        if not as_json:
            say(f"\n{number:>2}  {step}")
        told.append(_told(number, step, happens))
        _show(told[-1], as_json)
        if not told[-1].held:
            break
    if not as_json:
        _sum_up(told, len(day))
    return all(each.held for each in told)


def _told(number: int, step: str, happens: Callable[[], str]) -> Told:
    began = time.monotonic()
    try:
        held, story = True, happens()
    except StepFailed as failed:
        held, story = False, str(failed)
    return Told(number, step, held, round(time.monotonic() - began, 2), story)


def _show(told: Told, as_json: bool) -> None:
    if as_json:
        lines(
            [{"step": told.number, "name": told.step, "held": told.held, "seconds": told.seconds, "story": told.story}]
        )
    else:
        head = f"    {'✓' if told.held else '✗'} {told.seconds:>5.1f} s   "
        say(fill(told.story, 110, initial_indent=head, subsequent_indent=" " * len(head)))


def _sum_up(told: list[Told], steps_in_all: int) -> None:
    say("")
    rows = [{"#": each.number, "step": each.step, "held": each.held, "seconds": f"{each.seconds:.1f}"} for each in told]
    table(rows, ["#", "step", "held", "seconds"])
    last = told[-1]
    if last.held:
        say(f"Every step held, in {sum(each.seconds for each in told):.0f} s.")
    else:
        say(f"Step {last.number} of {steps_in_all} did not hold: {last.story}.")
