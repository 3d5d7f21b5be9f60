"""The commands for files, receipts and imports from outside: what they do, print, and exit with."""

from __future__ import annotations

import datetime as dt
import re
import signal
import socket
from pathlib import Path
from typing import Any

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
    one_line,
    receive,
    rows,
    until,
)

from console.cli import main
from freshness.errors import SettingError
from freshness.ledger import own_writes
from freshness.ledger.files import FileRef
from freshness.settings import load
from jobs.bell import depth
from jobs.broker import Queue


class TestSettings:
    """What is missing or wrong stops a command before it does anything: one line that names the setting, exit 2."""

    @pytest.mark.parametrize(
        ("args", "setting", "value"),
        [
            (["import", "R1"], "DATABASE_URL", ""),
            (["refresh", "R1"], "REDIS_URL", "redis://h:port/0"),
            (["explain", "R1"], "DATABASE_URL", "postgresql://user:hush@h:port/x"),
            (["receipts"], "MLM_RATE", "often"),
            (["prune-webhook-receipts"], "DATABASE_URL", "mysql://h/x"),
            (["receiver"], "PORT", "http"),
            (["worker"], "FIELD_KEYS", ""),
            (["worker"], "MLM_LOAN_SERVICE_URL", ""),
            (["scheduler"], "MLM_NAMES", "/no/such/file.toml"),
        ],
    )
    def test_a_bad_one_is_named_in_one_line(self, args: list[str], setting: str, value: str, run: Run) -> None:
        done = run(*args, **{setting: value})
        assert (done.returncode, done.stdout) == (2, "")
        assert one_line(done.stderr).startswith(f"freshness: {setting}: ")
        assert "hush" not in done.stderr

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("DATABASE_URL", "postgresql://someone:hush@host:port/database"),
            ("DATABASE_URL", "mysql://someone:hush@host/database"),
            ("REDIS_URL", "redis://:hush@host:port/0"),
            ("REDIS_URL", "redis://:hush@host/database"),
            ("REDIS_URL", "redis://:hush@[::1/0"),
            ("MLM_LOAN_SERVICE_URL", "https://"),
            ("MLM_TOKEN_URL", "https://host:port/token"),
        ],
    )
    def test_an_address_that_cannot_be_read_is_refused_without_its_password(self, setting: str, value: str) -> None:
        with pytest.raises(SettingError, match=f"^{setting}: must be a URL ") as refused:
            load({setting: value})
        assert "hush" not in str(refused.value)

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("DATABASE_URL", "postgresql://someone:p#/s@host:5432/database"),
            ("DATABASE_URL", "postgresql:///database?host=/run/postgresql"),
            ("REDIS_URL", "unix:///run/redis.sock?db=1"),
            ("REDIS_URL", "rediss://:pass@[::1]:6379/3"),
        ],
    )
    def test_an_address_of_another_form_is_taken_as_it_stands(self, setting: str, value: str) -> None:
        assert getattr(load({setting: value}), setting.lower()) == value


class TestExplain:
    def test_says_why_a_file_is_stale_and_that_nobody_works(self, loan: str, run: Run) -> None:
        done = run("explain", loan)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"loan {loan} is stale since ")
        assert "Why: loan_fields, borrowers, conditions, fees: waits for a worker." in done.stdout
        assert "Why: assets, liabilities, employment: waits for borrowers." in done.stdout
        assert "No worker is running" in done.stdout
        assert re.search(r"^1 .* webhook, newer", done.stdout, re.MULTILINE)
        assert re.search(r" Modified +dispatched, newer +1 +waits ", done.stdout)

    def test_colours_only_a_terminal_and_keeps_to_its_80_columns(self, loan: str, run: Run, environment: Any) -> None:
        assert not ANSI.search(run("explain", loan).stdout)
        shown = on_a_terminal(environment, "explain", loan)
        assert ANSI.search(shown)
        assert max(map(len, ANSI.sub("", shown).splitlines())) <= 80

    def test_json_is_the_state_with_the_trails_beside_it(self, loan: str, run: Run) -> None:
        (told,) = objects(run("explain", loan, "--json"))
        assert (told["ref"], told["kind"], told["state"], told["wanted"]) == (loan, "loan", "stale", NEWER)
        assert len(told["concerns"]) == 9
        assert [order["cause"] for order in told["orders"]] == ["webhook, newer"]
        assert [receipt["outcome"] for receipt in told["receipts"]] == ["dispatched"]
        assert told["runs"] == told["own_writes"] == []

    def test_says_so_while_nothing_is_known_of_the_stamps(self, loan: str, run: Run, engine: sa.Engine) -> None:
        uncalibrated = "every webhook orders"
        assert uncalibrated not in run("explain", loan).stdout
        with engine.begin() as conn:
            conn.exec_driver_sql("UPDATE stamp_calibration SET alike_at = NULL")
        assert uncalibrated in run("explain", loan).stdout
        assert objects(run("explain", loan, "--json"))[0]["calibrated"] is False

    @pytest.mark.parametrize("command", ["explain", "refresh"])
    def test_a_file_that_we_do_not_have_is_one_line_and_exits_1(self, command: str, run: Run) -> None:
        done = run(command, "R999999")
        assert (done.returncode, done.stdout) == (1, "")
        assert one_line(done.stderr) == "freshness: no file with reference 'R999999'"


