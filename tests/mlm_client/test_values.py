"""MLM's text to typed values: each form that is known, and nothing that is not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlm_client import Unreadable, values

READERS: list[Callable[[str | None], object]] = [
    values.money, values.percent, values.number, values.integer, values.enum, values.boolean, values.date, values.ssn
]  # fmt: skip


@pytest.mark.parametrize("read", [*READERS, values.text])
@pytest.mark.parametrize("blank", [None, "", "  ", "\t\r\n", "\x00\x0b", "\u00a0"])
def test_blank_is_none_for_every_kind(read: Callable[[str | None], object], blank: str | None) -> None:
    assert read(blank) is None


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.money, "$400,000.00", Decimal("400000.00")),
        (values.money, "400000", Decimal(400000)),
        (values.money, " $ 1,234,567.5 ", Decimal("1234567.5")),
        (values.money, "($1,234.50)", Decimal("-1234.50")),
        (values.money, "(12)", Decimal(-12)),
        (values.money, "-$5.00", Decimal("-5.00")),
        (values.money, "$-5.00", Decimal("-5.00")),
        (values.money, "$.50", Decimal("0.50")),
        (values.money, "$0.00", Decimal("0.00")),
        (values.money, "(0.00)", Decimal("0.00")),
        (values.money, "$999,999,999,999,999.99", Decimal("999999999999999.99")),
        (values.percent, "3.875%", Decimal("3.875")),
        (values.percent, "3.875", Decimal("3.875")),
        (values.percent, "80 %", Decimal(80)),
        (values.percent, "-1.250%", Decimal("-1.250")),
        (values.percent, "(1.250%)", Decimal("-1.250")),
        (values.number, "1,000.0000000001", Decimal("1000.0000000001")),
        (values.number, "5.", Decimal(5)),
        (values.integer, "360", 360),
        (values.integer, "1,360.000", 1360),
        (values.integer, "-7", -7),
        (values.enum, "12", 12),
        (values.enum, "\x0b3 ", 3),
        (values.boolean, "True", True),
        (values.boolean, "yes", True),
        (values.boolean, "1", True),
        (values.boolean, "FALSE", False),
        (values.boolean, "No", False),
        (values.boolean, "0", False),
        (values.date, "11/24/2015", date(2015, 11, 24)),
        (values.date, "1/2/2026", date(2026, 1, 2)),
        (values.date, "2026-01-02", date(2026, 1, 2)),
        (values.date, "2/29/2024", date(2024, 2, 29)),
        (values.date, "1/2/2026 12:00:00 AM", date(2026, 1, 2)),
        (values.date, "2026-01-02T23:59:59.1234567", date(2026, 1, 2)),
        (values.ssn, "991-91-9991", "991919991"),
        (values.ssn, "991 91 9991", "991919991"),
        (values.ssn, "001234567", "001234567"),
        (values.text, " Zoë\x00\x0b & Co ", "Zoë & Co"),
        (values.text, "one\r\ntwo\tthree\rfour", "one\ntwo\tthree\nfour"),
        (values.text, "山田\ufffe", "山田"),
        (values.text, "True", "True"),
    ],
)
def test_each_known_form_is_read(read: Callable[[str | None], object], text: str, expected: object) -> None:
    found = read(text)

    assert found == expected
    assert str(found) == str(expected)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *[
            (read, text)
            for read in (values.money, values.percent, values.number)
            for text in (
                "1E5", "NaN", "Infinity", "-inf", "sNaN", "1_000", "1,5", "1,2345", ",5", ".", "-", "()",
                "$", "--5", "(-5)",
                "1e999999", "-(5)", "5-", "１２", "٣", "0x10", "1 2", "N/A", "9" * 16, "1." + "1" * 11, "9" * 5000,
            )
        ],
        (values.money, "5%"),
        (values.percent, "$5"),
        (values.number, "$5"),
        (values.integer, "1.5"),
        (values.integer, "1000000000"),
        (values.enum, "1.0"),
        (values.enum, "Purchase"),
        (values.enum, "1" * 10),
        (values.boolean, "maybe"),
        (values.boolean, "2"),
        (values.date, "yesterday"),
        (values.date, "13/13/2015"),
        (values.date, "2/30/2015"),
        (values.date, "1/2/26"),
        (values.date, "1/1/0001"),
        (values.date, "2015-1-2"),
        (values.date, "1/2/2026 soon"),
        (values.date, "1/2/20261"),
        (values.date, "0/0/0000"),
        (values.ssn, "***-**-9991"),
        (values.ssn, "XXX-XX-9991"),
        (values.ssn, "9991"),
        (values.ssn, "991-91-99911"),
        (values.ssn, "000-00-0000"),
        (values.ssn, "٣٣٣٣٣٣٣٣٣"),
        (values.ssn, " " * 300 + "9991"),
    ],
)  # fmt: skip
def test_what_is_not_a_known_form_is_unreadable_and_never_quoted(
    read: Callable[[str | None], object], text: str
) -> None:
    with pytest.raises(Unreadable) as caught:
        read(text)

    assert str(caught.value) == f"unreadable {caught.value.kind}: {caught.value.why}"
    assert len(text) < 3 or text not in str(caught.value)


def test_a_masked_ssn_says_that_it_is_masked() -> None:
    with pytest.raises(Unreadable, match=r"^unreadable SSN: masked$"):
        values.ssn("***-**-9991")


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=70) | st.text("0123456789.,$%()-/eE ", max_size=40))
def test_any_text_is_a_value_none_or_unreadable(read: Callable[[str | None], object], text: str) -> None:
    try:
        found = read(text)
    except Unreadable:
        return
    if isinstance(found, Decimal):
        assert found.is_finite()
        assert abs(found) < 10**15


@settings(max_examples=50, deadline=None)
@given(st.decimals(-(10**12), 10**12, places=2))
def test_money_is_read_back_from_the_form_mlm_writes(amount: Decimal) -> None:
    written = f"${abs(amount):,.2f}"

    assert values.money(f"({written})" if amount < 0 else written) == amount


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_clean_text_is_clean(text: str) -> None:
    clean = values.text(text)

    assert clean is None or values.text(clean) == clean
    assert not any(ord(c) < 32 and c not in "\n\t" for c in clean or "")
