"""`freshness doctor`: what is in order is said to be, what is not is told with what to do, and no secret shows."""

from __future__ import annotations

import datetime as dt
import json
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
import redis
import sqlalchemy as sa
from from_outside import ANSI, NEWER, RULES, SEEDED, Run, entry, objects, on_a_terminal, receive

from console.doctor import running, servers
from console.doctor.examining import examine
from console.doctor.finding import Finding, State
from freshness.bell import Ring, Work
from freshness.concerns import Concern
from freshness.ledger import backstops, deliveries, failures, leases, own_writes, workers
from freshness.ledger.backstops import Backstop
from freshness.ledger.deliveries import Refusal
from freshness.ledger.files import FileRef
from freshness.settings import SETTINGS, load
from jobs.bell import make_bell
from jobs.broker import make_broker
from jobs.house import House
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import SandboxServer
from receiver.outline import outline
from receiver.spool import Spool

OK, WARN, FAIL = State.OK, State.WARN, State.FAIL
HUSH = "hush-hush"
WEBHOOK = "/api/v1/loans/mlm/webhook"


@pytest.fixture(scope="module")
def _mlm() -> Iterator[SandboxServer]:
    with SandboxServer(files=3, seed=1) as server:
        yield server


@pytest.fixture
def mlm(_mlm: SandboxServer) -> Iterator[SandboxServer]:
    yield _mlm
    _mlm.dials.reset()
    _mlm.calls.clear()


@pytest.fixture
def environ(environment: dict[str, str], mlm: SandboxServer) -> dict[str, str]:
    """Everything that is needed is set."""
    return environment | {
        "MLM_LOAN_SERVICE_URL": mlm.loan_service_url,
        "MLM_TOKEN_URL": mlm.token_url,
        "MLM_CLIENT_ID": mlm.client_id,
        "MLM_CLIENT_SECRET": mlm.client_secret,
        "MLM_WEBHOOK_TOKEN": HUSH,
    }


@pytest.fixture
def file(engine: sa.Engine) -> str:
    """A file of ours that MLM has too."""
    with engine.begin() as conn:
        own_writes.seed_mark(conn, RULES, FileRef("loan", "R000001"), SEEDED)
    return "R000001"


@pytest.fixture
def alive(engine: sa.Engine) -> None:
    """A worker and a scheduler that live."""
    with engine.begin() as conn:
        workers.beat(conn, "w", "here", 1)
        workers.beat(conn, "s", "here", 2, workers.SCHEDULER)


def found(environ: dict[str, str]) -> dict[str, Finding]:
    """What the examination finds, by what it is about."""
    return {each.about: each for _, findings in examine(environ) for each in findings}


def nowhere() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.usefixtures("file", "alive")
def test_a_house_in_order_is_ok_throughout_and_exits_0(environ: dict[str, str], engine: sa.Engine, run: Run) -> None:
    receive(engine, entry("R000001", SEEDED))
    told = {each["about"]: each for each in objects(run("doctor", "--json", **environ))}
    assert {each["state"] for each in told.values()} == {"ok"}
    assert set(told) >= {setting.name for setting in SETTINGS} | {
        "PostgreSQL", "migrations", "Redis", "Redis persistence", "Redis eviction", "clocks", "MLM sign-in", "MLM call",
        "sealed values", "workers", "scheduler", "webhook entries", "refused deliveries", "stamps", "receipts' weeks",
        "stale files",
        "given up", "queues", "poll list", "rounds", "audit", "missed changes",
    }  # fmt: skip


def test_people_get_80_columns_with_what_to_do_and_it_exits_1_if_anything_is_to_be_mended(
    environ: dict[str, str],
) -> None:
    printed = on_a_terminal(environ, "doctor", code=1)
    shown = ANSI.sub("", printed)
    assert printed != shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "fail  workers    none lives: nothing is read from MLM\n" in shown
    assert "→ run: freshness worker\n" in shown
    assert shown.endswith(" ok, 1 to look at, 2 to mend.\n")
    assert HUSH not in printed


