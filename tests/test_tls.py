"""PostgreSQL and Redis over TLS, by nothing but their URLs: every client of ours checks whom it speaks to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa
from tls import SSL_REQUEST, certificate, in_front_of

from console.doctor import servers
from freshness.settings import load
from jobs.broker import connect
from jobs.house import House
from migrations.upgrade import upgrade
from receiver.app import _redis


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def anothers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("anothers"), "anothers")


Of = Callable[[str], str]


@pytest.fixture
def postgresql(database_url: str, ours: Path) -> Iterator[Of]:
    with in_front_of(database_url, ours, SSL_REQUEST) as url:
        yield url


@pytest.fixture
def valkey(redis_url: str, ours: Path) -> Iterator[Of]:
    with in_front_of(redis_url, ours) as url:
        yield url


def test_the_ledger_is_spoken_to_over_tls(postgresql: Of, ours: Path):
    house = House(load({"DATABASE_URL": postgresql(f"sslmode=verify-full&sslrootcert={ours}")}), "tests")
    with house.engine.connect() as conn:
        assert conn.connection.driver_connection.pgconn.ssl_in_use
        assert conn.exec_driver_sql("SELECT count(*) FROM loans").scalar_one() == 0
    house.engine.dispose()


def test_a_postgresql_that_another_certificate_vouches_for_is_not_spoken_to(postgresql: Of, anothers: Path):
    house = House(load({"DATABASE_URL": postgresql(f"sslmode=verify-full&sslrootcert={anothers}")}), "tests")
    with pytest.raises(sa.exc.OperationalError, match="certificate verify failed"):
        house.engine.connect()


def test_migrations_go_over_tls(postgresql: Of, ours: Path, anothers: Path):
    upgrade(postgresql(f"sslmode=verify-full&sslrootcert={ours}"))
    with pytest.raises(sa.exc.OperationalError, match="certificate verify failed"):
        upgrade(postgresql(f"sslmode=verify-full&sslrootcert={anothers}"))


def test_a_postgresql_without_tls_is_not_spoken_to_where_it_is_wanted(database_url: str):
    with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
        psycopg.connect(f"{database_url}?sslmode=require")


def test_queues_are_spoken_to_over_tls(valkey: Of, ours: Path):
    url = load({"REDIS_URL": valkey(f"ssl_ca_certs={ours}")}).redis_url or ""
    for patient in (True, False):
        with connect(url, patient=patient) as client:
            assert client.ping()


def test_a_redis_that_another_certificate_vouches_for_is_not_spoken_to(valkey: Of, anothers: Path):
    with (
        connect(valkey(f"ssl_ca_certs={anothers}"), patient=False) as client,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.ping()


def test_announcements_are_listened_to_over_tls(valkey: Of, ours: Path):
    async def ping() -> bool:
        client = _redis(valkey(f"ssl_ca_certs={ours}"))
        assert client is not None
        try:
            return bool(await client.ping())
        finally:
            await client.aclose()

    assert asyncio.run(ping())


def test_the_doctor_says_what_goes_over_the_network_in_the_plain():
    parameters = "sslmode=verify-full&sslrootcert=…"
    plain = servers.encryption("PostgreSQL", "db.example.com", False, parameters)
    assert (plain.state, plain.do) == ("warn", f"end its URL with ?{parameters}")
    for host, encrypted in (("db.example.com", True), ("127.0.0.1", False), ("/run/postgresql", False)):
        assert servers.encryption("PostgreSQL", host, encrypted, parameters).state == "ok"


def test_the_doctor_sees_tls_where_there_is_some(postgresql: Of, valkey: Of, ours: Path):
    environ = {
        "DATABASE_URL": postgresql(f"sslmode=verify-full&sslrootcert={ours}"),
        "REDIS_URL": valkey(f"ssl_ca_certs={ours}"),
    }
    house = House(load(environ), "tests")
    found = [*servers.postgresql(house), *servers.redis_server(house)]
    house.engine.dispose()
    assert [each.what for each in found if each.about.endswith("on the way")] == ["TLS", "TLS"]
