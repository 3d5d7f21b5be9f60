"""The whole product through PgBouncer in transaction mode, its processes taking turns on a few sessions."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import psycopg
import pytest
from databases import FIELD_KEYS, database, emptied_redis
from pgbouncer import PROGRAM, SESSIONS, through_pgbouncer
from whole_house import PORTAL_TOKEN, WholeHouse, until

from mlm_client.sandbox.editing import CONCERNS
from mlm_client.sandbox.server import SandboxServer

REFS = ["R000001", "R000002", "R000003"]

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs pgbouncer on PATH (Debian: apt-get install pgbouncer)")


@pytest.fixture(scope="module")
def house(_admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    with (
        database(_admin, "pooled") as url,
        through_pgbouncer(url) as pooled,
        SandboxServer(files=len(REFS), seed=7) as mlm,
    ):
        pooled_settings = {"DATABASE_URL": pooled, "DATABASE_PREPARES": "0"}
        environment = {"REDIS_URL": emptied_redis(), "FIELD_KEYS": FIELD_KEYS, **pooled_settings}
        house = WholeHouse(environment, mlm, tmp_path_factory.mktemp("house"))
        try:
            for ref in REFS:
                house.import_(ref)
            yield house
        finally:
            house.close()


def test_files_are_imported_and_equal_to_mlms(house: WholeHouse) -> None:
    assert [house.differences(ref) for ref in REFS] == [[], [], []]


def test_edits_in_every_concern_land_though_every_process_shares_a_few_sessions(house: WholeHouse) -> None:
    for concern in CONCERNS:
        for ref in REFS:
            house.touch(ref, concern)

    until(lambda: all(house.state(ref) == "fresh" and not house.differences(ref) for ref in REFS), "all have landed")
    sessions = house.rows("SELECT FROM pg_stat_activity WHERE datname = current_database()")
    logged = [each for process in house.processes for each in process.logged()]
    assert len(sessions) <= SESSIONS
    assert not [each for each in logged if each["level"] in ("error", "critical")]


def test_an_own_write_is_captured(house: WholeHouse) -> None:
    file, headers = f"{house.url}/api/v1/loans/{REFS[0]}/mlm/own-writes", {"Authorization": f"Bearer {PORTAL_TOKEN}"}
    number = httpx.post(file, json={"capture": True}, headers=headers).json()["id"]

    answer = httpx.post(f"{file}/{number}/exit", json={"ok": True}, headers=headers)

    assert answer.json() == {"outcome": "capturing"}
    captured = "SELECT FROM own_writes WHERE id = %(number)s AND captured_at IS NOT NULL"
    until(lambda: house.rows(captured, number=number), "it is captured")


def test_sessions_are_in_utc_and_have_their_limits_as_without_it(house: WholeHouse) -> None:
    with house.house.engine.begin() as conn:
        shown = [
            conn.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("timezone", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        ]

    assert shown == ["UTC", "30s", "10s", "10s"]