class TestRefresh:
    def test_orders_and_rings(self, loan: str, start: Run, engine: sa.Engine, redis_url: str) -> None:
        assert objects(start("refresh", loan, "--json")) == [{"ref": loan, "order": 2}]
        assert rows(engine, "SELECT cause FROM refresh_orders WHERE number = 2")[0].cause == "refresh"
        with redis.Redis.from_url(redis_url) as client:
            assert depth(client, Queue.LOAN_SYNC) == 1

    def test_orders_though_redis_is_away(self, loan: str, run: Run, engine: sa.Engine) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            done = run("refresh", loan, REDIS_URL=f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
        assert (done.returncode, done.stdout) == (0, f"Ordered {loan} (order 2).\n")
        assert rows(engine, "SELECT ordered FROM file_freshness")[0].ordered == 2


class TestNewEpoch:
    """After MLM was restored from a backup."""

    @pytest.mark.parametrize(
        ("args", "why"),
        [([], "name files, or say --all"), (["R1", "--all", "--yes"], "name files"), (["R000001"], "say --yes")],
    )
    def test_says_what_it_wants_and_does_nothing(self, args: list[str], why: str, loan: str, run: Run) -> None:
        done = run("new-epoch", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
        assert objects(run("explain", loan, "--json"))[0]["epoch"] == 1

    def test_begins_for_the_files_that_are_named(self, loan: str, run: Run, engine: sa.Engine, redis_url: str) -> None:
        assert run("new-epoch", loan, loan, "--yes").stdout == "1 file began anew, and is read again now.\n"
        (told,) = objects(run("explain", loan, "--json"))
        assert (told["epoch"], told["mark"], told["wanted"], told["state"]) == (2, None, None, "stale")
        assert {concern["held"] for concern in told["concerns"]} == {None}
        assert rows(engine, "SELECT mlm_last_modified_at AS m FROM loans")[0].m is None
        with redis.Redis.from_url(redis_url) as client:
            assert depth(client, Queue.LOAN_SYNC) == 1

    def test_begins_for_all(self, loan: str, start: Run, engine: sa.Engine) -> None:
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("lead", "R000005"), SEEDED)
        assert objects(start("new-epoch", "--all", "--yes", "--json")) == [{"files": 2}]
        assert [row.epoch for row in rows(engine, "SELECT epoch FROM file_freshness")] == [2, 2]

    def test_touches_none_if_one_is_unknown(self, loan: str, run: Run, engine: sa.Engine) -> None:
        done = run("new-epoch", loan, "R999999", "--yes")
        assert (done.returncode, one_line(done.stderr)) == (1, "freshness: no file with reference 'R999999'")
        assert rows(engine, "SELECT epoch FROM file_freshness")[0].epoch == 1


class TestReceipts:
    @pytest.fixture
    def received(self, engine: sa.Engine, loan: str) -> None:
        """Beside the loan's: an unknown file, 3 hours ago, and just now an unsupported event and a malformed entry."""
        receive(engine, entry("R000777", NEWER), ago=dt.timedelta(hours=3))
        receive(engine, entry("R000888", NEWER, "Archived"), entry(None, None, fault="no reference"))

    @pytest.mark.usefixtures("received")
    @pytest.mark.parametrize(
        ("args", "outcomes"),
        [
            (["--ref", "R000777", "--number", "2026110001", "--until", "2h"], ["unknown_file"]),
            (["--event", "archived", "--since", "2026-01-01"], ["unsupported_event"]),
            (["--unserved", "--outcome", "dispatched"], ["dispatched"]),
            (["--since", "2h", "--limit", "2"], ["malformed", "unsupported_event"]),
        ],
    )
    def test_are_filtered(self, args: list[str], outcomes: list[str], run: Run) -> None:
        assert sorted(each["outcome"] for each in objects(run("receipts", "--json", *args))) == outcomes

    @pytest.mark.usefixtures("received")
    def test_fit_a_terminal(self, environment: dict[str, str]) -> None:
        shown = ANSI.sub("", on_a_terminal(environment, "receipts"))
        assert max(map(len, shown.splitlines())) <= 80
        assert re.search(r"R000001 +Modified +dispatched, newer +waits +0", shown)
        assert re.search(r"R000777 +Modified +unknown_file +– +0", shown)

    def test_a_moment_that_is_none_is_wrong_use(self, run: Run) -> None:
        done = run("receipts", "--since", "yesterday")
        assert done.returncode == 2
        assert "'yesterday' is no moment" in done.stderr


class TestPrune:
    def test_drops_what_is_old_but_nothing_unserved(self, engine: sa.Engine, loan: str, run: Run, start: Run) -> None:
        receive(engine, entry("R000777", NEWER), entry(loan, "2026-11-01T12:00:00Z"), ago=dt.timedelta(days=100))
        receive(engine, entry("R000778", NEWER), ago=dt.timedelta(days=80))
        assert objects(start("prune-webhook-receipts", "--json"))[0]["receipts"] == 1
        kept = rows(engine, "SELECT reference_number AS ref FROM mlm_webhook_receipts ORDER BY received_at")
        assert [row.ref for row in kept] == [loan, "R000778", loan]
        assert "receipts 1," in run("prune-webhook-receipts", "--older-than", "11w").stdout

    def test_an_age_that_is_none_is_wrong_use(self, run: Run) -> None:
        done = run("prune-webhook-receipts", "--older-than", "90")
        assert done.returncode == 2
        assert "'90' is no length of time; write 90d" in done.stderr


class TestImport:
    def test_without_waiting_orders_and_rings_for_every_file(self, run: Run, engine: sa.Engine, redis_url: str) -> None:
        (told,) = objects(run("import", "R000002", "R000001", "R000002", "--no-wait", "--json"))
        assert (told["total"], told["ordered"], told["served"], told["resumed"]) == (2, 2, 0, False)
        ordered = rows(engine, "SELECT ref, ordered FROM file_freshness ORDER BY ref")
        assert [tuple(row) for row in ordered] == [("R000001", 1), ("R000002", 1)]
        with redis.Redis.from_url(redis_url) as client:
            assert depth(client, Queue.LOAN_SYNC) == 2

    def test_of_all_takes_every_loan_and_lead(self, run: Run, engine: sa.Engine, loan: str) -> None:
        with engine.begin() as conn:
            own_writes.seed_mark(conn, RULES, FileRef("lead", "R000005"), SEEDED)
        assert run("import", "--all", "--no-wait").stdout == "Ordered 2 files.\n"
        assert rows(engine, "SELECT ordered FROM file_freshness WHERE ref = 'R000005'")[0].ordered == 1

    def test_of_all_of_nothing_says_so(self, run: Run) -> None:
        done = run("import", "--all")
        assert (done.returncode, done.stderr) == (0, "")
        assert one_line(done.stdout).startswith("Nothing to import")

    @pytest.mark.parametrize("args", [[], ["R000001", "--all"], ["R\x1b1"]])
    def test_names_files_or_all_and_not_both(self, args: list[str], run: Run) -> None:
        done = run("import", *args)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr

    def test_is_broken_off_by_ctrl_c_and_taken_up_again(
        self, environment: dict[str, str], engine: sa.Engine, tmp_path: Path
    ) -> None:
        said = [tmp_path / "first", tmp_path / "second"]

        def begin(err: Path) -> Forked:
            return Forked(main, ["import", "R000001", "R000002"], env=BARE | environment, err=err)

        first = begin(said[0])
        until(lambda: rows(engine, "SELECT FROM import_files HAVING count(order_number) = 2"))
        first.send_signal(signal.SIGINT)
        assert first.wait(30) == 1
        assert "the same command takes the rest up again" in one_line(said[0].read_text("utf-8"))
        second = begin(said[1])
        until(lambda: said[1].exists() and "\n" in said[1].read_text("utf-8"))
        second.send_signal(signal.SIGINT)
        assert second.wait(30) == 1
        assert said[1].read_text("utf-8").splitlines()[0] == (
            "Takes up an import that was broken off: 0 of 2 files are here."
        )
        assert [row.ordered for row in rows(engine, "SELECT ordered FROM file_freshness")] == [1, 1]
