"""The picture of a group: a panel a row, a dot a round, a line at the median, ours above whom it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .table import Row, Series, number

WIDTH, LABELS, RIGHT = 860, 190, 40
HEAD, LANE, FOOT = 40, 30, 46
INK, FAINT, OURS, THEIRS = "#24292f", "#d0d7de", "#0969da", "#bc4c00"
_SPAN = WIDTH - LABELS - RIGHT


def picture(rows: Sequence[Row]) -> str:
    """An SVG of its own size, on white, its text as text."""
    panels, top = [], 0
    for row in rows:
        panels.append(f'<g transform="translate(0 {top})">{_panel(row)}</g>')
        top += _height(row)
    style = f"font-family:system-ui,sans-serif;font-size:13px;fill:{INK}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}"'
    return "\n".join(
        [f'{head} style="{style}">', '<rect width="100%" height="100%" fill="white"/>', *panels, "</svg>\n"]
    )


def _lanes(row: Row) -> list[tuple[Series, str]]:
    return [(row.ours, OURS), *([(row.theirs, THEIRS)] if row.theirs else [])]


def _height(row: Row) -> int:
    return HEAD + LANE * len(_lanes(row)) + FOOT


def _panel(row: Row) -> str:
    lanes = _lanes(row)
    step = _step(max(max(series.values) for series, _ in lanes))
    last = step * (int(max(max(series.values) for series, _ in lanes) / step) + 1)
    bottom = HEAD + LANE * len(lanes)
    verdict = f"{number(row.compared.median)} — mark {row.mark}: {'held' if row.held else 'missed'}"
    parts = [_text(12, 24, f"{row.what}, {row.unit}", "font-weight:600"), _text(WIDTH - 12, 24, verdict, end=True)]
    for tick in range(round(last / step) + 1):
        at = _across(tick * step, last)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{HEAD}" y2="{bottom}" stroke="{FAINT}"/>')
        parts.append(_text(at, bottom + 18, number(tick * step) if tick else "0", "font-size:11px", middle=True))
    for lane, (series, colour) in enumerate(lanes):
        middle = HEAD + LANE * lane + LANE / 2
        parts.append(_text(LABELS - 12, middle + 4, series.label, end=True))
        parts += [
            f'<circle cx="{_across(value, last):.1f}" cy="{middle}" r="5" fill="{colour}" fill-opacity="0.45"/>'
            for value in series.values
        ]
        at = _across(series.median, last)
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 11}" y2="{middle + 11}" stroke="{colour}"'
            ' stroke-width="2.5"/>'
        )
    return "".join(parts)


def _step(most: float) -> float:
    """A round number of which some four to eight reach to the most."""
    power = 1.0
    while power * 10 <= most:
        power *= 10
    while power > most:
        power /= 10
    return next(power * part for part in (0.2, 0.5, 1, 2) if most / (power * part) <= 8)


def _across(value: float, last: float) -> float:
    return LABELS + _SPAN * value / last


def _text(x: float, y: float, text: str, style: str = "", *, end: bool = False, middle: bool = False) -> str:
    anchor = "end" if end else "middle" if middle else "start"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{escape(text)}</text>'
