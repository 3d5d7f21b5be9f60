"""`freshness queues` and `queues redrive`: what waits, on one screen, and another chance for what was given up."""

from __future__ import annotations

import re
import signal
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import redis
import sqlalchemy as sa
from forked import Forked
from from_outside import (
    ANSI,
    BARE,
    NEWER,
    RULES,
    SEEDED,
    Run,
    entry,
    objects,
    on_a_terminal,
    receive,
    rows,
    until,
)

from console import backlog, redriving
from console.cli import main
from freshness.bell import Ring, Work
from freshness.concerns import ALL, Concern
from freshness.ledger import failures, files, given_up, leases, own_writes, workers
from freshness.ledger.files import FileRef
from freshness.ledger.given_up import Filter, GivenUp
from freshness.ledger.leases import Lease
from freshness.ledger.status import freshness_of
from freshness.settings import load
from jobs.bell import depth, make_bell
from jobs.broker import Queue, make_broker
from jobs.house import House
from mlm_client.errors import SignInFailed
from mlm_client.sandbox.server import SandboxServer

OUTAGE = "Outage: LoadByRefNumber {ref!r}: MLM answers with a page of its own (HTTP 503)"
REJECTED = "Rejected: LoadByRefNumber {ref!r}: MLM refuses the call"
DEAD = [
    ("R000001", Concern.FEES, OUTAGE),
    ("R000002", Concern.FEES, OUTAGE),
    ("R000003", Concern.LOAN_FIELDS, REJECTED),
]


@pytest.fixture
def dead(engine: sa.Engine) -> None:
    """Fees of two files were given up, loan fields of a third; a fourth is only stale."""
    for ref in ("R000001", "R000002", "R000003", "R000004"):
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("loan", ref), SEEDED)
        receive(engine, entry(ref, NEWER))
    for ref, concern, error in DEAD:
        lease = take(engine, ref, concern)
        with engine.begin() as conn:
            failures.failed(conn, RULES, lease, error.format(ref=ref), final=True, lot=Random(1))


def take(engine: sa.Engine, ref: str, concern: Concern, worker: str = "here:1:a") -> Lease:
    with engine.begin() as conn:
        workers.beat(conn, worker, "here", 1)
        file_id = conn.exec_driver_sql("SELECT id FROM file_freshness WHERE ref = %(ref)s", {"ref": ref}).scalar_one()
        taken = leases.take(conn, RULES, file_id, concern, worker, uuid.uuid4())
    assert isinstance(taken, list)
    return taken[0]


def redriven(engine: sa.Engine) -> list[str]:
    """The files that have an order by a redrive."""
    query = "SELECT ref FROM refresh_orders JOIN file_freshness ON id = file_id WHERE cause = 'redrive' ORDER BY ref"
    return [row.ref for row in rows(engine, query)]


