"""A file's time line as a picture: webhooks, own writes, captures, echoes, orders and slices on one axis.

Things happen to a file in bursts with hours between. So the axis is linear within a burst and broken between two, with
the gap written at the break; the newest bursts are shown. Made of times and fixed words alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from freshness.guard import Outcome

from ..cells import span

#: A pause longer than this breaks the axis.
BREAK = dt.timedelta(seconds=10)
MOST_BURSTS = 5

#: So wide that its time stands below it.
LEAST_WIDTH = 118

LANES = ("webhooks", "echoes", "own writes", "captures", "orders", "slices")

WIDTH, LEFT, RIGHT, TOP, LANE, GAP, FOOT = 1000, 92, 14, 14, 26, 34, 34

#: Slices overlap: they are drawn on so many lines of their lane, each below the last.
SLICE_LINES = 3


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: on which lane, from when to when, in which colour, and its words."""

    lane: str
    at: dt.datetime
    until: dt.datetime | None
    tone: str
    said: str


def marks(trails: Mapping[str, Sequence[Mapping[str, Any]]], now: dt.datetime) -> list[Mark]:
    """What a file's trails show, oldest first."""
    found = []
    for each in trails["receipts"]:
        echo = each["outcome"] == Outcome.OWN_ECHO
        colour = {"dispatched": "blue", "own_echo": "violet"}.get(each["outcome"], "off")
        said = f"webhook {each['event_type'] or ''}: {each['outcome'].replace('_', ' ')}"
        found.append(Mark("echoes" if echo else "webhooks", each["received_at"], None, colour, said))
    for each in trails["own_writes"]:
        end = each["exited_at"] or each["abandoned_at"]
        colour = "violet" if each["exited_well"] or end is None else "bad"
        found.append(Mark("own writes", each["registered_at"], end or now, colour, f"own write {each['id']}"))
        if each["captured_at"]:
            found.append(Mark("captures", each["captured_at"], None, "violet", f"capture of own write {each['id']}"))
    for each in trails["orders"]:
        found.append(Mark("orders", each["placed_at"], None, "blue", f"order {each['number']}: {each['cause']}"))
    for each in trails["runs"]:
        good = each["outcome"].startswith("landed")
        said = f"{each['concern'].replace('_', ' ')}: {each['outcome']}"
        found.append(Mark("slices", each["started_at"], each["finished_at"], "good" if good else "bad", said))
    return sorted(found, key=lambda mark: mark.at)


def picture(shown: Sequence[Mark], now: dt.datetime) -> Markup | None:
    """The picture, as SVG; None if nothing has happened yet."""
    bursts = _bursts(shown)
    if not bursts:
        return None
    left_out, bursts = len(bursts) - MOST_BURSTS, bursts[-MOST_BURSTS:]
    scale = _Scale(bursts, now)
    height = TOP + LANE * (len(LANES) + 1) + FOOT
    parts = [*_lanes(scale, height), *_breaks(scale, bursts, height, now)]
    line = 0
    for burst in bursts:
        for mark in burst.marks:
            y = TOP + LANE * LANES.index(mark.lane) + LANE / 2
            if mark.lane == "slices":
                y, line = y - 6 + 15 * (line % SLICE_LINES), line + 1
            parts.append(_mark(mark, scale, y))
    said = f"Time line of {sum(len(burst.marks) for burst in bursts)} events in {len(bursts)} bursts"
    if left_out > 0:
        said += f"; {left_out} older bursts are not shown"
    return Markup('<svg class="timeline" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, height, said, Markup("").join(parts)
    )


@dataclass(frozen=True, slots=True)
class _Burst:
    begin: dt.datetime
    end: dt.datetime
    marks: Sequence[Mark]


class _Scale:
    """Where a moment of a burst stands. Each burst has a share of the width by how much happened in it."""

    def __init__(self, bursts: Sequence[_Burst], now: dt.datetime) -> None:
        room = WIDTH - LEFT - RIGHT - (GAP + LEAST_WIDTH) * len(bursts)
        weights = [2 + min(len(burst.marks), 24) for burst in bursts]
        self.places: list[tuple[_Burst, float, float]] = []
        x = float(LEFT)
        for burst, weight in zip(bursts, weights, strict=True):
            width = LEAST_WIDTH + room * weight / sum(weights)
            self.places.append((burst, x, width))
            x += width + GAP

    def x(self, moment: dt.datetime) -> float:
        for burst, left, width in reversed(self.places):
            if moment >= burst.begin or burst is self.places[0][0]:
                length = max((burst.end - burst.begin).total_seconds(), 0.05)
                part = (moment - burst.begin).total_seconds() / length
                return left + 6 + (width - 12) * min(max(part, 0.0), 1.0)
        raise AssertionError("there is a first burst")


