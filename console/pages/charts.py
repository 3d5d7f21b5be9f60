"""Charts as inline SVG, made of numbers and fixed words. Pure; colours are the stylesheet's, by class.

Each has its words beside it in the page, so nothing is said by colour alone.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, TOP, FOOT = 640, 150, 76, 10, 22


@dataclass(frozen=True, slots=True)
class Series:
    """One row of values, one for each step of time (None: there is none), its name and its colour's class."""

    name: str
    tone: str
    values: Sequence[float | None]


def bars(series: Sequence[Series], begin: dt.datetime, step_s: float, said: str) -> Markup:
    """Stacked bars, the first series at the bottom."""
    totals = [sum(each or 0 for each in column) for column in zip(*(one.values for one in series), strict=True)]
    most = nice(max(totals, default=0))
    steps = max(len(totals), 1)
    width = (WIDTH - LEFT) / steps
    parts = _grid([0, most / 2, most], most, lambda value: f"{value:,.0f}" if most >= 2 else f"{value:g}")
    for number in range(len(totals)):
        base = 0.0
        for one in series:
            value = one.values[number] or 0
            if value:
                top, bottom = _y(base + value, most), _y(base, most)
                parts.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        f"fill {one.tone}",
                        LEFT + number * width + 0.5,
                        top,
                        max(width - 1, 0.7),
                        max(bottom - top, 0.8),
                    )
                )
                base += value
    return _chart(parts, begin, step_s, steps, said)


def lines(series: Sequence[Series], begin: dt.datetime, step_s: float, said: str) -> Markup:
    """Lines over a logarithmic axis of seconds, which is what lengths of time from milliseconds to hours need."""
    known = [value for one in series for value in one.values if value is not None and value > 0]
    low = 10 ** math.floor(math.log10(max(min(known, default=0.1), 0.001)))
    high = 10 ** math.ceil(math.log10(max(max(known, default=1.0), low * 10)))
    decades = round(math.log10(high / low))

    def y(value: float) -> float:
        part = math.log10(max(value, low) / low) / decades
        return HEIGHT - FOOT - part * (HEIGHT - FOOT - TOP)

    parts = []
    for exponent in range(decades + 1):
        value = low * 10**exponent
        parts.append(_rule(y(value)))
        parts.append(_text(LEFT - 6, y(value) + 3.5, _seconds(value), "end"))
    steps = max((len(one.values) for one in series), default=1)
    width = (WIDTH - LEFT) / max(steps, 1)
    for one in series:
        for run in _runs(one.values):
            points = " ".join(f"{LEFT + (number + 0.5) * width:.1f},{y(value):.1f}" for number, value in run)
            if len(run) == 1:
                x, _, at = points.partition(",")
                parts.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="2"/>').format(one.tone, x, at))
            else:
                parts.append(Markup('<polyline class="line {}" points="{}"/>').format(one.tone, points))
    return _chart(parts, begin, step_s, steps, said)


def nice(value: float) -> float:
    """The least of 1, 2, 5, 10, 20, … that is not below the value."""
    if value <= 1:
        return 1
    unit = float(10 ** math.floor(math.log10(value)))
    return next(unit * step for step in (1, 2, 5, 10) if unit * step >= value)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """The stretches without a gap."""
    runs: list[list[tuple[int, float]]] = [[]]
    for number, value in enumerate(values):
        if value is not None:
            runs[-1].append((number, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _grid(values: Sequence[float], most: float, said: Callable[[float], str]) -> list[Markup]:
    parts = []
    for value in values:
        parts.append(_rule(_y(value, most)))
        parts.append(_text(LEFT - 6, _y(value, most) + 3.5, said(value), "end"))
    return parts


def _chart(parts: Sequence[Markup], begin: dt.datetime, step_s: float, steps: int, said: str) -> Markup:
    axis = []
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = begin + dt.timedelta(seconds=step_s * steps * part)
        anchor = "start" if part == 0 else "end" if part == 1 else "middle"
        x = LEFT + (WIDTH - LEFT) * part
        axis.append(_text(x, HEIGHT - 6, at.astimezone(dt.UTC).strftime("%H:%MZ"), anchor))
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, said, Markup("").join([*parts, *axis])
    )


def _y(value: float, most: float) -> float:
    return HEIGHT - FOOT - value / most * (HEIGHT - FOOT - TOP)


def _rule(y: float) -> Markup:
    return Markup('<line class="rule" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(LEFT, WIDTH, y, y)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, text)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.0f} s"
