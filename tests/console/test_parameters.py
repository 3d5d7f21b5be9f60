"""What several commands take on their command line."""

from __future__ import annotations

import datetime as dt

import click
import pytest

from console.parameters import age, rate, ref, when


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90d", dt.timedelta(days=90)),
        ("12h", dt.timedelta(hours=12)),
        ("2w", dt.timedelta(weeks=2)),
        (" 5m ", dt.timedelta(minutes=5)),
        ("30s", dt.timedelta(seconds=30)),
    ],
)
def test_an_age_is_a_number_and_a_unit(text: str, length: dt.timedelta) -> None:
    assert age(text) == length


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "0d", "999999999w", "9" * 30 + "d", "1 month", "١d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        age(text)


@pytest.mark.parametrize(
    "text", ["2026-11-20T13:04:05", "2026-11-20T13:04:05Z", "2026-11-20T05:04:05-08:00", "2026-11-20 13:04:05"]
)
def test_a_moment_is_in_utc_unless_it_names_an_offset(text: str) -> None:
    assert when(text) == dt.datetime(2026, 11, 20, 13, 4, 5, tzinfo=dt.UTC)


def test_a_moment_may_be_how_long_ago() -> None:
    before = dt.datetime.now(dt.UTC)
    assert before - dt.timedelta(hours=2) <= when("2h") <= dt.datetime.now(dt.UTC) - dt.timedelta(hours=2)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "9" * 9 + "w", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        when(text)


def test_a_reference_is_trimmed() -> None:
    assert ref(" R000123 ") == "R000123"


@pytest.mark.parametrize("text", ["", "  ", "R\x1b[2J", "R\n1", "R" * 101])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        ref(text)


@pytest.mark.parametrize(("text", "a_second"), [("5", 5), ("5/s", 5), (" 0.5/s ", 0.5)])
def test_a_rate_is_so_many_a_second(text: str, a_second: float) -> None:
    assert rate(text) == a_second


@pytest.mark.parametrize("text", ["", "0", "-1", "5/min", "5/s/s", "1e3", "nan", "inf", "999999999"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        rate(text)
