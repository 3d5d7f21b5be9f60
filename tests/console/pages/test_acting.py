"""What operators do, what readers may not, and the row that each action leaves."""

from __future__ import annotations

import csv
import io
import re

import pytest
from a_console import OPERATOR, READER, Console, Person
from from_outside import NEWER, entry, receive, until
from scenes import dead, stale

ACTED = "SELECT who, what, on_what, wanted, reached, result FROM console_actions WHERE what <> 'sign in' ORDER BY id"


def a_receipt(web: Console, person: Person, ref: str = "R000001") -> str:
    return re.findall(r"/console/receipts/(\d+\.\d+)", person.page(f"/receipts?search={ref}"))[0]


def orders(web: Console) -> list[int]:
    return [row[0] for row in web.rows("SELECT ordered FROM file_freshness ORDER BY ref")]


@pytest.fixture
def actions(web: Console) -> list[str]:
    """Every address that changes something, for a scene in which each of them could."""
    dead(web.engine, "R000001")
    return ["/refresh/R000001", f"/receipts/{a_receipt(web, web.person(READER))}/replay", "/queues/redrive"]


def test_a_reader_looks_at_everything_and_changes_nothing(web: Console, actions: list[str], reader: Person) -> None:
    before = orders(web)
    for path in (*actions, "/receipts/export"):
        assert reader.post(path).status_code == 403
    assert (orders(web), web.rows(ACTED)) == (before, [])


def test_a_reader_is_offered_no_button_that_would_be_refused(web: Console, actions: list[str], reader: Person) -> None:
    for path in ("/files/R000001", actions[1].removesuffix("/replay"), "/queues/redrive", "/receipts"):
        posts = re.findall(r'<form[^>]*method="post" action="([^"]+)"', reader.page(path))
        assert posts == ["/console/sign-out"], path


def test_a_form_without_our_token_does_nothing(web: Console, actions: list[str], operator: Person) -> None:
    before = orders(web)
    for token in ("", "0" * 64, web.person(OPERATOR).token):
        for path in (*actions, "/receipts/export", "/sign-out"):
            assert operator.post(path, token=token).status_code == 403
    assert (orders(web), web.rows(ACTED)) == (before, [])


def test_whoever_is_not_signed_in_does_nothing(web: Console, actions: list[str]) -> None:
    before = orders(web)
    assert [web.nobody().post(path).status_code for path in actions] == [401] * len(actions)
    assert orders(web) == before


def test_an_action_cannot_be_had_by_a_link(web: Console, actions: list[str], operator: Person) -> None:
    before = orders(web)
    assert operator.get("/refresh/R000001").status_code in (404, 405)
    assert orders(web) == before


def test_refresh_orders_the_file_and_leaves_a_row(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    (before,) = orders(web)
    assert operator.post("/refresh/R000001").headers["location"] == "/console/files/R000001"
    assert orders(web) == [before + 1]
    assert web.rows(ACTED) == [(OPERATOR, "refresh", "R000001", 1, 1, f"order {before + 1}")]


def test_refresh_of_a_file_that_we_do_not_have_is_refused_and_leaves_no_row(web: Console, operator: Person) -> None:
    assert operator.post("/refresh/NOSUCH").status_code == 404
    assert web.rows(ACTED) == []


def test_a_dry_run_of_a_replay_says_what_would_be_decided_and_changes_nothing(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    before = orders(web), web.rows("SELECT count(*) FROM mlm_webhook_receipts")
    said = operator.post(f"/receipts/{a_receipt(web, operator)}/replay", dry="1").text
    assert "already ordered" in said
    assert (orders(web), web.rows("SELECT count(*) FROM mlm_webhook_receipts")) == before
    assert web.rows(ACTED) == []


def test_a_replay_decides_once_more_and_with_force_orders(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    (before,) = orders(web)
    place = a_receipt(web, operator)
    operator.post(f"/receipts/{place}/replay")
    assert orders(web) == [before]
    operator.post(f"/receipts/{place}/replay", force="1")
    assert orders(web) == [before + 1]
    replays = web.rows("SELECT outcome FROM mlm_webhook_receipts WHERE replay_of IS NOT NULL ORDER BY id")
    assert replays == [("already_ordered",), ("dispatched",)]
    assert [row[1:2] + row[3:5] for row in web.rows(ACTED)] == [("replay", 1, 1)] * 2


def test_a_malformed_entry_was_not_kept_and_is_not_replayed(web: Console, operator: Person) -> None:
    receive(web.engine, entry(None, NEWER, fault="not an object"))
    place = re.findall(r"/console/receipts/(\d+\.\d+)", operator.page("/receipts?outcome=malformed"))[0]
    assert "Replay" not in operator.page(f"/receipts/{place}")
    assert operator.post(f"/receipts/{place}/replay").status_code == 409


def test_a_redrive_is_tried_out_first_and_then_orders_those_files_and_no_others(web: Console, operator: Person) -> None:
    dead(web.engine, "R000001", "R000002")
    dead(web.engine, "R000003", concern="fees", error="AccessDenied: {ref}")
    before = orders(web)
    tried = operator.page("/queues/redrive?concern=assets")
    assert "Redrive 2 files" in tried
    assert "R000003" not in tried
    assert orders(web) == before
    assert operator.post("/queues/redrive", concern="assets", rate="100").status_code == 303
    row = until(lambda: next((row for row in web.rows(ACTED) if row[5]), None))
    assert row == (OPERATOR, "redrive", "concern: assets", 2, 2, "2 ordered")
    assert orders(web) == [before[0] + 1, before[1] + 1, before[2]]


def test_a_redrive_of_what_is_not_dead_any_more_is_refused(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    assert operator.post("/queues/redrive").status_code == 409
    assert web.rows(ACTED) == []


def test_an_export_has_what_the_filters_leave_as_csv_and_leaves_a_row(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001", "R000002")
    receive(web.engine, entry("R000001", NEWER), entry("=cmd|calc", NEWER))
    answer = operator.post("/receipts/export", outcome="unknown_file")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["reference_number"] == "'=cmd|calc", "no spreadsheet may take it for a formula"
    assert web.rows(ACTED) == [(OPERATOR, "export", "outcome: unknown_file", 0, 1, "exported")]


def test_who_did_what_shows_every_action(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    operator.post("/refresh/R000001")
    said = operator.page("/actions")
    assert OPERATOR in said
    assert "refresh" in said
    assert "R000001" in said
