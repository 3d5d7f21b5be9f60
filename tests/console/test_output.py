"""What commands print, for people and for scripts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from console.output import cell, lines, plain, progress, show, table

ROW = {"ref": "R000123", "seen_at": datetime(2026, 11, 20, 13, 4, 5, 123456, UTC), "rate": Decimal("6.125")}


def test_scripts_get_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines([ROW, {"ref": None}])
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"ref": "R000123", "seen_at": "2026-11-20T13:04:05.123456Z", "rate": "6.125"}
    assert json.loads(second) == {"ref": None}


def test_people_get_a_table_of_the_columns_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    table([ROW], ["ref", "seen_at"])
    head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.split() == ["ref", "seen", "at"]
    assert row.split() == ["R000123", "2026-11-20", "13:04:05.123Z"]


def test_a_long_row_stays_one_line_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"reason": "x" * 500}], ["reason"])
    assert "x" * 500 in capsys.readouterr().out


def test_no_rows_is_said_to_people_and_is_no_line_to_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    show([], ["ref"], as_json=False, empty="No receipts.")
    assert capsys.readouterr().out == "No receipts.\n"
    show([], ["ref"], as_json=True, empty="No receipts.")
    assert capsys.readouterr().out == ""


def test_what_comes_from_outside_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"ref": "R\x1b[2J\n[red]1"}], ["ref"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"R\x1b[2J\n[red]1" in out


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (datetime(2026, 11, 20, 5, 4, 5, tzinfo=timezone(timedelta(hours=-8))), "2026-11-20 13:04:05.000Z"),
    ],
)
def test_a_cell_reads_as_people_read(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_letters_of_any_script_are_printed_as_they_are() -> None:
    assert plain("Ölçü 東京 –") == "Ölçü 東京 –"


def test_progress_is_silent_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Files", 2) as advance:
        advance(2)
    told = capsys.readouterr()
    assert told.out + told.err.strip() == ""
