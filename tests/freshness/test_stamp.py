"""Stamps: every form that names one instant is read as that instant, on every path, and nothing else is."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.stamp import Stamp, Unreadable, parse, truncate

LA = ZoneInfo("America/Los_Angeles")
NOW = dt.datetime(2026, 11, 20, 22, 0, tzinfo=dt.UTC)
ONE_PM = dt.datetime(2026, 11, 20, 21, 4, 5, tzinfo=dt.UTC)
RESOLUTIONS = st.sampled_from([0.000001, 0.004, 0.01, 1, 2, 60])
INSTANTS = st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2100, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=dt.UTC)
)


def instant(text: str, zone: ZoneInfo = LA) -> dt.datetime:
    found = parse(text, zone, NOW)
    assert isinstance(found, Stamp), found
    return found.instant


def why(text: str | None, zone: ZoneInfo = LA, now: dt.datetime = NOW) -> str:
    found = parse(text, zone, now)
    assert isinstance(found, Unreadable), found
    return found.why


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T13:04:05",
        "2026-11-20 13:04:05",
        "2026-11-20T13:04:05.000",
        "2026-11-20T13:04:05-08:00",
        "2026-11-20T13:04:05-0800",
        "2026-11-20T13:04:05-08",
        "2026-11-20T21:04:05Z",
        "2026-11-20 21:04:05 z",
        "2026-11-21T02:34:05+05:30",
        "11/20/2026 13:04:05",
        "11/20/2026 01:04:05 PM",
        "11/20/2026 1:04:05pm",
        "11/20/2026 1:04:05.000 PM",
        "1795208645",
        "1795208645000",
        "  2026-11-20T13:04:05 ",
    ],
)
def test_every_form_names_the_same_instant(text: str) -> None:
    assert instant(text) == ONE_PM


def test_midnight_and_noon_are_what_am_and_pm_say() -> None:
    assert instant("11/20/2026 12:00:00 AM", ZoneInfo("UTC")).hour == 0
    assert instant("11/20/2026 12:00:00 PM", ZoneInfo("UTC")).hour == 12


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-11-20T13:04:05.123", 123000),
        ("2026-11-20T13:04:05.1234567Z", 123456),
        ("2026-11-20T13:04:05.9999999", 999999),
        ("2026-11-20T13:04:05,5", 500000),
        ("11/20/2026 1:04:05.1234567 PM", 123456),
        ("1795208645123", 123000),
    ],
)
def test_digits_beyond_the_microsecond_are_cut_and_never_rounded(text: str, microsecond: int) -> None:
    assert instant(text).microsecond == microsecond


def test_a_webhooks_and_a_reads_text_come_out_equal() -> None:
    assert instant("2026-11-20T13:04:05.1234567") == instant("11/20/2026 1:04:05.1234569 PM")


def test_a_stamp_knows_whether_it_has_a_fraction() -> None:
    assert [Stamp(instant(text)).has_fraction for text in ("1795208645", "1795208645001")] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-11-20",
        "2026-13-20T13:04:05",
        "2026-11-20T25:04:05",
        "2026-11-20T13:04:60",
        "2026-11-20T13:04:05+24:00",
        "11/20/2026 13:04:05 PM",
        "11/20/2026 0:04:05 AM",
        "20/11/2026 13:04:05",
        "/Date(1795208645000)/",
        "-5",
        "1e9",
        "٢٠٢٦-11-20T13:04:05",
        "999999999999999",
        "0001-01-01T00:00:00+10:00",
        "2026-11-20T13:04:05" + " " * 60 + "Z",
        "1" * 500,
    ],
)
def test_what_names_no_instant_is_unreadable_and_the_reason_never_quotes_it(text: str) -> None:
    assert text not in why(text)


@pytest.mark.parametrize("text", [None, "", "   "])
def test_no_stamp_is_missing(text: str | None) -> None:
    assert why(text) == "missing"


def test_the_hour_that_autumn_repeats_is_unreadable_without_a_zone() -> None:
    for text in ("2026-11-01T01:30:00", "11/1/2026 1:30:00 AM"):
        assert "repeats" in why(text)
    assert instant("2026-11-01T01:30:00-07:00").hour == 8
    assert instant("2026-11-01T00:59:59").hour == 7
    assert instant("2026-11-01T02:00:00").hour == 10


def test_the_hour_that_spring_skips_is_unreadable_without_a_zone() -> None:
    assert "skips" in why("2026-03-08T02:30:00")
    assert instant("2026-03-08T01:59:59").hour == 9
    assert instant("2026-03-08T03:00:00").hour == 10


def test_a_stamp_more_than_a_day_ahead_of_our_clock_is_unreadable() -> None:
    assert instant("2026-11-21T22:00:00Z") == NOW + dt.timedelta(days=1)
    assert "ahead" in why("2026-11-21T22:00:00.000001Z")
    assert "ahead" in why("2099-01-01T00:00:00Z")


def test_digits_are_seconds_or_milliseconds_by_their_size() -> None:
    assert "ahead" in why("99999999999")
    assert instant("100000000000") == dt.datetime(1973, 3, 3, 9, 46, 40, tzinfo=dt.UTC)


def test_another_zone_shifts_a_stamp_that_names_none_and_no_other() -> None:
    there, here = ZoneInfo("America/New_York"), LA
    assert instant("2026-11-20T13:04:05", here) - instant("2026-11-20T13:04:05", there) == dt.timedelta(hours=3)
    assert instant("2026-11-20T13:04:05Z", here) == instant("2026-11-20T13:04:05Z", there)


@given(text=st.text(max_size=80) | st.from_regex(r"[0-9T:/ .+\-Z]{0,40}", fullmatch=True))
def test_no_text_at_all_makes_it_crash(text: str) -> None:
    found = parse(text, LA, NOW)
    if isinstance(found, Stamp):
        assert found.instant.utcoffset() == dt.timedelta(0)
        assert found.instant - NOW <= dt.timedelta(days=1)
        truncate(found.instant, 1)


@given(instants=st.lists(INSTANTS, min_size=2, max_size=2).map(sorted), resolution=RESOLUTIONS)
def test_texts_and_ticks_keep_the_order_of_instants(instants: list[dt.datetime], resolution: float) -> None:
    early, late = (instant_in_2100(one.isoformat()) for one in instants)
    assert early <= late
    assert truncate(early, resolution) <= truncate(late, resolution)


@given(when=INSTANTS, resolution=RESOLUTIONS)
def test_a_tick_is_its_own_tick_and_holds_its_instants(when: dt.datetime, resolution: float) -> None:
    tick = truncate(when, resolution)
    assert truncate(tick, resolution) == tick
    assert dt.timedelta(0) <= when - tick < dt.timedelta(seconds=resolution)


@given(when=INSTANTS)
def test_an_instant_said_in_iso_is_read_back(when: dt.datetime) -> None:
    assert instant_in_2100(when.isoformat()) == when
    assert instant_in_2100(when.astimezone(LA).isoformat()) == when


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "1/1/0001 12:00:00 AM", "1969-12-31T23:59:59Z"]
)
def test_the_date_that_software_says_for_none_is_no_stamp(text: str) -> None:
    assert "before 1970" in why(text)


def instant_in_2100(text: str) -> dt.datetime:
    found = parse(text, LA, dt.datetime(2100, 1, 2, tzinfo=dt.UTC))
    assert isinstance(found, Stamp)
    return found.instant
