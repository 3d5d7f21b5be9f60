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
