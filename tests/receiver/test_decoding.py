"""A body becomes entries, whatever it is."""

from __future__ import annotations

import contextlib
import json
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freshness.ledger.batches import Entry
from freshness.settings import WebhookKeys
from receiver.decoding import DEEPEST, LONGEST, MOST_ENTRIES, decode
from receiver.errors import BodyFault, NotJson, TooMuch, UnknownForm

KEYS = WebhookKeys()
WIRE = {
    "eventType": "Modified",
    "loanNumber": "2026110096",
    "referenceNumber": "R000123",
    "values": {"sLastModifiedTimestamp": "2026-11-20T13:04:05.123"},
}
ENTRY = Entry("R000123", "2026110096", "Modified", "2026-11-20T13:04:05.123")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*WIRE, "sLastModifiedTimestamp"]) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=20,
)


def of(body: Any) -> list[Entry]:
    return decode(body if isinstance(body, bytes) else json.dumps(body).encode(), KEYS)


@pytest.mark.parametrize(
    "body",
    [
        [WIRE],
        {"entries": [WIRE]},
        {"count": 1, "note": "x", "LoanEvents": [WIRE]},
        {"errors": [], "codes": [1, 2], "events": [WIRE]},
        WIRE,
        [{key.upper(): value for key, value in WIRE.items()}],
        [{**WIRE, "values": {"SLASTMODIFIEDTIMESTAMP": "2026-11-20T13:04:05.123", "other": [1]}}],
        [{**WIRE, "loanNumber": 2026110096}],
        [{**WIRE, "referenceNumber": "  R000123\t"}],
        [{**WIRE, "extra": {"deep": [1e300, None]}}],
    ],
)
def test_every_form_of_the_contract_is_the_same_entry(body: Any) -> None:
    assert of(body) == [ENTRY]


def test_a_byte_order_mark_before_the_body_is_no_fault() -> None:
    assert of(b"\xef\xbb\xbf" + json.dumps([WIRE]).encode()) == [ENTRY]


def test_a_lender_may_call_the_keys_by_other_names() -> None:
    keys = WebhookKeys(event="type", number="loan", reference="ref", values="changed")
    body = {"type": "Modified", "LOAN": "2026110096", "ref": "R000123", "changed": WIRE["values"]}
    assert decode(json.dumps([body]).encode(), keys) == [ENTRY]


def test_the_exact_name_wins_over_one_in_another_letter_case() -> None:
    assert of([{"REFERENCENUMBER": "other", **WIRE}]) == [ENTRY]


def test_of_a_key_that_stands_there_twice_the_last_counts() -> None:
    assert of(b'[{"referenceNumber":"R1","referenceNumber":"R2"}]')[0].reference == "R2"


@pytest.mark.parametrize("empty", [[], {"entries": []}])
def test_an_empty_batch_is_no_entries(empty: Any) -> None:
    assert of(empty) == []


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (17, "not an object"),
        ("R000123", "not an object"),
        (None, "not an object"),
        ([WIRE], "not an object"),
        ({}, "no reference"),
        ({"referenceNumber": None}, "no reference"),
        ({"referenceNumber": "  "}, "no reference"),
        ({"referenceNumber": True}, "a reference that is neither text nor a whole number"),
        ({"referenceNumber": 1.5}, "a reference that is neither text nor a whole number"),
        ({"referenceNumber": {"a": 1}}, "a reference that is neither text nor a whole number"),
        ({"referenceNumber": "R" * (LONGEST + 1)}, f"a reference of {LONGEST + 1} characters"),
        ({"referenceNumber": "R\0001"}, "a reference with unprintable characters"),
    ],
)
def test_an_entry_that_cannot_be_used_says_why_and_fails_nobody_else(entry: Any, fault: str) -> None:
    before, bad, after = of([WIRE, entry, WIRE])
    assert (before, bad.fault, bad.reference, after) == (ENTRY, fault, None, ENTRY)


@pytest.mark.parametrize(
    "bad",
    [
        rb'{"referenceNumber":"\ud800"}',
        rb'{"referenceNumber":"\udc00x"}',
        b'{"referenceNumber":"\xff"}',
        b'{"\xff":1}',
        b'{"referenceNumber":' + b"9" * 5000 + b"}",
        b'{"referenceNumber":1e999}',
    ],
)
def test_what_is_no_text_in_one_entry_fails_that_entry_alone(bad: bytes) -> None:
    good = json.dumps(WIRE).encode()
    entries = decode(b"[" + good + b"," + bad + b"]", KEYS)
    assert entries[0] == ENTRY
    assert entries[1].fault


def test_a_whole_surrogate_pair_beside_half_a_one_survives() -> None:
    entries = decode(rb'[{"referenceNumber":"R\ud83d\ude00"},{"referenceNumber":"\ud83d"}]', KEYS)
    assert entries[0].reference == "R\U0001f600"


@pytest.mark.parametrize(
    ("values", "stamp"),
    [
        (None, None),
        ("2026-11-20", None),
        ({}, None),
        ({"sLastModifiedTimestamp": None}, None),
        ({"sLastModifiedTimestamp": ""}, None),
        ({"sLastModifiedTimestamp": 1763640000123}, "1763640000123"),
        ({"sLastModifiedTimestamp": " yesterday "}, "yesterday"),
        ({"sLastModifiedTimestamp": {"a": "secret"}}, "(neither text nor number)"),
    ],
)
def test_a_stamp_is_its_text_as_written(values: Any, stamp: str | None) -> None:
    assert of([{**WIRE, "values": values}])[0].stamp_text == stamp


