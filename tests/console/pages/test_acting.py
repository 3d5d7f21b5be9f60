"""What operators do, what readers may not, and the row that each action leaves."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re

import pytest
from a_console import OPERATOR, READER, USERS, Console, Person, console
from from_outside import NEWER, entry, receive, until
from scenes import dead, stale

from freshness.settings import load
from receiver.reception import reception_of

ACTED = "SELECT who, what, on_what, wanted, reached, result FROM console_actions WHERE what <> 'sign in' ORDER BY id"


def a_receipt(web: Console, person: Person, ref: str = "R000001") -> str:
    return re.findall(r"/console/receipts/(\d+\.\d+)", person.page(f"/receipts?search={ref}"))[0]


def orders(web: Console) -> list[int]:
    return [row[0] for row in web.rows("SELECT ordered FROM file_freshness ORDER BY ref")]


@pytest.fixture
def actions(web: Console) -> list[str]:
    """Every address that changes something, for a scene in which each of them could."""
    dead(web.engine, "R000001")
    receipt = a_receipt(web, web.person(READER))
    return ["/refresh/R000001", f"/receipts/{receipt}/replay", "/queues/redrive", "/receipts/replay"]


def test_a_reader_looks_at_everything_and_changes_nothing(web: Console, actions: list[str], reader: Person) -> None:
    before = orders(web)
    for path in (*actions, "/receipts/export"):
        assert reader.post(path).status_code == 403
    assert (orders(web), web.rows(ACTED)) == (before, [])


def test_a_reader_is_offered_no_button_that_would_be_refused(web: Console, actions: list[str], reader: Person) -> None:
    for path in (
        "/files/R000001",
        actions[1].removesuffix("/replay"),
        "/queues/redrive",
        "/receipts",
        "/receipts/replay",
    ):
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
    assert [web.nobody().post(path).status_code for path in actions] == [303] * len(actions)
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
    page = operator.page(f"/receipts/{place}")
    assert "/replay" not in page
    assert "was not kept" in page
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


def test_an_action_that_broke_off_says_so_in_a_word_on_a_narrow_screen_too(web: Console, reader: Person) -> None:
    web.rows(
        "INSERT INTO console_actions (who, what, on_what, wanted, reached, moved_at) "
        "VALUES ('olaf', 'redrive', 'all', 9, 3, now() - interval '2 min') RETURNING 1"
    )
    said = reader.page("/actions").split("<tbody>")[1]
    assert re.findall(r'<span class="badge bad">([^<]*)</span>', said) == ["broken off"] * 2
    assert re.findall(r'<span class="narrow[^"]*">([^<]*)', said)[0] == "3 of 9; "


def held(web: Console) -> None:
    """Of two files: an entry that orders, and one that joins the order; of a third nothing is known."""
    stale(web.engine, "R000001", "R000002")
    receive(web.engine, entry("R000001", NEWER), entry("NOBODY", NEWER), entry(None, NEWER, fault="not an object"))


def receipts_of(web: Console) -> int:
    return int(web.rows("SELECT count(*) FROM mlm_webhook_receipts")[0][0])


def test_many_receipts_are_counted_first_and_tried_out_before_any_is_replayed(web: Console, operator: Person) -> None:
    held(web)
    before = orders(web), receipts_of(web)
    page = operator.page("/receipts/replay")
    assert "Replay 4 receipts" in page
    assert "Left out: 1 that were not kept" in page
    tried = operator.post("/receipts/replay", dry="1").text
    assert re.findall(r"(\d+) <span[^>]*>([^<]*)<", tried) == [("3", "already ordered"), ("1", "unknown file")]
    assert (orders(web), receipts_of(web)) == before
    assert web.rows(ACTED) == []


def test_a_replay_of_many_takes_what_the_filters_leave_and_says_how_far_it_is(web: Console, operator: Person) -> None:
    held(web)
    before = orders(web)
    assert operator.post("/receipts/replay", search="R000001", force="1").headers["location"] == "/console/queues"
    row = until(lambda: next((row for row in web.rows(ACTED) if row[5]), None))
    assert (row[0], row[1], row[3], row[4], row[5]) == (OPERATOR, "replay of many", 2, 2, "2 dispatched")
    assert row[2].startswith("file or number: R000001")
    assert row[2].endswith("with force")
    assert orders(web) == [before[0] + 2, before[1]]
    assert "2 of 2 receipts; 2 dispatched" in operator.page("/queues")


def test_what_came_after_the_page_was_shown_is_not_replayed(web: Console, operator: Person) -> None:
    held(web)
    until_then = re.findall(r'name="until" value="([^"]+)"', operator.page("/receipts/replay?search=R000001"))[0]
    receive(web.engine, entry("R000001", NEWER))
    operator.post("/receipts/replay", search="R000001", until=until_then)
    row = until(lambda: next((row for row in web.rows(ACTED) if row[5]), None))
    assert row[3:5] == (2, 2)


def test_a_replay_of_nothing_is_refused(web: Console, operator: Person) -> None:
    held(web)
    assert operator.post("/receipts/replay", search="R999999").status_code == 409
    assert web.rows(ACTED) == []


@pytest.fixture
def officer(web: Console, environment: dict[str, str]) -> str:
    """The place of another sender's receipt, and its row spoilt meanwhile."""
    reception = reception_of(load(environment))
    body = b'{"type": "Mortgage", "nmls": "1", "email": "officer@example.com", "timestamp": "2026-11-01 10:00:00"}'
    with web.engine.begin() as conn:
        reception.receive(conn, [reception.opened("mmi", body, dt.datetime.now(dt.UTC))])
    with web.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE mmi_loan_officers SET email = 'spoilt'")
    page = web.person(READER).page("/receipts?sender=mmi")
    return str(re.findall(r"/console/receipts/(\d+\.\d+)", page)[0])


