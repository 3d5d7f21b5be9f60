"""Addresses and forms that no page of ours has: refused in words, or found to lead to nothing; no error of ours."""

from __future__ import annotations

from urllib.parse import unquote_plus

import pytest
from a_console import Person

ODD = ("%00", "R%00", "%F0%9F%92%A9", "%FF", "'", "%25", "\u0661", "9" * 30, "x" * 5_000)
FIELDS = {
    "/": ["window"],
    "/receipts": ["search", "outcome", "sender", "event", "span", "since", "until", "slower", "changed", "after"],
    "/receipts/replay": ["search", "outcome", "sender", "event", "span", "since", "until", "slower", "after", "place"],
    "/refused": ["status", "path", "since", "until", "before"],
    "/files": ["state", "after"],
    "/search": ["q"],
    "/queues/redrive": ["concern", "error", "ref"],
    "/actions": ["before", "who"],
    "/sign-in": ["next"],
}  # fmt: skip


@pytest.mark.parametrize(("page", "field"), [(page, field) for page, fields in FIELDS.items() for field in fields])
def test_an_odd_value_of_a_field_is_no_error_of_ours(reader: Person, page: str, field: str) -> None:
    answered = {odd[:10]: reader.get(f"{page}?{field}={odd}").status_code for odd in ODD}
    assert {odd: status for odd, status in answered.items() if status >= 500} == {}


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ("/receipts/replay", "search"),
        ("/receipts/export", "event"),
        ("/queues/redrive", "error"),
        ("/queues/redrive", "ref"),
        ("/refresh/R%00", "why"),
        ("/sign-in", "name"),
    ],
)
def test_an_odd_value_in_a_form_is_no_error_of_ours(operator: Person, form: str, field: str) -> None:
    answered = {odd[:10]: operator.post(form, **{field: unquote_plus(odd)}).status_code for odd in ODD}
    assert {odd: status for odd, status in answered.items() if status >= 500} == {}


@pytest.mark.parametrize(
    "page", ["/files/{}", "/receipts/{}", "/queues/bells/{}", "/static/{}", "/receipts/1.{}", "/receipts/{}.1"]
)
def test_an_odd_part_of_an_address_is_no_error_of_ours(reader: Person, page: str) -> None:
    answered = {odd[:10]: reader.get(page.format(odd)).status_code for odd in ODD}
    assert {odd: status for odd, status in answered.items() if status >= 500} == {}