class TestSettings:
    def test_without_any_each_that_is_needed_is_named_with_what_it_is(self) -> None:
        told = found({})
        missing = {name for name, each in told.items() if each.state is FAIL}
        needed = {"DATABASE_URL", "REDIS_URL", "FIELD_KEYS", "MLM_LOAN_SERVICE_URL", "MLM_TOKEN_URL"}
        assert missing == needed | {"MLM_CLIENT_ID", "MLM_CLIENT_SECRET"}
        assert told["DATABASE_URL"].do is not None
        assert "PostgreSQL 15" in told["DATABASE_URL"].do
        assert told["MLM_WEBHOOK_TOKEN"].state is WARN

    def test_several_that_are_wrong_are_all_named_and_the_rest_is_looked_at(self, environ: dict[str, str]) -> None:
        told = found(environ | {"MLM_RATE": "often", "PORT": "http", "MLM_NAMES": "/no/such/file"})
        assert [told[name].state for name in ("MLM_RATE", "PORT", "PostgreSQL", "Redis")] == [FAIL, FAIL, OK, OK]
        assert told["MLM_RATE"].what == "must be a number (it is 'often')"
        assert told["MLM_NAMES"].state is FAIL
        assert told["workers"].state is FAIL

    def test_no_secret_is_shown_wherever_it_stands(self, environ: dict[str, str], tmp_path: Path) -> None:
        secrets = {setting.name: HUSH for setting in SETTINGS if setting.secret}
        (tmp_path / "t").write_text(HUSH)
        kept = {"REDIS_URL": environ["REDIS_URL"], "MLM_LOAN_SERVICE_URL": f"https://u:{HUSH}@{nowhere()}/x?t={HUSH}"}
        away = {"DATABASE_URL": f"postgresql://someone:{HUSH}@{nowhere()}/x"}
        for each in (secrets, secrets | kept, away | kept, {"MLM_APP_CODE_FILE": str(tmp_path / "t")}):
            assert HUSH not in repr(found(environ | each))

    @pytest.mark.parametrize(
        ("url", "state"),
        [("http://mlm.example/x", WARN), ("https://mlm.example/x", OK), ("http://127.0.0.1:1/x", OK)],
    )
    def test_a_way_that_anybody_can_listen_on_is_worth_a_look(self, url: str, state: State) -> None:
        assert found({"MLM_TOKEN_URL": url})["MLM_TOKEN_URL"].state is state


