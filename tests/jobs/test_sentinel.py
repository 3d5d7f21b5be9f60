"""Redis behind a Sentinel: who is primary is asked, and asked anew once it is lost. Real servers, a real Sentinel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from hands import Hands, broker_with
from sqlalchemy import make_url
from tls import certificate, in_front_of
from whole_house import until

from console import binaries
from console.embedded import Server, Valkey, within_reach
from console.scratch import scratch, unprivileged
from freshness.bell import Ring, Work
from freshness.errors import SettingError
from freshness.settings import load
from jobs.bell import make_bell
from jobs.broker import connect
from jobs.sentinels import sentinels_of
from jobs.worker import WorkerProcess

SERVICE = "bells"


class Watched(NamedTuple):
    """A primary, its replica, and the URL by which a Sentinel knows them."""

    primary: Valkey
    replica: Valkey
    url: str


class _Replica(Valkey):
    def __init__(self, primary: Valkey, directory: Path) -> None:
        super().__init__(primary.program, directory / "replica", primary.account, durable=False)
        self.password = primary.password
        self._primary = primary

    def _stdin(self) -> bytes:
        follows = f"replicaof 127.0.0.1 {self._primary.port}\nmasterauth {self.password}\n"
        return super()._stdin() + follows.encode()


class _Sentinel(Server):
    """Valkey as a Sentinel: it keeps what it knows in the file that it was told from."""

    name = "Sentinel"
    stop_signal, death_signal = Valkey.stop_signal, Valkey.death_signal

    def __init__(self, primary: Valkey, directory: Path) -> None:
        super().__init__(primary.program, directory / "sentinel", primary.account, durable=False)
        self._primary = primary

    def _argv(self) -> list[str]:
        told = f"""port {self.port}
bind 127.0.0.1
sentinel monitor {SERVICE} 127.0.0.1 {self._primary.port} 1
sentinel auth-pass {SERVICE} {self._primary.password}
sentinel down-after-milliseconds {SERVICE} 500
sentinel failover-timeout {SERVICE} 5000
"""
        file = self.directory / "sentinel.conf"
        file.write_text(told)
        file.chmod(0o666)
        return [str(self.program.path), str(file), "--sentinel"]

    def _ready(self) -> bool:
        with suppress(redis.RedisError), redis.Redis(port=self.port or 0, socket_timeout=1) as client:
            return len(client.sentinel_slaves(SERVICE)) == 1
        return False


@pytest.fixture
def watched() -> Iterator[Watched]:
    with ExitStack() as stack:
        directory, account = stack.enter_context(scratch()), unprivileged()
        program = within_reach(binaries.valkey(), account, directory)
        primary = _started(stack, Valkey(program, directory / "primary", account, durable=False))
        replica = _started(stack, _Replica(primary, directory))
        sentinel = _started(stack, _Sentinel(primary, directory))
        yield Watched(primary, replica, f"redis+sentinel://:{primary.password}@127.0.0.1:{sentinel.port}/{SERVICE}/3")


def test_the_primary_is_found_and_followed_when_it_is_lost(watched: Watched) -> None:
    with connect(load({"REDIS_URL": watched.url}).redis_url) as client:
        client.set("said", "before")
        assert client.connection_pool.connection_kwargs["db"] == 3
        _lose(watched)

        until(lambda: _set(client), "there is a primary again")

        assert client.info("server")["tcp_port"] == watched.replica.port


def test_an_event_loops_client_follows_too(watched: Watched) -> None:
    async def ask() -> int:
        client = sentinels_of(watched.url).primary_async(socket_timeout=2)
        first = (await client.info("server"))["tcp_port"]
        await client.aclose()
        return first

    assert asyncio.run(ask()) == watched.primary.port
    _lose(watched)
    with connect(watched.url) as client:
        until(lambda: _set(client), "there is a primary again")
    assert asyncio.run(ask()) == watched.replica.port


def test_a_worker_hears_bells_of_the_new_primary(watched: Watched) -> None:
    _lose(watched)
    with connect(watched.url) as client:
        until(lambda: _set(client), "there is a primary again")
    hands = Hands()
    broker = broker_with(watched.url, hands.handlers())
    worker = WorkerProcess(broker)
    worker.start()

    make_bell(broker)([Ring(Work.CAPTURE, 7, own_write_id=70)])

    assert hands.next() == ("capture", 7, 70)
    worker.end(5)


@pytest.fixture
def over_tls(watched: Watched, tmp_path: Path) -> Iterator[str]:
    """The URL of both behind TLS: the Sentinel names the primary's proxy, as it would a primary that speaks it."""
    own = certificate(tmp_path, "ours")
    with ExitStack() as stack:
        primary = stack.enter_context(in_front_of(watched.primary.url, own))
        names = {b"%d" % watched.primary.port: b"%d" % make_url(primary("")).port}
        sentinel = stack.enter_context(in_front_of(watched.url.replace("redis+sentinel", "redis"), own, told=names))
        yield sentinel(f"ssl_ca_certs={own}").replace("rediss", "rediss+sentinel")