def nowhere() -> str:
    """A Redis that is away."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{unused.getsockname()[1]}/0"


class TestQueues:
    @pytest.mark.usefixtures("dead")
    def test_one_screen_of_80_columns_shows_what_waits_is_stale_at_work_and_given_up(
        self, environment: dict[str, str], engine: sa.Engine, redis_url: str
    ) -> None:
        lease = take(engine, "R000004", Concern.LOAN_FIELDS)
        make_bell(make_broker(redis_url))([Ring(Work.HYDRATE_FILE, lease.file.id)])
        printed = on_a_terminal(environment, "queues")
        shown = ANSI.sub("", printed)
        assert printed != shown
        assert max(map(len, shown.splitlines())) <= 80
        assert re.search(r"^ loan-sync +1 +0 +0 +0 ", shown, re.MULTILINE)
        assert "4 files stale, the oldest for " in shown
        assert re.search(r"^ loan_fields +4 +1 +0 +1 ", shown, re.MULTILINE)
        assert re.search(r"^ fees +4 +0 +0 +2 ", shown, re.MULTILINE)
        assert re.search(r"^ fees +2 .* Outage: LoadByRefNumber '…'", shown, re.MULTILINE)
        assert re.search(r"^ R000004 +loan_fields .* here:1:a", shown, re.MULTILINE)

    @pytest.mark.usefixtures("dead")
    def test_json_is_one_object_with_all_of_it_and_no_colours(self, run: Run) -> None:
        (told,) = objects(run("queues", "--json"))
        assert [queue["queue"] for queue in told["queues"]] == [str(queue) for queue in Queue]
        assert (told["backlog"]["stale_files"], told["circuit"]["state"]) == (4, "closed")
        assert {each["concern"]: each["given_up"] for each in told["backlog"]["concerns"]}["fees"] == 2
        assert [(each["concern"], each["files"]) for each in told["given_up"]] == [("fees", 2), ("loan_fields", 1)]

    @pytest.mark.usefixtures("loan")
    def test_with_redis_away_what_is_due_is_shown_all_the_same_and_it_exits_1(self, run: Run) -> None:
        done = run("queues", REDIS_URL=nowhere())
        assert done.returncode == 1
        assert done.stderr.startswith("freshness: Redis: ")
        assert "1 file stale" in done.stdout
        assert "No worker is running" in done.stdout

    def test_an_mlm_that_is_away_is_said(
        self, environment: dict[str, str], engine: sa.Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        house = House(load(environment), "tests")
        backlog.tell(backlog.look(house))
        assert "MLM is away" not in capsys.readouterr().out
        with suppress(SignInFailed), house.pacer.place(prompt=True, deadline_s=5):
            raise SignInFailed("MLM refuses our client id and secret")
        backlog.tell(backlog.look(house))
        shown = capsys.readouterr().out
        assert re.search("MLM is away since .*; one .*\n  SignInFailed: MLM refuses our client id and secret", shown)
        house.engine.dispose()

    def test_of_many_leases_ten_are_shown(
        self, environment: dict[str, str], engine: sa.Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in range(12):
            with engine.begin() as conn:
                own_writes.seed_mark(conn, RULES, FileRef("loan", f"R{number:06}"), SEEDED)
            receive(engine, entry(f"R{number:06}", NEWER))
            take(engine, f"R{number:06}", Concern.FEES)
        backlog.tell(backlog.look(House(load(environment), "tests")))
        shown = capsys.readouterr().out
        assert len(re.findall(r"^ R\d{6} +fees", shown, re.MULTILINE)) == 10
        assert "… and 2 more" in shown


@pytest.mark.usefixtures("dead")
class TestRedrive:
    def test_a_dry_run_lists_each_with_its_error_and_changes_nothing(self, run: Run, engine: sa.Engine) -> None:
        told = objects(run("queues", "redrive", "--dry-run", "--json"))
        assert [(each["ref"], each["concern"], each["last_error"]) for each in told] == [
            (ref, concern, error.format(ref=ref)) for ref, concern, error in DEAD
        ]
        assert all(each["attempts"] == 8 and each["last_error_at"] for each in told)
        assert redriven(engine) == []

    def test_orders_each_file_and_rings_for_it(self, run: Run, engine: sa.Engine, redis_url: str) -> None:
        done = run("queues", "redrive", "--rate", "50/s")
        assert (done.returncode, done.stdout, done.stderr.strip()) == (0, "Ordered 3 files.\n", "")
        assert redriven(engine) == ["R000001", "R000002", "R000003"]
        with redis.Redis.from_url(redis_url) as client:
            assert depth(client, Queue.LOAN_SYNC) == 3
        assert run("queues", "redrive").stdout == "Nothing of that kind was given up.\n"
        assert redriven(engine) == ["R000001", "R000002", "R000003"]

    def test_takes_only_what_the_options_leave_and_tells_scripts_each_order(self, run: Run, engine: sa.Engine) -> None:
        told = objects(
            run("queues", "redrive", "--concern", "fees", "--error", "http 503", "--ref", "R000002", "--json")
        )
        assert told == [{"ref": "R000002", "concerns": ["fees"], "order": 2}]
        assert redriven(engine) == ["R000002"]

    def test_a_file_that_we_do_not_have_is_one_line_and_exits_1(self, run: Run) -> None:
        done = run("queues", "redrive", "--ref", "R999999")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == "freshness: no file with reference 'R999999'\n"

    def test_is_broken_off_by_ctrl_c_and_the_same_command_takes_the_rest(
        self, environment: dict[str, str], engine: sa.Engine, tmp_path: Path
    ) -> None:
        slowly, said = ["queues", "redrive", "--rate", "0.01/s"], tmp_path / "said"
        process = Forked(main, slowly, env=BARE | environment, err=said)
        until(lambda: redriven(engine))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
        assert "the same command takes the rest" in said.read_text("utf-8")
        assert redriven(engine) == ["R000001"]
        assert {each.ref for each in given(engine)} == {"R000002", "R000003"}

    def test_a_file_that_was_ordered_meanwhile_is_left_alone(self, engine: sa.Engine) -> None:
        found = given(engine)
        receive(engine, entry("R000001", "2026-11-01T12:00:00Z"))
        rang: list[Ring] = []
        done = list(redriving.redrive(engine, RULES, rang.extend, found))
        assert [(each.ref, each.order) for each in done] == [("R000001", None), ("R000002", 2), ("R000003", 2)]
        assert len(rang) == 2
        assert redriven(engine) == ["R000002", "R000003"]

    def test_a_file_with_several_concerns_given_up_is_ordered_once(self, engine: sa.Engine) -> None:
        lease = take(engine, "R000001", Concern.CONDITIONS)
        with engine.begin() as conn:
            failures.failed(conn, RULES, lease, REJECTED.format(ref="R000001"), final=True, lot=Random(1))
        found = [each for each in given(engine) if each.ref == "R000001"]
        (done,) = redriving.redrive(engine, RULES, lambda rings: None, found)
        assert (done.concerns, done.order) == (("conditions", "fees"), 2)


def test_what_mlm_denied_is_shown_and_lands_after_a_redrive(environment: dict[str, str], run: Run) -> None:
    with SandboxServer(files=1, seed=1) as mlm:
        environ = environment | {"MLM_LOAN_SERVICE_URL": mlm.loan_service_url, "MLM_TOKEN_URL": mlm.token_url}
        environ["MLM_SHARED_READS"] = "0"
        environ |= {"MLM_CLIENT_ID": mlm.client_id, "MLM_CLIENT_SECRET": mlm.client_secret}
        house = House(load(environ), "tests")
        house.beat()
        with house.engine.begin() as conn:
            file_id = files.import_file(conn, "R000001").file_id
        mlm.dials.patch(fault_next=1, fault_forms=("result_error",), fault_text="Access denied.")
        house.slices.run(file_id, Concern.LOAN_FIELDS)
        (told,) = objects(run("queues", "--json"))
        assert [(each["concern"], each["error"][:40]) for each in told["given_up"]] == [
            ("loan_fields", "AccessDenied: LoadByRefNumber '…': MLM d")
        ]
        assert objects(run("queues", "redrive", "--error", "denied", "--json"))[0]["order"] == 2

        def read() -> bool:
            house.beat()
            for concern in ALL:
                house.slices.run(file_id, concern)
            with house.engine.begin() as conn:
                return freshness_of(conn, house.rules, "R000001").state == "fresh"

        assert until(read)
        house.engine.dispose()


@pytest.mark.parametrize("args", [["--rate", "5/min"], ["--concern", "income"]])
def test_wrong_use_exits_2_and_says_what_is_wrong(args: list[str], run: Run) -> None:
    done = run("queues", "redrive", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert args[0] in done.stderr


def given(engine: sa.Engine) -> list[GivenUp]:
    with engine.begin() as conn:
        return given_up.listed(conn, RULES, Filter())
