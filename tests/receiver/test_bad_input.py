"""Bad input: each kind answers as the contract says, leaves what it should, and the next good batch works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from running_receiver import NEWER, Receiver

GOOD = {"eventType": "Modified", "referenceNumber": "R-good", "values": {"sLastModifiedTimestamp": NEWER}}


@pytest.fixture
def served(served: Receiver) -> Iterator[Receiver]:
    """After whatever the test has sent, a good batch is dispatched as if nothing had been."""
    served.seed("R1")
    served.seed("R-good")
    yield served
    answer = served.post(json=[GOOD])
    assert (answer.status_code, answer.json()["dispatched"]) == (200, 1)


def outcomes(served: Receiver) -> list[tuple[str, str]]:
    return [tuple(row) for row in served.rows("SELECT outcome, reason FROM mlm_webhook_receipts ORDER BY id")]


def refused(served: Receiver) -> list[int]:
    return [row.status for row in served.rows("SELECT status FROM refused_deliveries ORDER BY id")]


def about(ref: str, stamp: Any) -> bytes:
    return json.dumps([{**GOOD, "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}]).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"", 400),
        (b"\xff\xfe[\x00]\x00", 400),
        (b" " * 6 * 1024 * 1024, 413),
        (b"[" * 100_000 + b"]" * 100_000, 422),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, 422),
        (b"42", 422),
        (b'"text"', 422),
        (b"null", 422),
        (b'{"hello":"world"}', 422),
    ],
    ids=["words", "empty", "utf-16", "6 MiB", "bomb", "bomb of objects", "number", "text", "null", "other object"],
)
def test_a_body_of_no_use_is_refused_and_leaves_one_row_and_no_receipt(
    served: Receiver, body: bytes, status: int
) -> None:
    answer = served.post(content=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (refused(served), outcomes(served)) == ([status], [])


def test_a_list_of_numbers_is_as_many_malformed_receipts(served: Receiver) -> None:
    answer = served.post(json=[1, 2, 3])
    assert answer.json() == {"received": 3, "dispatched": 0, "skipped": 0, "rejected": 3}
    assert outcomes(served) == [("malformed", "not an object")] * 3


def test_an_entry_without_a_reference_is_malformed_and_the_one_beside_it_is_dispatched(served: Receiver) -> None:
    answer = served.post(json=[{"eventType": "Modified"}, {**GOOD, "referenceNumber": "R1"}])
    assert answer.json() == {"received": 2, "dispatched": 1, "skipped": 0, "rejected": 1}


def test_an_unknown_reference_is_skipped(served: Receiver) -> None:
    assert served.post(content=about("R-unknown", NEWER)).json()["skipped"] == 1
    assert [outcome for outcome, _ in outcomes(served)] == ["unknown_file"]


@pytest.mark.parametrize("stamp", ["yesterday", "2099-01-01T00:00:00", None, {"a": 1}, "9" * 4000, "2026-13-45", 1e300])
def test_a_stamp_that_cannot_be_believed_orders_unguarded_and_the_next_good_one_still_counts(
    served: Receiver, stamp: Any
) -> None:
    answer = served.post(content=about("R1", stamp))
    assert answer.json()["dispatched"] == 1
    ((outcome, reason),) = outcomes(served)
    assert outcome == "dispatched"
    assert "unguarded" in reason
    assert served.post(content=about("R1", NEWER)).json()["dispatched"] == 1


@pytest.mark.parametrize(
    "body",
    [
        rb'[{"referenceNumber":"R\u0000"}]',
        rb'[{"referenceNumber":"\ud800"}]',
        b'[{"referenceNumber":"\xff"}]',
        b'[{"referenceNumber":"' + b"R" * 100_000 + b'"}]',
        b'[{"referenceNumber":' + b"9" * 100_000 + b"}]",
    ],
    ids=["NUL", "half a surrogate", "not UTF-8", "a long text", "a long number"],
)
def test_a_reference_that_no_database_takes_is_malformed(served: Receiver, body: bytes) -> None:
    assert served.post(content=body).json()["rejected"] == 1


def test_texts_beside_the_reference_are_cleaned_rather_than_refused(served: Receiver) -> None:
    body = [{"referenceNumber": "R1", "eventType": "Modi\0fied", "loanNumber": "N\0" * 500, "values": [1]}]
    assert served.post(json=body).json()["received"] == 1


def test_a_wrong_token_changes_nothing(served: Receiver) -> None:
    assert served.post(token="wrong", content=about("R1", NEWER)).status_code == 401
    assert (refused(served), outcomes(served)) == ([401], [])