class TestPostgresql:
    def test_that_is_away_leaves_out_what_needs_it_and_no_more(self, environ: dict[str, str], tmp_path: Path) -> None:
        away = {"DATABASE_URL": f"postgresql://someone:{HUSH}@{nowhere()}/x", "SPOOL_DIR": str(tmp_path)}
        told = found(environ | away)
        assert [told[name].state for name in ("PostgreSQL", "Redis", "spool")] == [FAIL, OK, OK]
        assert "Connection refused" in told["PostgreSQL"].what
        assert not set(told) & {"migrations", "workers", "MLM call"}

    def test_without_our_tables_says_how_to_get_them(self, environ: dict[str, str], empty_database_url: str) -> None:
        told = found(environ | {"DATABASE_URL": empty_database_url})
        assert (told["migrations"].state, told["migrations"].do) == (FAIL, "run: freshness migrate")
        assert "workers" not in told

    def test_that_is_a_step_behind_is_to_be_migrated(self, environ: dict[str, str], empty_database_url: str) -> None:
        upgrade(empty_database_url, "0003")
        told = found(environ | {"DATABASE_URL": empty_database_url})
        assert (told["migrations"].state, told["migrations"].do) == (FAIL, "run: freshness migrate")
        assert told["migrations"].what.startswith("at step 0003 of ")

    def test_that_is_ahead_is_an_upgrade_under_way(self, environ: dict[str, str], engine: sa.Engine) -> None:
        do(engine, "UPDATE alembic_version SET version_num = '9999'")
        told = found(environ)
        assert told["migrations"].state is WARN
        assert told["workers"].state is FAIL, "the rest is looked at"

    def test_that_takes_no_writes_is_a_standby(self, environ: dict[str, str], engine: sa.Engine) -> None:
        do(engine, f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = on")
        assert "read only" in found(environ)["PostgreSQL"].what


class TestRedis:
    def test_that_is_away_leaves_mlm_alone(self, environ: dict[str, str], mlm: SandboxServer) -> None:
        told = found(environ | {"REDIS_URL": f"redis://{nowhere()}/0"})
        assert (told["Redis"].state, told["PostgreSQL"].state, told["workers"].state) == (FAIL, OK, FAIL)
        assert (mlm.calls.sign_ins, mlm.calls.total) == (0, 0)

    def test_that_may_throw_keys_away_is_worth_a_look(self, environ: dict[str, str], redis_url: str) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            try:
                told = found(environ)["Redis eviction"]
            finally:
                client.config_set("maxmemory-policy", "noeviction")
        assert told.state is WARN
        assert "allkeys-lru" in told.what

    @pytest.mark.parametrize(
        ("told", "state"),
        [
            ({"redis_version": "6.0.16"}, FAIL),
            ({"redis_version": "6.2.0"}, OK),
            ({"redis_version": "10.0"}, OK),
            ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, OK),
            ({"redis_version": "7.2.4", "role": "slave"}, FAIL),
            ({"redis_version": "7.2.4", "cluster_enabled": 1}, FAIL),
        ],
    )
    def test_of_a_version_or_a_role_that_does_not_do_is_told(self, told: dict[str, object], state: State) -> None:
        assert servers._redis_version(told).state is state

    @pytest.mark.parametrize("told", [{"rdb_last_bgsave_status": "err"}, {"aof_last_write_status": "err"}])
    def test_that_cannot_write_to_its_disk_is_to_be_mended(self, told: dict[str, object]) -> None:
        assert servers._persistence(told).state is FAIL


@pytest.mark.parametrize(("ahead_s", "state"), [(0, OK), (-2, WARN), (20, FAIL)])
def test_clocks_that_differ_are_told(environ: dict[str, str], ahead_s: float, state: State) -> None:
    told = servers.clocks(House(load(environ), "tests"), lambda: time.time() + ahead_s)
    assert told.state is state


class TestMlm:
    @pytest.mark.usefixtures("file")
    def test_is_signed_in_to_once_and_asked_for_one_stamp(self, environ: dict[str, str], mlm: SandboxServer) -> None:
        told = found(environ)
        assert (told["MLM sign-in"].state, told["MLM call"].state) == (OK, OK)
        assert (mlm.calls.sign_ins, dict(mlm.calls.by_operation)) == (1, {"LoadByRefNumber": 1})
        assert [call.ids for call in mlm.calls.calls] == [("sLastModifiedTimestamp",)]

    def test_without_a_file_of_ours_is_signed_in_to_only(self, environ: dict[str, str], mlm: SandboxServer) -> None:
        told = found(environ)
        assert (told["MLM sign-in"].state, told["MLM call"].state) == (OK, OK)
        assert (mlm.calls.sign_ins, mlm.calls.total) == (1, 0)

    @pytest.mark.usefixtures("file")
    def test_that_refuses_us_is_not_asked_again_by_the_next_look(
        self, environ: dict[str, str], mlm: SandboxServer
    ) -> None:
        wrong = environ | {"MLM_CLIENT_SECRET": HUSH}
        assert found(wrong)["MLM sign-in"].state is FAIL
        again = found(wrong)["MLM call"]
        assert again.state is WARN
        assert "SignInFailed" in again.what
        assert mlm.calls.sign_ins_refused == 1

    @pytest.mark.usefixtures("file")
    def test_that_is_out_of_order_fails_its_call_and_not_its_sign_in(
        self, environ: dict[str, str], mlm: SandboxServer
    ) -> None:
        mlm.dials.patch(fault_next=1, fault_forms=("html503",))
        told = found(environ)
        assert told["MLM call"].state is FAIL
        assert "HTTP 503" in told["MLM call"].what
        assert "MLM sign-in" not in told

    def test_that_cannot_be_reached_fails_its_sign_in(self, environ: dict[str, str]) -> None:
        told = found(environ | {"MLM_TOKEN_URL": f"http://{nowhere()}/token"})
        assert told["MLM sign-in"].state is FAIL
        assert "MLM_TOKEN_URL" in str(told["MLM sign-in"].do)

    def test_that_lacks_the_file_may_be_another_mlm(self, environ: dict[str, str], engine: sa.Engine) -> None:
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("loan", "R999999"), SEEDED)
        assert found(environ)["MLM call"].state is WARN

    @pytest.mark.usefixtures("file")
    def test_whose_stamp_cannot_be_read_is_worth_a_look(self, environ: dict[str, str], mlm: SandboxServer) -> None:
        mlm.dials.patch(stamp_form="garbled")
        assert "cannot be read" in found(environ)["MLM call"].what


