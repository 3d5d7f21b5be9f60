"""The whole product at once, as processes: changes land, whoever is killed, stopped or flushed on the way.

A house for all tests here, files of its own for each. Its two schedulers run throughout: each test holds with both.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import redis
from borrowers_data import found_in, numbers, people
from whole_house import PORTAL_TOKEN, WholeHouse, until, whole_house

from freshness.concerns import ALL, roots
from jobs.announce import CHANNEL
from jobs.bell import depth
from jobs.broker import Queue
from mlm_client.sandbox.editing import CONCERNS

PORTAL_TABLES = {"loans", "leads", "borrowers", "assets", "liabilities", "employments"}
PORTAL_TABLES |= {"real_properties", "incomes", "conditions", "fees"}


@pytest.fixture(scope="module")
def house(_admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    with whole_house(_admin, tmp_path_factory.mktemp("house"), "house", files=30) as house:
        yield house


@pytest.fixture
def edited(house: WholeHouse) -> str:
    """A loan that is here already, for outsiders to edit."""
    if not house.rows("SELECT FROM loans WHERE mlm_reference_number = 'R000004' AND is_hydrated"):
        house.import_("R000004")
    return "R000004"


def test_the_import_command_brings_files_whole_and_says_so(house: WholeHouse) -> None:
    refs = ["R000001", "R000002", "R000003"]
    done = house.run("import", *refs, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    counts = {"total": 3, "ordered": 3, "served": 3, "missing": 0, "deleted": 0, "given_up": 0}
    assert told == {**counts, "resumed": False, "short": []}
    assert [house.differences(ref) for ref in refs] == [[], [], []]


def test_the_import_command_names_what_mlm_lacks_and_what_was_given_up_and_exits_1(house: WholeHouse) -> None:
    with house.mlm.dials.turned(fault_share=1.0, fault_forms=("result_error",), fault_text="Access denied."):
        done = house.run("import", "R000018")
    assert (done.returncode, done.stderr) == (1, "")
    assert "0 of 1 file is here, 1 given up" in done.stdout
    assert re.search("R000018 +loan_fields: AccessDenied: LoadByRefNumber 'R000018'", done.stdout)
    asked = house.start("import", "R999999", "R000018", "--json")
    query = "SELECT id FROM file_freshness WHERE ref = 'R999999' AND not_found_at IS NOT NULL"
    until(lambda: house.rows(query), "MLM has said once that it does not have it")
    house.rows("UPDATE file_freshness SET not_found_at = not_found_at - interval '2 minutes' WHERE ref = 'R999999'")
    house.rows("UPDATE file_concerns SET next_try_at = mlm_now() WHERE next_try_at IS NOT NULL")
    assert asked.ended() == 1
    told = asked.logged()[-1]
    assert (told["served"], told["missing"], told["given_up"]) == (2, 1, 0)
    assert [(each["ref"], each["missing"]) for each in told["short"]] == [("R999999", True)]


@pytest.mark.parametrize("concern", CONCERNS)
def test_an_outsiders_edit_lands_and_its_receipt_tells_when(house: WholeHouse, edited: str, concern: str) -> None:
    house.rests(edited)
    newest = house.rows("SELECT coalesce(max(id), 0) AS id FROM mlm_webhook_receipts")[0].id
    house.touch(edited, concern)
    query = "SELECT * FROM mlm_webhook_receipts WHERE id > %(newest)s AND served_at IS NOT NULL"
    receipt = until(lambda: house.rows(query, newest=newest), f"a receipt of {concern} is served")[0]
    assert (receipt.reference_number, receipt.outcome, receipt.reason) == (edited, "dispatched", "newer")
    assert receipt.rows_changed >= 1
    assert receipt.received_at < receipt.data_updated_at <= receipt.served_at
    house.rests(edited)


def test_pages_and_redis_hear_that_a_file_is_fetched_hydrated_and_fresh(house: WholeHouse, edited: str) -> None:
    house.rests(edited)
    channel = house.redis.pubsub(ignore_subscribe_messages=True)
    channel.subscribe(CHANNEL)
    until(lambda: house.redis.pubsub_numsub(CHANNEL)[0][1] or None, "the channel has its subscriber")
    pages = Pages(house.url, edited)
    house.touch(edited, "loan_fields")
    until(lambda: "fresh" in pages.kinds(), "a page hears that the file is fresh")
    spoken: list[dict[str, Any]] = []

    def heard_all() -> bool:
        message = channel.get_message(timeout=0.1)
        if message is not None:
            spoken.append(json.loads(message["data"]))
        return all(event in spoken for event in pages.events)

    until(heard_all, "the channel says what the pages heard")
    kinds = pages.kinds()
    assert [kinds.index(kind) for kind in ("fetching", "hydrated", "fresh")] == sorted(
        map(kinds.index, dict.fromkeys(kinds))
    )
    assert {event["ref"] for event in pages.events} == {edited}
    pages.close()
    channel.close()


def test_an_order_that_nobody_rang_for_is_read_once_though_two_schedulers_sweep(house: WholeHouse) -> None:
    house.import_("R000006")
    number = house.order("R000006", ring=False)
    house.rests("R000006")
    query = """SELECT concern FROM slice_runs r JOIN file_freshness f ON f.id = r.file_id
               WHERE f.ref = 'R000006' AND r.order_number = %(number)s AND r.outcome = 'landed'"""
    landed = [row.concern for row in house.rows(query, number=number)]
    assert sorted(landed) == sorted(ALL)
    claims = house.rows("SELECT job, period, count(*) FROM schedule_claims GROUP BY job, period")
    assert [(row.job, row.count) for row in claims] == [("receipts.prune", 1)]


def test_a_worker_told_to_stop_finishes_its_slices_and_leaves_the_rest_to_another(house: WholeHouse) -> None:
    refs = [f"R{n:06d}" for n in range(7, 7 + 8 + 4)]
    house.import_(*refs)
    first = house.worker()
    first_id = house.id_of(first)
    at_work = "SELECT count(DISTINCT file_id) FROM file_concerns WHERE lease_worker = %(worker)s"
    with house.mlm.dials.turned(latency_ms=800):
        for ref in refs:
            house.order(ref)
        until(lambda: house.rows(at_work, worker=first_id)[0].count >= 8, "the worker is at work on all its threads")
        first.send(signal.SIGTERM)
        second = house.worker_beside(first)
        assert first.ended() == 0
        assert house.leased(first_id) == []
    for ref in refs:
        house.rests(ref)
    assert house.runs_of(house.id_of(second)), "nothing was left to the second worker"


def test_what_a_killed_worker_was_reading_is_read_by_another(house: WholeHouse) -> None:
    house.import_("R000012")
    first = house.worker()
    first_id = house.id_of(first)
    with house.mlm.dials.turned(latency_ms=3000):
        house.touch("R000012", "loan_fields")
        until(lambda: "loan_fields" in house.leased(first_id), "the slice is at work")
        until(lambda: house.mlm.calls.under_way, "its call is under way")
        first.send(signal.SIGKILL)
        first.ended()
    house.expire(first_id)
    house.worker()
    house.rests("R000012")


def test_a_worker_that_was_paused_past_its_lease_changes_nothing(house: WholeHouse) -> None:
    house.import_("R000013")
    paused = house.worker()
    paused_id = house.id_of(paused)
    until(lambda: not house.mlm.calls.under_way, "calls of killed workers have ended")
    with house.mlm.dials.turned(latency_ms=3000):
        house.touch("R000013", "loan_fields")
        until(lambda: house.leased(paused_id) and house.mlm.calls.under_way, "a slice's call is under way")
        house.pause(paused)
        held = house.leased(paused_id)
        assert held
    house.touch("R000013", "loan_fields")
    house.touch("R000013", "fees")
    house.expire(paused_id)
    house.worker_beside(paused)
    house.rests("R000013")
    before = house.all_of("R000013")
    ended = len(paused.ends_of_slices())
    paused.send(signal.SIGCONT)
    until(lambda: len(paused.ends_of_slices()) >= ended + len(roots()), "what hangs on nothing has ended")
    assert house.all_of("R000013") == before
    assert paused.ends_of_slices()[ended:] == ["lease lost"] * len(roots())
    house.rests("R000013")
    paused.send(signal.SIGTERM)
    assert paused.ended() == 0


def test_a_flushed_redis_costs_seconds_and_no_change(house: WholeHouse) -> None:
    refs = [f"R{n:06d}" for n in range(14, 18)]
    house.import_(*refs)
    worker = house.worker()
    house.pause(worker)
    for ref in refs:
        house.touch(ref, "assets")
    until(lambda: depth(house.redis, Queue.LOAN_SYNC), "work waits in the queue")
    house.redis.flushdb()
    worker.send(signal.SIGCONT)
    for ref in refs:
        until(lambda ref=ref: not house.differences(ref), f"the edit of {ref} is here")
        house.rests(ref)


def test_documents_are_never_fetched(house: WholeHouse, edited: str) -> None:
    house.order(edited)
    house.rests(edited)
    assert house.mlm.calls.counters()["by_operation"]["LoadByRefNumber"] > 0
    assert house.mlm.calls.edocs == 0


def test_no_two_slices_were_ever_at_work_on_one_concern_of_a_file(house: WholeHouse, edited: str) -> None:
    house.order(edited)
    house.rests(edited)
    overlapping = """
        SELECT a.file_id, a.concern FROM slice_runs a JOIN slice_runs b USING (file_id, concern)
        WHERE a.id < b.id AND a.started_at < b.finished_at AND b.started_at < a.finished_at"""
    assert house.rows("SELECT count(*) AS n FROM slice_runs")[0].n >= len(ALL)
    assert house.rows(overlapping) == []


class TestBorrowersData:
    """Stands in the portal's tables, SSNs and account numbers sealed, and nowhere else."""

    @pytest.mark.parametrize("way", [str, json.dumps, str.encode])
    def test_would_be_found(self, house: WholeHouse, way: Any) -> None:
        found = [needle for needle in people(house.mlm) if found_in(f"key {way(needle)}, 7", [needle]) == [needle]]
        assert found == people(house.mlm)

    def test_is_not_in_redis(self, house: WholeHouse, edited: str) -> None:
        house.order(edited)
        house.rests(edited)
        sent = "\n".join(house.monitor.commands)
        assert "dramatiq:loan-sync" in sent
        assert found_in(sent, people(house.mlm)) == []
        assert found_in("\n".join(_held_by(house.redis)), people(house.mlm)) == []

    def test_is_not_in_the_logs(self, house: WholeHouse, edited: str) -> None:
        with house.mlm.dials.turned(fault_next=3, fault_forms=("html503", "fault", "half")):
            house.order(edited)
            until(lambda: house.mlm.calls.by_outcome["half"] or not house.mlm.dials.now.fault_next, "calls failed")
        house.rests(edited)
        logged = "\n".join(each.log.read_text(encoding="utf-8") for each in house.processes)
        assert "slice.failed" in logged
        assert found_in(logged, people(house.mlm)) == []

    def test_is_not_in_the_metrics(self, house: WholeHouse, edited: str) -> None:
        house.rests(edited)
        told = httpx.get(f"{house.url}/metrics").text
        assert "freshness_mlm_calls_total{" in told
        assert found_in(told, people(house.mlm)) == []

    def test_is_in_no_table_but_the_portals(self, house: WholeHouse, edited: str) -> None:
        house.rests(edited)
        tables = set(house.tables()) - PORTAL_TABLES
        assert {"mlm_webhook_receipts", "slice_runs", "audit_log", "file_events"} <= tables
        told = "\n".join(house.as_text(table) for table in sorted(tables))
        assert edited in told
        assert found_in(told, people(house.mlm)) == []

    def test_holds_ssns_and_account_numbers_sealed_only(self, house: WholeHouse, edited: str) -> None:
        house.rests(edited)
        assert house.rows("SELECT FROM borrowers WHERE ssn_encrypted IS NOT NULL")
        assert house.rows("SELECT FROM assets WHERE account_number_encrypted IS NOT NULL")
        told = "\n".join(house.as_text(table) for table in house.tables())
        assert found_in(told, numbers(house.mlm)) == []