def _bursts(shown: Sequence[Mark]) -> list[_Burst]:
    bursts: list[_Burst] = []
    for mark in shown:
        end = mark.until or mark.at
        if bursts and mark.at - bursts[-1].end <= BREAK:
            last = bursts[-1]
            bursts[-1] = _Burst(last.begin, max(last.end, end), [*last.marks, mark])
        else:
            bursts.append(_Burst(mark.at, end, [mark]))
    return bursts


def _lanes(scale: _Scale, height: int) -> list[Markup]:
    parts = []
    for number, name in enumerate(LANES):
        y = TOP + LANE * number
        tall = LANE * (2 if name == "slices" else 1)
        if number % 2 == 0:
            parts.append(_svg("rect", x=0, y=y, width=WIDTH, height=tall, klass="lane"))
        parts.append(_svg("text", name, x=8, y=y + LANE / 2 + 4, klass="label"))
    return parts


def _breaks(scale: _Scale, bursts: Sequence[_Burst], height: int, now: dt.datetime) -> list[Markup]:
    parts = []
    bottom = height - FOOT
    for number, (burst, left, width) in enumerate(scale.places):
        parts.append(_svg("line", x1=left, y1=TOP, x2=left, y2=bottom, klass="edge"))
        parts.append(_svg("line", x1=left + width, y1=TOP, x2=left + width, y2=bottom, klass="edge"))
        begin = burst.begin.astimezone(dt.UTC)
        same_day = number > 0 and begin.date() == scale.places[number - 1][0].begin.astimezone(dt.UTC).date()
        parts.append(
            _svg(
                "text",
                begin.strftime("%H:%M:%SZ" if same_day else "%m-%d %H:%M:%SZ"),
                x=left,
                y=bottom + 14,
                klass="tick",
            )
        )
        lasted = burst.end - burst.begin
        if lasted > dt.timedelta(milliseconds=1):
            parts.append(_svg("text", f"lasts {span(lasted)}", x=left, y=bottom + 28, klass="tick faint"))
        after = bursts[number + 1].begin if number + 1 < len(bursts) else now
        middle, pause = left + width + GAP / 2, after - burst.end
        if number + 1 < len(bursts) or pause > BREAK:
            parts.append(_svg("text", "⋯", x=middle, y=TOP + 12, klass="tick middle"))
            parts.append(_svg("text", span(pause), x=middle, y=TOP + 26, klass="tick middle faint"))
    return parts


def _mark(mark: Mark, scale: _Scale, y: float) -> Markup:
    x = scale.x(mark.at)
    if mark.until is not None:
        width = max(scale.x(mark.until) - x, 4)
        shape = _svg("rect", x=x, y=y - 5, width=width, height=10, rx=3, klass=f"mark {mark.tone}", title=_said(mark))
    elif mark.lane == "orders":
        points = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
        shape = _svg("polygon", points=points, klass=f"mark {mark.tone}", title=_said(mark))
    else:
        shape = _svg("circle", cx=x, cy=y, r=5, klass=f"mark {mark.tone}", title=_said(mark))
    return shape


def _said(mark: Mark) -> str:
    at = mark.at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    return f"{at} {mark.said}" + (f", took {span(mark.until - mark.at)}" if mark.until else "")


def _svg(name: str, text: str = "", *, klass: str, title: str | None = None, **attributes: float | str) -> Markup:
    """One element. What is text is escaped; numbers are rounded."""
    inner = Markup("<title>{}</title>").format(title) if title is not None else Markup("{}").format(text)
    told = Markup(" ").join(
        Markup('{}="{}"').format(key, f"{value:.1f}" if isinstance(value, float) else value)
        for key, value in attributes.items()
    )
    return Markup('<{0} class="{1}" {2}>{3}</{0}>').format(name, klass, told, inner)