class TestProcesses:
    def test_that_do_not_live_are_missed(self, environ: dict[str, str]) -> None:
        told = found(environ)
        assert (told["workers"].do, told["scheduler"].do) == ("run: freshness worker", "run: freshness scheduler")

    def test_a_scheduler_beats_by_its_own_ticks_and_is_no_worker(self, environ: dict[str, str]) -> None:
        House(load(environ), "scheduler").ticks()["beat"].call()
        told = found(environ)
        assert (told["workers"].state, told["scheduler"].state) == (FAIL, OK)

    @pytest.mark.usefixtures("alive")
    def test_one_that_died_beside_one_that_lives_is_worth_a_look(
        self, environ: dict[str, str], engine: sa.Engine
    ) -> None:
        with engine.begin() as conn:
            workers.beat(conn, "w2", "there", 7)
        do(engine, "UPDATE workers SET beat_at = beat_at - interval '1 minute' WHERE id = 'w2'")
        told = found(environ)["workers"]
        assert told.state is WARN
        assert "1 alive (here:1)" in told.what
        assert "there:7" in told.what


class TestWebhook:
    def test_of_which_nothing_ever_came_is_to_be_set_up(self, environ: dict[str, str]) -> None:
        assert found(environ)["webhook entries"].state is WARN

    def test_refusals_are_worth_a_look_until_one_is_taken(self, environ: dict[str, str], engine: sa.Engine) -> None:
        refuse(engine, 401, "no bearer")
        told = found(environ)["refused deliveries"]
        assert (told.state, told.do) == (WARN, "see: freshness doctor --last-delivery")
        receive(engine, entry("R1", NEWER))
        assert found(environ)["refused deliveries"].state is OK

    def test_receipts_without_a_week_of_their_own_show_that_no_scheduler_ran(
        self, environ: dict[str, str], engine: sa.Engine
    ) -> None:
        assert found(environ)["receipts' weeks"].state is OK
        receive(engine, entry("R1", NEWER), ago=dt.timedelta(days=-100))
        assert "default partition" in found(environ)["receipts' weeks"].what

    def test_weeks_that_run_out_are_worth_a_look(self, environ: dict[str, str], engine: sa.Engine) -> None:
        next_week = dt.date.today() + dt.timedelta(days=7)
        monday = next_week - dt.timedelta(days=next_week.weekday())
        do(engine, f"DROP TABLE mlm_webhook_receipts_{monday:%Y%m%d}")
        assert found(environ)["receipts' weeks"].what == "0 made ahead"

    def test_stamps_that_were_never_alike_are_told_and_those_that_no_longer_are_are_worth_a_look(
        self, environ: dict[str, str], engine: sa.Engine
    ) -> None:
        do(engine, "UPDATE stamp_calibration SET alike_at = NULL")
        told = found(environ)["stamps"]
        assert (told.state, told.what.split(";")[0]) == (OK, "resolution 1 s (auto)")
        do(engine, "UPDATE stamp_calibration SET cleared_at = mlm_now()")
        assert "MLM_STAMP_ZONE" in str(found(environ)["stamps"].do)
        assert "resolution 0.5 s (MLM_STAMP_RES" in found(environ | {"MLM_STAMP_RESOLUTION": "0.5"})["stamps"].what


