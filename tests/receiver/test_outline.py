"""A refused body shows its key names and sizes, and never a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshness.settings import WebhookKeys
from receiver.decoding import decode
from receiver.errors import BodyFault, NotJson
from receiver.outline import outline

SECRET = "Quill"
VALUES = st.recursive(
    st.sampled_from([SECRET, f'{SECRET}":', f'"{SECRET}', f"a,{SECRET}:\\"]) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


def test_key_names_come_with_their_level_and_the_bytes_under_them() -> None:
    body = b'{"batch":{"refNo":"R1","x":[1,2]},"n":12}'
    assert outline(body) == [
        {"key": "batch", "level": 1, "bytes": 24},
        {"key": "n", "level": 1, "bytes": 2},
        {"key": "refNo", "level": 2, "bytes": 4},
        {"key": "x", "level": 2, "bytes": 5},
    ]


def test_of_entries_alike_each_name_stands_once() -> None:
    assert outline(b'[{"ref":"R1"},{"ref":"R000002"}]') == [{"key": "ref", "level": 2, "bytes": 9}]


def test_a_key_that_is_no_name_is_shown_by_its_length() -> None:
    assert [key["key"] for key in outline(b'{"123-45-6789":1,"Ann Quill":2}')] == ["(11 characters)", "(9 characters)"]


def test_a_body_of_very_many_keys_shows_the_first_forty() -> None:
    assert len(outline(json.dumps({f"k{number}": 0 for number in range(500)}).encode())) == 40


@pytest.mark.parametrize("body", [b'{"name":"Quill":1}', b'["Quill":1]', b'"Quill":1', b'{"a":{"b":"c" "Quill":1}}'])
def test_behind_a_fault_a_text_before_a_colon_is_taken_for_no_key(body: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        decode(body, WebhookKeys())
    assert SECRET not in repr(outline(body, caught.value.position))


@given(VALUES, st.integers(0, 200), st.binary(max_size=6))
def test_no_value_shows_however_the_body_is_cut_or_broken(values: Any, cut: int, broken: bytes) -> None:
    body = json.dumps({"first": values, "last": SECRET}).encode()
    body = body[:cut] + broken + body[cut:]
    try:
        decode(body, WebhookKeys())
        position = None
    except BodyFault as fault:
        position = fault.position if isinstance(fault, NotJson) else None
    assert SECRET not in repr(outline(body, position))
