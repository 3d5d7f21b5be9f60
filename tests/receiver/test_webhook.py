"""A delivery over real HTTP: who may, in which order it is checked, and what it leaves."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from running_receiver import MLM_TOKEN, NEWER, WEBHOOK, Receiver, engine_to_nowhere, receiver

from freshness.bell import Work


def entry(ref: str, stamp: Any = NEWER, event: str = "Modified") -> dict[str, Any]:
    return {"eventType": event, "referenceNumber": ref, "values": {"sLastModifiedTimestamp": stamp}}


def refusals(served: Receiver) -> list[tuple[int, str]]:
    return [(row.status, row.address) for row in served.rows("SELECT * FROM refused_deliveries ORDER BY id")]


def test_a_change_is_committed_before_the_answer_and_rung_once(served: Receiver) -> None:
    served.seed("R1")
    answer = served.post(json=[entry("R1")])
    assert (answer.status_code, answer.json()) == (
        200,
        {"received": 1, "dispatched": 1, "skipped": 0, "rejected": 0},
    )
    (receipt,) = served.rows("SELECT outcome, last_modified_text, order_number FROM mlm_webhook_receipts")
    assert receipt == ("dispatched", NEWER, 1)
    assert [ring.work for ring in served.rings] == [Work.HYDRATE_FILE]


def test_what_is_not_dispatched_rings_nobody(served: Receiver) -> None:
    answer = served.post(json=[entry("R-unknown")])
    assert answer.json() == {"received": 1, "dispatched": 0, "skipped": 1, "rejected": 0}
    assert served.rings == []


def test_an_empty_batch_is_taken_and_leaves_nothing(served: Receiver) -> None:
    assert served.post(json=[]).json() == {"received": 0, "dispatched": 0, "skipped": 0, "rejected": 0}
    assert served.rows("SELECT 1 FROM mlm_webhook_receipts") == []


def test_without_a_token_configured_the_route_is_not_there(engine: sa.Engine) -> None:
    with receiver(engine, {}) as served:
        assert served.post(json=[]).status_code == 404
        assert served.get(WEBHOOK).status_code == 404
        assert refusals(served) == [(404, "127.0.0.1")] * 2


def test_each_token_opens_while_one_is_rotated(engine: sa.Engine) -> None:
    with receiver(engine, {"MLM_WEBHOOK_TOKEN": "old,new"}) as served:
        answers = [served.post(token=token, json=[]).status_code for token in ("old", "new", "ol", None)]
    assert answers == [200, 200, 401, 401]


@pytest.mark.parametrize("token", ["wrong", None, MLM_TOKEN + "x"])
def test_a_wrong_token_is_refused_and_leaves_its_row(served: Receiver, token: str | None) -> None:
    answer = served.post(token=token, json=[entry("R1")])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert refusals(served) == [(401, "127.0.0.1")]


def test_the_checks_come_in_the_order_of_the_contract(engine: sa.Engine) -> None:
    """What is wrong in every way at once is told the first; mended, the next: 403, 401, 413, 400, 422, then taken."""
    large, broken, formless = b"[" + b" " * 6 * 1024 * 1024, b"[1,", b"3"
    environ = {"MLM_WEBHOOK_TOKEN": "t", "MLM_WEBHOOK_NETWORKS": "203.0.113.0/24", "TRUSTED_PROXIES": "127.0.0.1"}
    inside = {"X-Forwarded-For": "203.0.113.7"}
    with receiver(engine, environ) as served:
        answers = [
            served.post(token="x", content=large, headers={"X-Forwarded-For": "198.51.100.7"}),
            served.post(token="x", content=large, headers=inside),
            served.post(token="t", content=large, headers=inside),
            served.post(token="t", content=broken, headers=inside),
            served.post(token="t", content=formless, headers=inside),
            served.post(token="t", content=b"[]", headers=inside),
        ]
        assert [answer.status_code for answer in answers] == [403, 401, 413, 400, 422, 200]
        assert [status for status, _ in refusals(served)] == [403, 401, 413, 400, 422]
        assert {address for _, address in refusals(served)} == {"198.51.100.7", "203.0.113.7"}


@pytest.mark.parametrize(
    ("proxies", "forwarded", "status"),
    [
        ("", "203.0.113.7", 403),  # forged: nobody between us is trusted
        ("10.0.0.0/8", "203.0.113.7", 403),
        ("127.0.0.0/8", "203.0.113.7", 200),
        ("127.0.0.0/8", "203.0.113.7, 198.51.100.7", 403),  # what the caller itself wrote, before the proxy
        ("127.0.0.0/8", "198.51.100.7, 203.0.113.7", 200),
        ("127.0.0.0/8", "nonsense", 403),
    ],
)
def test_a_pinned_network_cannot_be_forged(engine: sa.Engine, proxies: str, forwarded: str, status: int) -> None:
    environ = {"MLM_WEBHOOK_TOKEN": "t", "MLM_WEBHOOK_NETWORKS": "203.0.113.0/24", "TRUSTED_PROXIES": proxies}
    with receiver(engine, environ) as served:
        assert served.post(token="t", json=[], headers={"X-Forwarded-For": forwarded}).status_code == status


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read(served: Receiver) -> None:
    """Only the head is sent: were the body read first, no answer would ever come."""
    host, port = served.url.removeprefix("http://").split(":")
    lines = (f"POST {WEBHOOK} HTTP/1.1", "Host: x", f"Authorization: Bearer {MLM_TOKEN}", "Content-Length: 99999999")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_body_without_a_length_is_counted_as_it_comes(served: Receiver) -> None:
    chunks = (b" " * 65_536 for _ in range(100))
    assert served.post(content=chunks).status_code == 413


def test_a_refused_body_shows_where_it_fails_and_its_key_names_and_nothing_it_said(served: Receiver) -> None:
    answer = served.post(content=b'{"borrower":"Ann Quill","refNo":"R1"', headers={"Content-Type": "text/json"})
    assert answer.status_code == 400
    assert answer.json()["position"] == 36
    (row,) = served.rows("SELECT * FROM refused_deliveries")
    assert (row.fault_position, row.content_length, row.content_type) == ("byte 36", 36, "text/json")
    assert [key["key"] for key in row.keys] == ["borrower", "refNo"]
    assert "Quill" not in repr(row) + answer.text


def test_a_flood_from_one_address_leaves_sixty_rows_and_one_count(engine: sa.Engine) -> None:
    with receiver(engine) as served, httpx.Client() as client:
        for _ in range(70):
            client.post(served.url + WEBHOOK, headers={"Authorization": "Bearer wrong"})
        rows = served.rows("SELECT is_rest, sum(count) AS n FROM refused_deliveries GROUP BY minute, is_rest")
    assert sum(row.n for row in rows) == 70
    assert all(row.n <= 60 for row in rows if not row.is_rest)


def test_with_postgresql_away_the_sender_is_told_to_try_again() -> None:
    with receiver(engine_to_nowhere()) as served:
        answer = served.post(json=[entry("R1")])
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert served.rings == []


def test_with_postgresql_away_a_refusal_is_still_its_own_answer() -> None:
    with receiver(engine_to_nowhere()) as served:
        assert served.post(token="wrong", json=[]).status_code == 401
        assert served.post(content=b"nope").status_code == 400


def test_a_batch_that_does_not_commit_rings_nobody_and_orders_nothing(own_engine: sa.Engine) -> None:
    with receiver(own_engine) as served:
        served.seed("R1")
        with own_engine.begin() as conn:
            conn.exec_driver_sql("ALTER TABLE mlm_webhook_receipts ADD CHECK (outcome <> 'dispatched')")
        answer = served.post(json=[entry("R1")])
        assert (answer.status_code, answer.json()["detail"]) == (500, "something went wrong on our side")
        assert served.rings == []
        assert served.rows("SELECT ordered FROM file_freshness") == [(0,)]


def test_an_unforeseen_error_tells_neither_caller_nor_log_what_the_body_said(
    own_engine: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    with own_engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE mlm_webhook_receipts ADD CHECK (loan_number <> 'Quill')")
    with receiver(own_engine) as served:
        answer = served.post(json=[{"referenceNumber": "R1", "eventType": "Modified", "loanNumber": "Quill"}])
    said = "".join(capfd.readouterr())
    assert answer.status_code == 500
    assert "receiver.failed" in said
    assert "Quill" not in said + answer.text


def test_another_method_is_refused_as_a_problem(served: Receiver) -> None:
    answer = served.get(WEBHOOK)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_route_is_a_problem_too(served: Receiver) -> None:
    answer = served.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert json.loads(answer.text)["status"] == 404