EMAILS = "SELECT email FROM mmi_loan_officers"


def test_another_senders_receipt_is_replayed_by_rebuilding_its_subject(
    web: Console, officer: str, operator: Person
) -> None:
    assert "Rebuild loan officer 1" in operator.page(f"/receipts/{officer}")
    tried = operator.post(f"/receipts/{officer}/replay", dry="1").text
    assert "1 of 1 entries land. Nothing was changed." in tried
    assert web.rows(EMAILS) == [("spoilt",)]
    assert operator.post(f"/receipts/{officer}/replay").status_code == 303
    assert web.rows(EMAILS) == [("officer@example.com",)]
    assert [row[1:2] + row[3:] for row in web.rows(ACTED)] == [("replay", 1, 1, "1 of 1 entries land")]


def test_a_history_that_is_not_whole_is_said_and_nothing_is_changed(
    web: Console, officer: str, operator: Person
) -> None:
    with web.engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM sender_bodies")
    answer = operator.post(f"/receipts/{officer}/replay")
    assert answer.status_code == 409
    assert "1 of 1 entries were dropped" in answer.text
    assert web.rows(EMAILS) == [("spoilt",)]
    assert [row[3:5] for row in web.rows(ACTED)] == [(1, 0)]


def test_a_replay_of_many_rebuilds_each_subject_once(web: Console, officer: str, operator: Person) -> None:
    stale(web.engine, "R000001")
    operator.post("/receipts/replay")
    row = until(lambda: next((row for row in web.rows(ACTED) if row[5]), None))
    assert row[3:] == (2, 2, "1 already ordered, 1 rebuilt")
    assert web.rows(EMAILS) == [("officer@example.com",)]


def test_without_the_keys_the_page_says_why_it_cannot_be_rebuilt(
    web: Console, officer: str, environment: dict[str, str]
) -> None:
    keyless = {name: value for name, value in environment.items() if name != "FIELD_KEYS"} | {"CONSOLE_USERS": USERS}
    with console(web.engine, keyless) as other:
        person = other.person(OPERATOR)
        assert "FIELD_KEYS is not set here" in person.page(f"/receipts/{officer}")
        assert person.post(f"/receipts/{officer}/replay").status_code == 409