class TestWork:
    @pytest.mark.usefixtures("file")
    def test_that_is_stale_for_long_is_worth_a_look(self, environ: dict[str, str], engine: sa.Engine) -> None:
        receive(engine, entry("R000001", NEWER), ago=dt.timedelta(minutes=4))
        assert found(environ)["stale files"].state is OK
        do(engine, "UPDATE refresh_orders SET placed_at = placed_at - interval '2 minutes'")
        assert (told := found(environ)["stale files"]).state is WARN
        assert told.what == "1, the oldest for 6 min"

    def test_that_was_given_up_is_told_with_its_redrive(
        self, environ: dict[str, str], engine: sa.Engine, loan: str
    ) -> None:
        with engine.begin() as conn:
            workers.beat(conn, "w", "here", 1)
            file_id = conn.exec_driver_sql("SELECT id FROM file_freshness").scalar_one()
            taken = leases.take(conn, RULES, file_id, Concern.FEES, "w", uuid.uuid4())
            assert isinstance(taken, list)
            (lease,) = taken
            failures.failed(conn, RULES, lease, "Outage: no", final=True, lot=Random(1))
        told = found(environ)["given up"]
        assert (told.state, told.what) == (WARN, "1 fees")
        assert "queues redrive" in str(told.do)

    def test_bells_that_wait_for_long_are_worth_a_look(self, environ: dict[str, str], redis_url: str) -> None:
        make_bell(make_broker(redis_url))([Ring(Work.HYDRATE_FILE, 1)])
        told = found(environ)["queues"]
        assert told.state is OK
        assert told.what.startswith("bells waiting: 1, the oldest for ")
        with redis.Redis.from_url(redis_url) as client:
            ((key, message),) = client.hgetall("dramatiq:loan-sync.msgs").items()
            old = json.loads(message) | {"message_timestamp": round((time.time() - 100) * 1000)}
            client.hset("dramatiq:loan-sync.msgs", key, json.dumps(old))
        assert found(environ)["queues"].state is WARN


class TestSpool:
    def test_is_told_where_it_is_configured(self, tmp_path: Path) -> None:
        assert running.spool(load({})) == []
        (told,) = running.spool(load({"SPOOL_DIR": str(tmp_path)}))
        assert (told.state, told.what) == (OK, f"{tmp_path}: batches waiting: 0, set aside: 0")

    def test_that_is_not_there_has_met_no_receiver(self, tmp_path: Path) -> None:
        assert running.spool(load({"SPOOL_DIR": str(tmp_path / "none")}))[0].state is WARN

    def test_with_batches_is_to_be_drained_and_with_torn_ones_to_be_looked_at(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path)
        spool.put([entry("R1", NEWER)], dt.datetime.now(dt.UTC))
        (told,) = running.spool(load({"SPOOL_DIR": str(tmp_path)}))
        assert (told.state, told.what) == (WARN, f"{tmp_path}: batches waiting: 1, set aside: 0")
        spool.set_aside(spool.waiting()[0], "torn")
        (told,) = running.spool(load({"SPOOL_DIR": str(tmp_path)}))
        assert told.what == f"{tmp_path}: batches waiting: 0, set aside: 1"
        assert "aside" in str(told.do)


