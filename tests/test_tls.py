"""PostgreSQL and Redis over TLS, by nothing but their URLs: every client of ours checks whom it speaks to.

The servers from wheels are built without TLS. So a proxy stands before them that speaks it as they would: Redis' is TLS
from the first byte on, PostgreSQL's begins with a request for it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from console.doctor import servers
from freshness.settings import load
from jobs.broker import connect
from jobs.house import House
from migrations.upgrade import upgrade
from receiver.app import _redis

#: What libpq says first when it wants TLS: a length of 8, and a number that stands for that.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")


def certificate(directory: Path, name: str) -> Path:
    """A certificate for this machine that only itself vouches for, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def anothers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("anothers"), "anothers")


@contextmanager
def in_front_of(url: str, certificate: Path, first: bytes = b"") -> Iterator[Callable[[str], str]]:
    """A proxy that speaks TLS and passes on to where the URL points; what makes its URL, with these parameters.

    `first`: what clients say before TLS begins, answered by a letter.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind = sa.make_url(url)
    loop = asyncio.new_event_loop()

    async def passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            if first:
                assert await reader.readexactly(len(first)) == first
                writer.write(b"S")
                await writer.drain()
            await writer.start_tls(context)
            to_server, from_server = (await asyncio.open_connection(behind.host, behind.port))[::-1]
            await asyncio.gather(passed(reader, to_server), passed(from_server, writer))

    listener = socket.create_server(("127.0.0.1", 0))
    server = loop.run_until_complete(asyncio.start_server(serve, sock=listener))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    scheme, rest = url.partition("://")[::2]
    there = rest.replace(f":{behind.port}/", f":{listener.getsockname()[1]}/")
    try:
        yield lambda parameters: f"{'rediss' if scheme == 'redis' else scheme}://{there}?{parameters}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


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
