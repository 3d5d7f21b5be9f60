"""Pictures are made of numbers and fixed words: whatever a trail says is escaped, and every moment has its place."""

from __future__ import annotations

import datetime as dt
import re
from xml.etree import ElementTree

import pytest

from console.pages import charts, timeline
from console.pages.charts import Series
from console.pages.timeline import Mark

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def test_a_trail_that_looks_like_markup_stays_text() -> None:
    evil = '<script>alert(1)</script>" onload="x'
    drawn = timeline.picture([Mark("orders", at(9), None, "blue", evil)], NOW)
    tree = ElementTree.fromstring(str(drawn))
    assert evil in "".join(tree.itertext())
    assert "script" not in {element.tag for element in tree.iter()}


def test_within_a_burst_later_is_further_right_and_bursts_stand_in_order() -> None:
    marks = [Mark("orders", at(s), None, "blue", str(s)) for s in (7200, 7199, 7195, 60, 59.5)]
    drawn = str(timeline.picture(marks, NOW))
    places = [float(x) for x in re.findall(r'points="([\d.]+),', drawn)]
    assert places == sorted(places)
    assert len(set(places)) == 5


def test_of_many_bursts_the_newest_are_shown_and_the_rest_is_said() -> None:
    marks = [Mark("webhooks", at(3600 * s), None, "blue", "") for s in range(9, 0, -1)]
    drawn = str(timeline.picture(marks, NOW))
    assert drawn.count("<circle") == timeline.MOST_BURSTS
    assert "4 older bursts are not shown" in drawn


def test_nothing_has_no_picture() -> None:
    assert timeline.picture([], NOW) is None


@pytest.mark.parametrize("values", [[0, 0, 0], [1, 2, 3], [0.001, None, 90000], [None, None, None]])
def test_a_chart_of_whatever_numbers_is_sound(values: list[float | None]) -> None:
    series = [Series("a", "good", values), Series("b", "bad", values)]
    for draw in (charts.bars, charts.lines):
        tree = ElementTree.fromstring(str(draw(series, NOW, 60, "said")))
        numbers = [float(n) for e in tree.iter() for k, n in e.attrib.items() if k in ("x", "y", "width", "height")]
        assert all(-1 <= number <= charts.WIDTH for number in numbers)


def test_stacked_bars_are_as_high_as_what_they_count() -> None:
    tree = ElementTree.fromstring(str(charts.bars([Series("a", "x", [5]), Series("b", "y", [5])], NOW, 60, "")))
    heights = [float(e.attrib["height"]) for e in tree.iter() if e.tag == "rect"]
    assert heights == pytest.approx([heights[0]] * 2)
    assert sum(heights) == pytest.approx(charts.HEIGHT - charts.FOOT - charts.TOP)


@pytest.mark.parametrize(("value", "most"), [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (499, 500), (501, 1000)])
def test_an_axis_ends_at_a_round_number(value: float, most: float) -> None:
    assert charts.nice(value) == most