class TestLastDelivery:
    BODY = b'{"items": [{"refNo": "R000123", "borrower": "Jane Doe"}]}'

    def test_shows_what_was_refused_why_and_what_to_try_and_no_value(
        self, environment: dict[str, str], engine: sa.Engine
    ) -> None:
        for _ in range(62):
            refuse(engine, 422, "JSON of no known form", self.BODY)
        refuse(engine, 401, "a bearer token is needed, and none or a wrong one came")
        shown = ANSI.sub("", on_a_terminal(environment, "doctor", "--last-delivery"))
        assert max(map(len, shown.splitlines())) <= 80
        first, second = shown.split("\n\n")[:2]
        assert first.startswith("401 Unauthorized, at ")
        assert "MLM_WEBHOOK_TOKEN" in first
        assert second.startswith("422 ")
        assert "62 times" in second
        assert "from    10.0.0.3" in second
        assert "refNo" in second
        assert "referenceNumber" in second
        assert "None was ever taken." in shown
        assert "Jane" not in shown

    def test_json_is_a_line_a_refusal(self, run: Run, engine: sa.Engine) -> None:
        refuse(engine, 400, "not JSON")
        refuse(engine, 403, "calls from this address are not allowed")
        told = objects(run("doctor", "--last-delivery", "--json"))
        assert [(each["status"], each["address"], each["path"]) for each in told] == [
            (403, "10.0.0.3", WEBHOOK),
            (400, "10.0.0.3", WEBHOOK),
        ]

    def test_of_none_says_what_was_taken_last(self, run: Run, engine: sa.Engine) -> None:
        receive(engine, entry("R1", NEWER))
        done = run("doctor", "--last-delivery")
        assert done.returncode == 0
        assert done.stdout.startswith("No delivery was refused.\nThe newest entry that was taken came at 20")


def refuse(engine: sa.Engine, status: int, reason: str, body: bytes = b"") -> None:
    """A delivery that was refused."""
    keys = outline(body) or None
    with engine.begin() as conn:
        refusal = Refusal(WEBHOOK, "10.0.0.3", status, reason, len(body), "application/json", None, keys)
        deliveries.record_refusal(conn, refusal)


def do(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(statement)


class TestBackstops:
    def test_that_are_off_say_by_what(self, environ: dict[str, str]) -> None:
        off = {"MLM_CONFIRM_SHARE": "0", "MLM_APP_CODE": "ours", "MLM_POLL_EVERY": "0"}
        assert found(environ)["poll list"].what == "off (MLM_APP_CODE)"
        told = found(environ | off)
        assert (told["poll list"].what, told["rounds"].what) == ("off (MLM_POLL_EVERY)", "off (MLM_CONFIRM_SHARE)")

    def test_tell_what_they_did_within_a_day(self, environ: dict[str, str], engine: sa.Engine) -> None:
        with engine.begin() as conn:
            backstops.count(conn, Backstop.ROUNDS, "w", runs=7, looked=6, ordered=2, healed=1, failed=1, error="no")
        told = found(environ)["rounds"]
        assert (told.state, told.what) == (OK, "within a day: 6 looked at, 2 ordered, 1 healed, 1 failed")

    def test_that_fail_at_most_are_worth_a_look(self, environ: dict[str, str], engine: sa.Engine) -> None:
        with engine.begin() as conn:
            backstops.count(conn, Backstop.AUDIT, "w", runs=3, looked=1, failed=2, error="AccessDenied: no")
        told = found(environ)["audit"]
        assert told.state is WARN
        assert told.what.endswith("2 failed: AccessDenied: no")

    @pytest.mark.usefixtures("file")
    def test_a_missed_change_is_told_with_its_file(self, environ: dict[str, str], engine: sa.Engine) -> None:
        do(engine, "INSERT INTO missed_changes (file_id, concern, stamp, rows, order_number, receipts) "
                   "SELECT id, 'fees', mlm_now(), 2, 1, '{}' FROM file_freshness")  # fmt: skip
        told = found(environ)["missed changes"]
        assert told.state is WARN
        assert told.what.startswith("2 rows within a week, last fees of R000001 at ")
        assert told.do is not None
        assert told.do.endswith("freshness explain R000001")