def test_a_stamp_that_is_cut_cannot_read_as_a_shorter_one() -> None:
    long = "2026-11-20T13:04:05" + " " * LONGEST + "x"
    text = of([{**WIRE, "values": {"sLastModifiedTimestamp": long}}])[0].stamp_text
    assert text is not None
    assert len(text) == LONGEST
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("body", "position"),
    [(b"", 0), (b"   ", 3), (b"nope", 1), (b'[{"a":1},', 9), (b'{"a" 1}', 5), (b"[1]x", 3), (b"<xml/>", 0)],
)
def test_what_is_not_json_names_the_byte_where_it_stops_being_so(body: bytes, position: int) -> None:
    with pytest.raises(NotJson) as caught:
        decode(body, KEYS)
    assert caught.value.position == position


@pytest.mark.parametrize("body", [3, "text", None, True, {}, {"a": 1}, {"a": [1, 2]}, {"a": {"b": [WIRE]}}])
def test_json_that_is_neither_a_batch_nor_an_entry_is_of_no_known_form(body: Any) -> None:
    with pytest.raises(UnknownForm):
        of(body)


def test_two_lists_of_objects_leave_it_open_which_is_the_batch() -> None:
    with pytest.raises(UnknownForm, match="several lists"):
        of({"a": [WIRE], "b": [WIRE]})


@pytest.mark.parametrize("closed", [True, False])
def test_a_nested_bomb_is_refused_before_anything_recurses_into_it(closed: bool) -> None:
    with pytest.raises(UnknownForm) as caught:
        decode(b"[" * 2_000_000 + (b"]" * 2_000_000 if closed else b""), KEYS)
    assert caught.value.position == DEEPEST


def test_nesting_is_taken_to_64_levels_and_not_to_65() -> None:
    def nested(levels: int) -> bytes:
        return b'[{"a":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}]"

    assert len(decode(nested(DEEPEST), KEYS)) == 1
    with pytest.raises(UnknownForm):
        decode(nested(DEEPEST + 1), KEYS)


def test_brackets_in_texts_are_no_nesting() -> None:
    assert of([{**WIRE, "note": '[{"' * 200 + "\\"}]) == [ENTRY]


def test_a_text_that_never_ends_is_read_once() -> None:
    with pytest.raises(NotJson):
        decode(b'["' + b'\\"' * 1_000_000, KEYS)


def test_a_batch_of_more_entries_than_we_take_is_too_much() -> None:
    with pytest.raises(TooMuch):
        decode(b"[" + b"1," * MOST_ENTRIES + b"1]", KEYS)


def _fit(text: str | None) -> bool:
    return text is None or (len(text) <= LONGEST and "\0" not in text and bool(text.encode()))


@given(JSON)
def test_any_json_is_entries_fit_for_postgresql_or_a_named_fault(document: Any) -> None:
    body = json.dumps(document, allow_nan=False).encode() if _finite(document) else b"null"
    try:
        entries = decode(body, KEYS)
    except BodyFault:
        return
    for entry in entries:
        assert all(map(_fit, (entry.reference, entry.loan_number, entry.event_type, entry.stamp_text, entry.fault)))
        assert (entry.reference is None) == (entry.fault is not None)


def _finite(document: Any) -> bool:
    return not any(word in json.dumps(document) for word in ("NaN", "Infinity"))


@given(st.binary(max_size=80) | st.text('[]{}",:\\u d8ef0a\n', max_size=60).map(str.encode))
@example(rb'["\ud800]')
@example(b'{"\xff":[')
def test_no_bytes_whatever_do_more_than_be_refused(body: bytes) -> None:
    with contextlib.suppress(BodyFault):
        decode(body, KEYS)


@given(st.binary(max_size=80))
def test_a_fault_lies_within_the_body(body: bytes) -> None:
    positions = [0]
    try:
        decode(body, KEYS)
    except BodyFault as fault:
        positions.append(fault.position or 0)
    assert 0 <= positions[-1] <= len(body)


@given(st.lists(st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)), st.data())
def test_good_entries_come_out_as_they_are_whatever_stands_between_them(refs: list[str], data: st.DataObject) -> None:
    body: list[Any] = []
    for ref in refs:
        body += data.draw(st.lists(JSON.filter(lambda v: _finite(v) and not isinstance(v, dict)), max_size=2))
        body.append({"referenceNumber": ref})
    assert [entry.reference for entry in of(body) if entry.fault is None] == refs


USUAL_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=LONGEST + 5)


@given(
    st.lists(st.tuples(USUAL_TEXT, USUAL_TEXT, USUAL_TEXT, USUAL_TEXT), max_size=4),
    st.sampled_from(["é", '\\"', [[]], 1, "]}"]),
)
@example([("R1", "", " ", "\x7f")], "é")
def test_a_body_of_the_usual_kind_comes_to_what_it_comes_to_with_something_unusual_beside_it(
    texts: list[tuple[str, str, str, str]], beside: Any
) -> None:
    usual = [
        {"referenceNumber": ref, "loanNumber": number, "eventType": event, "values": {"sLastModifiedTimestamp": stamp}}
        for ref, number, event, stamp in texts
    ]
    unusual = [{**each, "LOANNUMBER": beside, "loanNumber": each["loanNumber"]} for each in usual]
    assert of(usual) == of([*unusual, 0])[:-1]


def test_a_body_of_the_usual_kind_may_go_no_deeper_than_another() -> None:
    deep: Any = []
    for _ in range(DEEPEST):
        deep = [deep]
    with pytest.raises(UnknownForm, match="nested deeper"):
        of([{**WIRE, "extra": deep}])
