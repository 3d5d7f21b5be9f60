"""What a portal asks over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from running_receiver import MLM_TOKEN, Receiver, engine_to_nowhere, receiver

from freshness.bell import Work

CALLS = [
    ("POST", "/mlm/own-writes"),
    ("POST", "/mlm/own-writes/1/exit"),
    ("POST", "/mlm/capture-mark"),
    ("POST", "/mlm/seed-mark"),
    ("POST", "/mlm/refresh"),
    ("GET", "/freshness"),
]
EVERY_ROUTE = [(method, f"/loans/R1{path}") for method, path in CALLS] + [
    ("GET", "/events"),
    ("POST", "/events/tickets"),
]
KINDS = [("loans", "loan"), ("leads", "lead")]


def call(served: Receiver, method: str, path: str, body: Any = None, **options: Any) -> Any:
    return served.get(f"/api/v1{path}", **options) if method == "GET" else served.portal(path, body, **options)


@pytest.mark.parametrize(("plural", "kind"), KINDS)
def test_an_own_write_is_registered_and_its_good_exit_asks_for_a_capture(
    served: Receiver, plural: str, kind: str
) -> None:
    served.seed("R1", kind)
    registered = served.portal(f"/{plural}/R1/mlm/own-writes")
    assert registered.status_code == 201
    exited = served.portal(f"/{plural}/R1/mlm/own-writes/{registered.json()['id']}/exit", {"ok": True})
    assert (exited.status_code, exited.json()) == (200, {"outcome": "capturing"})
    (ring,) = served.rings
    assert (ring.work, ring.own_write_id) == (Work.CAPTURE, registered.json()["id"])


@pytest.mark.parametrize(
    ("capture", "ok", "outcome"), [(True, False, "ordered"), (False, True, "nothing"), (False, False, "ordered")]
)
def test_how_an_own_write_ends(served: Receiver, capture: bool, ok: bool, outcome: str) -> None:
    served.seed("R1")
    own_write_id = served.portal("/loans/R1/mlm/own-writes", {"capture": capture}).json()["id"]
    assert served.portal(f"/loans/R1/mlm/own-writes/{own_write_id}/exit", {"ok": ok}).json() == {"outcome": outcome}


def test_capture_mark_with_an_own_write_is_its_good_exit(served: Receiver) -> None:
    served.seed("R1")
    own_write_id = served.portal("/loans/R1/mlm/own-writes").json()["id"]
    answer = served.portal("/loans/R1/mlm/capture-mark", {"own_write": own_write_id})
    assert (answer.status_code, answer.json()) == (202, {"outcome": "capturing"})


@pytest.mark.parametrize("body", [None, {}, {"since": "2026-11-01T00:00:00Z"}])
def test_the_short_form_of_capture_mark_needs_no_registration(served: Receiver, body: Any) -> None:
    served.seed("R1")
    assert served.portal("/loans/R1/mlm/capture-mark", body).status_code == 202


@pytest.mark.parametrize(("plural", "kind"), KINDS)
@pytest.mark.parametrize("body", [None, {"last_modified": "2026-11-01T10:00:00.123Z"}])
def test_seed_mark_makes_the_loan_or_lead_that_is_absent(served: Receiver, plural: str, kind: str, body: Any) -> None:
    assert served.portal(f"/{plural}/R-new/mlm/seed-mark", body).status_code == 202
    assert served.rows(f"SELECT mlm_reference_number FROM {kind}s") == [("R-new",)]


def test_refresh_orders_the_file_and_rings(served: Receiver) -> None:
    served.seed("R1")
    answer = served.portal("/loans/R1/mlm/refresh")
    assert (answer.status_code, answer.json()) == (202, {"order": 1})
    assert [ring.work for ring in served.rings] == [Work.HYDRATE_FILE]


def test_freshness_says_state_numbers_and_every_concern(served: Receiver) -> None:
    served.seed("R1")
    served.portal("/loans/R1/mlm/refresh")
    body = served.get("/api/v1/loans/R1/freshness").json()
    assert (body["kind"], body["ref"], body["state"]) == ("loan", "R1", "stale")
    assert body["mark"].startswith("2026-11-01T10:00:00")
    assert {concern["state"] for concern in body["concerns"]} == {"stale"}
    assert len(body["concerns"]) == 9


@pytest.mark.parametrize("plural", ["loans", "leads"])
@pytest.mark.parametrize(("method", "path"), [call for call in CALLS if "seed" not in call[1]])
def test_an_unknown_file_is_404_everywhere_but_where_it_is_made(
    served: Receiver, method: str, path: str, plural: str
) -> None:
    answer = call(served, method, f"/{plural}/R-unknown{path}", {"ok": True} if "exit" in path else None)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("ref", ["R%00", "%20", "R" * 101, "R%0A1"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_reference_that_no_file_can_have_is_404(served: Receiver, method: str, path: str, ref: str) -> None:
    assert call(served, method, f"/loans/{ref}{path}", {"ok": True} if "exit" in path else None).status_code == 404


@pytest.mark.parametrize("own_write_id", [999, 2**63, 10**30])
def test_an_unknown_own_write_is_404(served: Receiver, own_write_id: int) -> None:
    served.seed("R1")
    assert served.portal(f"/loans/R1/mlm/own-writes/{own_write_id}/exit", {"ok": True}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("own-writes", {"capture": "no"}, "capture"),
        ("own-writes", {"captur": False}, "captur"),
        ("own-writes", [], ""),
        ("own-writes/1/exit", {}, "ok"),
        ("own-writes/1/exit", {"ok": 1}, "ok"),
        ("capture-mark", {"own_write": 0}, "own_write"),
        ("capture-mark", {"own_write": 10**30}, "own_write"),
        ("capture-mark", {"since": "yesterday"}, "since"),
        ("capture-mark", {"since": "2026-11-01T00:00:00"}, "since"),
        ("capture-mark", {"own_write": 1, "since": "2026-11-01T00:00:00Z"}, "since"),
        ("seed-mark", {"last_modified": 17}, "last_modified"),
        ("seed-mark", {"last_modified": "a\0"}, "last_modified"),
        ("seed-mark", {"last_modified": "yesterday"}, "stamp"),
        ("refresh", {"now": True}, "now"),
    ],
)
def test_a_body_that_is_not_as_it_should_be_is_told_what_is_wrong(
    served: Receiver, path: str, body: Any, field: str
) -> None:
    served.seed("R1")
    answer = served.portal(f"/loans/R1/mlm/{path}", body)
    assert answer.status_code == 422
    assert field in answer.json()["detail"] + str(answer.json().get("field"))


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"\xff", 400), (b'{"capture":' + b"[" * 50_000, 422), (b" " * 70_000, 413)],
)
def test_a_body_that_is_no_json_or_too_large_is_refused(served: Receiver, content: bytes, status: int) -> None:
    served.seed("R1")
    answer = served.post("/api/v1/loans/R1/mlm/own-writes", token="from-portal", content=content)
    assert answer.status_code == status


@pytest.mark.parametrize("token", [None, "wrong", MLM_TOKEN])
@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
def test_nothing_opens_without_the_portals_token(served: Receiver, method: str, path: str, token: str | None) -> None:
    answer = call(served, method, path, token=token)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


def test_without_a_token_configured_no_portal_route_is_there(engine: sa.Engine) -> None:
    with receiver(engine, {}) as served:
        assert {call(served, method, path).status_code for method, path in EVERY_ROUTE} == {404}


def test_with_postgresql_away_the_portal_is_told_to_try_again() -> None:
    with receiver(engine_to_nowhere()) as served:
        answers = [
            call(served, method, f"/loans/R1{path}", {"ok": True} if "exit" in path else None) for method, path in CALLS
        ]
        assert [answer.status_code for answer in answers] == [503] * len(CALLS)
        assert all("retry-after" in answer.headers for answer in answers)
