"""The sandbox's JSON API over HTTP, and the sandbox as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sandbox_caller import Caller, asked, query

import mlm_client.sandbox
from mlm_client.sandbox import SandboxServer
from mlm_client.sandbox.editing import CONCERNS
from mlm_client.sandbox.fields import COLLECTIONS

REF = "R000001"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(files=6, seed=3) as mlm:
        yield mlm


@pytest.fixture
def caller(server: SandboxServer) -> Iterator[Caller]:
    backup = server.store.back_up()
    yield Caller(server)
    server.dials.reset()
    server.store.roll_back(backup)
    server.calls.clear()


def test_a_file_is_told_whole_and_agrees_with_what_a_read_shows(caller: Caller) -> None:
    file = caller.api("GET", f"/api/files/{REF}")
    fields = [name for name in file["fields"] if name != "sLRefNm"]
    answer = caller.load(REF, query(asked("sLastModifiedTimestamp", *fields)))
    assert answer.field("sLastModifiedTimestamp") == file["stamp_text"]
    assert answer.field("sSpCity") == file["fields"]["sSpCity"]
    assert {*file["collections"], *file["applicants"][0]["collections"]} == set(COLLECTIONS)
    assert (file["ref"], file["number"], file["kind"]) == (REF, file["fields"]["sLNm"], "loan")


def test_files_are_listed_made_deleted_and_restored(caller: Caller) -> None:
    made = caller.api("POST", "/api/files", {"kind": "lead", "seed": 9, "fields": {"sSpCity": "Ávila"}}, 201)
    assert (made["kind"], made["fields"]["sSpCity"]) == ("lead", "Ávila")
    ref = made["ref"]
    assert caller.api("DELETE", f"/api/files/{ref}")["deleted"] is True
    listed = {file["ref"]: file for file in caller.api("GET", "/api/files")["files"]}
    assert listed[ref]["deleted"] is True
    assert caller.load(ref).document.get("status") == "Error"
    restored = caller.api("POST", f"/api/files/{ref}/restore")
    assert restored["stamp"] > listed[ref]["stamp"]
    assert caller.load(ref).field("sLastModifiedTimestamp") == restored["stamp_text"]


def test_an_edit_of_fields_applicants_and_records_is_one_save(caller: Caller) -> None:
    before = caller.api("GET", f"/api/files/{REF}")
    fee = before["collections"]["sClosingCostFeeCollection"][0]
    asset = before["applicants"][0]["collections"]["aAssetCollection"][0]
    fee_id, asset_id = fee["RecordId"], asset["RecordId"]
    done = caller.api(
        "POST",
        f"/api/files/{REF}/edit",
        {
            "fields": {"sNoteIR": "6.5%", "sEstCloseD": "not a date"},
            "applicant": {"index": 0, "fields": {"aBCellphone": "(555) 555-0100"}},
            "collection": [
                {"name": "sClosingCostFeeCollection", "op": "change", "record": {"RecordId": fee_id, "Amt": "$9.5"}},
                {"name": "aAssetCollection", "applicant": 0, "op": "remove", "record": {"RecordId": asset_id}},
                {"name": "sCondDataSet", "op": "add", "record": {"CondDesc": "Zeugnis"}},
            ],
        },
    )  # fmt: skip
    after = caller.api("GET", f"/api/files/{REF}")
    assert (after["version"], after["stamp"]) == (before["version"] + 1, done["stamp"])
    assert after["fields"]["sNoteIR"] == "6.500"
    assert after["fields"]["sEstCloseD"] == "not a date", "what fits no form is kept as it stands"
    assert caller.load(REF, query(asked("sEstCloseD"))).field("sEstCloseD") == "not a date"
    assert after["applicants"][0]["fields"]["aBCellphone"] == "(555) 555-0100"
    assert after["collections"]["sClosingCostFeeCollection"][0] == {**fee, "Amt": "9.50"}
    assert asset not in after["applicants"][0]["collections"]["aAssetCollection"]
    assert after["collections"]["sCondDataSet"][-1]["CondDesc"] == "Zeugnis"
    rate = {"field": "sNoteIR", "old": before["fields"]["sNoteIR"], "new": "6.500"}
    assert rate in done["changes"]


@pytest.mark.parametrize("concern", CONCERNS)
def test_a_touch_changes_something_of_its_concern_and_says_what(caller: Caller, concern: str) -> None:
    before = caller.api("GET", f"/api/files/{REF}")
    done = caller.api("POST", f"/api/files/{REF}/touch/{concern}")
    (change,) = done["changes"]
    after = caller.api("GET", f"/api/files/{REF}")
    assert after["stamp"] == done["stamp"]
    assert change.get("old") != change.get("new") or change["op"] == "add"
    if "collection" in change:
        assert COLLECTIONS[change["collection"]].concern == concern
    places = {
        "loan_fields": lambda file: file["fields"],
        "borrowers": lambda file: [applicant["fields"] for applicant in file["applicants"]],
    }
    place = places.get(
        concern,
        lambda file: [
            file["collections"].get(change["collection"]),
            *(applicant["collections"].get(change["collection"]) for applicant in file["applicants"]),
        ],
    )
    assert place(before) != place(after)


@pytest.mark.parametrize("op", ["add", "remove"])
@pytest.mark.parametrize("concern", [concern for concern in CONCERNS if concern != "loan_fields"])
def test_a_touch_can_add_or_remove_a_record(caller: Caller, concern: str, op: str) -> None:
    caller.api("POST", f"/api/files/{REF}/touch/{concern}", {"op": "add"})

    def count() -> int:
        file = caller.api("GET", f"/api/files/{REF}")
        held = [file["collections"], *(applicant["collections"] for applicant in file["applicants"])]
        records = [len(r) for each in held for name, r in each.items() if COLLECTIONS[name].concern == concern]
        return len(file["applicants"]) if concern == "borrowers" else sum(records)

    before = count()
    caller.api("POST", f"/api/files/{REF}/touch/{concern}", {"op": op})
    assert count() == before + (1 if op == "add" else -1)


def test_a_removed_liability_is_taken_out_of_the_properties_that_named_it(caller: Caller) -> None:
    added = {"name": "aReCollection", "applicant": 0, "op": "add", "record": {}}
    debt = caller.mlm.store.newest(REF).content.applicants[0].collections["aLiaCollection"][0]["RecordId"]
    caller.api("POST", f"/api/files/{REF}/edit", {"collection": {**added, "record": {"LiaRecordIds": debt}}})
    removed = {"name": "aLiaCollection", "applicant": 0, "op": "remove", "record": {"RecordId": debt}}
    caller.api("POST", f"/api/files/{REF}/edit", {"collection": removed})
    owned = caller.api("GET", f"/api/files/{REF}")["applicants"][0]["collections"]["aReCollection"]
    assert all(debt not in each["LiaRecordIds"] for each in owned)


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"fields": {"sNoSuch": "1"}}, "sNoSuch"), ({"field": {}}, "field"), ({"fields": [1]}, "fields"),
        ({"applicant": {"index": 9, "fields": {}}}, "applicant 9"), ({"collection": {"name": "aNone"}}, "aNone"),
        ({"collection": {"name": "sCondDataSet", "record": {"RecordId": "nope"}}}, "nope"),
        ({"applicant": {"op": "sell"}}, "sell"), ({"fields": {"sLNm": "2026110002"}}, "2026110002"),
    ],
)  # fmt: skip
def test_an_edit_that_cannot_be_is_refused_by_name_and_saves_nothing(
    caller: Caller, order: dict[str, object], named: str
) -> None:
    before = caller.mlm.store.newest(REF)
    assert named in caller.api("POST", f"/api/files/{REF}/edit", order, 400)["error"]
    assert caller.mlm.store.newest(REF) is before


def test_unknown_files_and_bodies_are_told_apart(caller: Caller) -> None:
    assert "R9" in caller.api("GET", "/api/files/R9", status=404)["error"]
    assert caller.api("POST", f"/api/files/{REF}/edit", [1], 400)["error"]
    assert "sulk" in caller.api("POST", f"/api/files/{REF}/touch/sulk", status=400)["error"]
    assert "fault_next" in caller.api("PATCH", "/api/knobs", {"fault_next": "x"}, 400)["error"]


def test_a_lead_becomes_a_loan_under_its_reference_or_a_new_one(caller: Caller) -> None:
    kept, left = (caller.api("POST", "/api/files", {"kind": "lead"}, 201)["ref"] for _ in range(2))
    loan = caller.api("POST", f"/api/files/{kept}/convert")
    assert (loan["ref"], loan["kind"], loan["number"].startswith("LEAD")) == (kept, "loan", False)
    new = caller.api("POST", f"/api/files/{left}/convert", {"keep_reference": False})
    assert new["ref"] != left
    assert caller.load(left).document.get("status") == "Error"
    assert "no lead" in caller.api("POST", f"/api/files/{kept}/convert", status=400)["error"]


def test_a_renumbered_file_keeps_its_reference(caller: Caller) -> None:
    old = caller.mlm.store.newest(REF).content.number
    caller.api("POST", f"/api/files/{REF}/renumber", {"number": "2026119999"})
    assert caller.load(REF, query(asked("sLNm"))).field("sLNm") == "2026119999"
    gone = caller.call("Load", sLNm=old, sXmlQuery=query(), format="0")
    assert gone.document.get("status") == "Error"


def test_recompute_and_late_saves_are_made_at_once_when_asked(caller: Caller) -> None:
    caller.api("PATCH", "/api/knobs", {"recompute_lag_ms": 3_600_000})
    caller.api("POST", f"/api/files/{REF}/edit", {"fields": {"sLAmtCalc": "111000"}})
    stale = caller.api("GET", f"/api/files/{REF}")
    caller.api("POST", f"/api/files/{REF}/recompute")
    fresh = caller.api("GET", f"/api/files/{REF}")
    assert fresh["fields"]["sLtvR"] != stale["fields"]["sLtvR"]
    caller.api("POST", "/api/late-saves")
    assert caller.api("GET", f"/api/files/{REF}")["version"] == fresh["version"], "nothing was left to recompute"


def test_mlm_restored_from_a_backup_shows_old_content_and_old_stamps(caller: Caller) -> None:
    before = caller.api("GET", f"/api/files/{REF}")
    whole = caller.api("POST", "/api/backups", status=201)["backup"]
    caller.api("POST", f"/api/files/{REF}/touch/fees")
    one = caller.api("POST", "/api/backups", {"ref": REF}, 201)["backup"]
    newer = caller.api("POST", "/api/files", {}, 201)["ref"]
    caller.api("POST", f"/api/files/{REF}/renumber", {"number": "2026118888"})
    assert caller.api("POST", f"/api/backups/{one}/rollback") == {"changed": [REF]}
    assert caller.load(newer).field("sLastModifiedTimestamp"), "a backup of one file leaves the others"
    assert set(caller.api("POST", f"/api/backups/{whole}/rollback")["changed"]) == {REF, newer}
    assert caller.api("GET", f"/api/files/{REF}") == before
    by_number = caller.call("Load", sLNm=before["number"], sXmlQuery=query(), format="0")
    assert by_number.field("sLastModifiedTimestamp") == before["stamp_text"]
    caller.api("GET", f"/api/files/{newer}", status=404)


def test_knobs_are_told_turned_and_reset(caller: Caller) -> None:
    assert caller.api("PATCH", "/api/knobs", {"fault_next": 2})["fault_next"] == 2
    assert caller.load(REF).http.status_code == 503
    assert caller.api("GET", "/api/knobs")["fault_next"] == 1
    assert caller.api("DELETE", "/api/knobs")["fault_next"] == 0
    assert set(caller.api("GET", "/api/knobs/help")) == set(caller.api("GET", "/api/knobs"))


def test_calls_are_logged_with_what_was_asked_and_counted_at_their_most_concurrent(caller: Caller) -> None:
    caller.api("PATCH", "/api/knobs", {"latency_ms": 300})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: caller.load(REF, query(asked("sNoteIR"), asked("aBSsn")), soap="1.2"), range(4)))
    log = caller.api("GET", f"/api/calls?ref={REF}&operation=LoadByRefNumber")
    assert (log["total"], log["under_way"], log["most_under_way"]) == (4, 0, 4)
    assert log["by_operation"] == {"LoadByRefNumber": 4}
    call = log["calls"][-1]
    assert (call["ids"], call["soap"], call["outcome"]) == (["sNoteIR", "aBSsn"], "1.2", "ok")
    assert call["duration_ms"] > 200
    assert caller.api("DELETE", "/api/calls")["total"] == 0


def test_tokens_are_revoked_and_the_webhook_is_pointed_elsewhere(caller: Caller) -> None:
    assert caller.api("POST", "/api/tokens/revoke")["revoked"] >= 1
    assert caller.load(REF).document.get("status") == "Error"
    url = "http://127.0.0.1:9/hook"
    assert caller.api("PUT", "/api/webhook", {"url": url, "token": "t"}) == {"url": url}
    assert caller.api("GET", "/api/webhook") == {"url": url}
    caller.api("POST", f"/api/files/{REF}/touch/fees")
    assert caller.mlm.deliveries.wait_until_idle()
    told = caller.api("GET", "/api/deliveries?limit=1")
    assert told["deliveries"][0]["refs"] == [REF]
    assert caller.api("PUT", "/api/webhook", {"url": None}) == {"url": None}


def test_what_the_package_exports_is_there() -> None:
    assert all(hasattr(mlm_client.sandbox, name) for name in mlm_client.sandbox.__all__)


def test_a_sandbox_process_answers_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    program = "from mlm_client.sandbox import run; run(port=0, files=3, started=lambda url: print(url, flush=True))"
    root = Path(mlm_client.sandbox.__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        health = httpx.get(f"{url}/api/health", timeout=5, trust_env=False).json()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert health == {"status": "ok", "files": 3}
    assert (process.returncode, errors) == (0, "")