def test_sentinel_and_primary_are_both_spoken_to_over_tls(over_tls: str) -> None:
    async def ping() -> bool:
        client = sentinels_of(over_tls).primary_async()
        answer = bool(await client.ping())
        await client.aclose()
        return answer

    with connect(load({"REDIS_URL": over_tls}).redis_url) as client:
        assert client.ping()
    assert asyncio.run(ping())


def test_a_sentinel_that_another_certificate_vouches_for_is_not_spoken_to(over_tls: str, tmp_path: Path) -> None:
    url = over_tls.replace("ours.pem", certificate(tmp_path, "anothers").name)

    with connect(url, patient=False) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_what_is_said_of_tls_is_said_to_sentinel_and_primary_alike() -> None:
    url = "rediss+sentinel://a/s/2?ssl_ca_certs=/etc/a%20b.pem&ssl_cert_reqs=optional&ssl_check_hostname=false"

    client = sentinels_of(load({"REDIS_URL": url}).redis_url).primary()

    said = {"ssl_ca_certs": "/etc/a b.pem", "ssl_cert_reqs": "optional", "ssl_check_hostname": False}
    asked = client.connection_pool.sentinel_manager.sentinels[0].connection_pool.connection_kwargs
    for options in (client.connection_pool.connection_kwargs, asked):
        assert {name: options[name] for name in said} == said


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("ssl_ca_cert=/etc/ours.pem", "nothing else; it has 'ssl_ca_cert'"),
        ("db=3", "nothing else; it has 'db'"),
        ("ssl_cert_reqs=maybe", "ssl_cert_reqs, which must be none, optional or required"),
        ("ssl_ca_certs=", "ssl_ca_certs, which must be a file"),
    ],
)
def test_what_would_be_left_out_of_account_is_refused(query: str, fault: str) -> None:
    with pytest.raises(SettingError, match=fault):
        load({"REDIS_URL": f"rediss+sentinel://a/s?{query}"})


def test_a_certificate_without_tls_is_refused() -> None:
    with pytest.raises(SettingError, match="must begin with rediss\\+sentinel://"):
        load({"REDIS_URL": "redis+sentinel://a/s?ssl_ca_certs=/etc/ours.pem"})


@pytest.mark.parametrize("url", ["redis+sentinel://host", "redis+sentinel://host/", "redis+sentinel://h:x/s"])
def test_a_url_without_a_service_or_with_a_wrong_port_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="redis\\+sentinel://:password@host:26379"):
        load({"REDIS_URL": url})


def test_no_password_is_shown() -> None:
    assert "secret" not in repr(sentinels_of("redis+sentinel://:secret@a,b:1/s"))
    assert sentinels_of("redis+sentinel://:secret@a,b:1/s").addresses == (("a", 26379), ("b", 1))


def _started(stack: ExitStack, server: Server) -> Server:
    stack.callback(server.stop)
    server.start()
    return server


def _lose(watched: Watched) -> None:
    watched.primary.process.kill()
    watched.primary.process.wait()


def _set(client: redis.Redis) -> bool:
    with suppress(redis.RedisError):
        return bool(client.set("said", "after"))
    return False