class Pages:
    """A portal page that listens to the events of one file."""

    def __init__(self, url: str, ref: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._client = httpx.Client(headers={"Authorization": f"Bearer {PORTAL_TOKEN}"}, timeout=60)
        self._open = threading.Event()
        threading.Thread(target=self._listen, args=(f"{url}/api/v1/events?ref={ref}",), daemon=True).start()
        assert self._open.wait(30)

    def kinds(self) -> list[str]:
        return [event["kind"] for event in list(self.events)]

    def close(self) -> None:
        self._client.close()

    def _listen(self, url: str) -> None:
        with self._client.stream("GET", url) as response:
            assert response.status_code == 200
            try:
                for line in response.iter_lines():
                    self._open.set()  # its first line says from where it tells
                    if line.startswith("data: "):
                        self.events.append(json.loads(line.removeprefix("data: ")))
            except httpx.HTTPError:
                pass  # closed


def _held_by(client: redis.Redis) -> Iterator[str]:
    """Every key and value of a logical database, as text."""
    for key in client.scan_iter(count=1000):
        yield f"{key!r}"
        dumped = {
            b"string": lambda key: client.get(key),
            b"hash": lambda key: client.hgetall(key),
            b"list": lambda key: client.lrange(key, 0, -1),
            b"set": lambda key: client.smembers(key),
            b"zset": lambda key: client.zrange(key, 0, -1),
        }.get(client.type(key))
        if dumped is not None:
            yield f"{dumped(key)!r}"
