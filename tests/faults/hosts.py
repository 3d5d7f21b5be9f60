"""The house on two hosts: a receiver, a worker and a scheduler on each, one PostgreSQL, one Valkey, one MLM for both.

Deliveries and the portal's calls go to both hosts in turn, as a load balancer hands them out: it asks each receiver's
`/readyz` twice a second, and passes over one that did not answer within two seconds, or that was taken out.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from console import binaries
from console.embedded import PostgreSQL, Server, Servers, Valkey, within_reach
from console.laptop import answers
from console.processes import Child
from console.scratch import scratch, unprivileged
from migrations.upgrade import upgrade
from mlm_client.sandbox.server import SandboxServer

from .house import FILES, LATENCY_MS, RECEIVER, Standing, argv, bare_environment, until
from .network import Host, Network, network

#: What runs on each host.
KINDS = (RECEIVER, "worker", "scheduler")
PORT = 8000
PROBE_EVERY_S = 0.5

#: Runs what follows with a small share of the processors, counted by session as Linux does by default.
_WITH_LESS = ("sh", "-c", 'echo 15 > /proc/self/autogroup; exec "$@"', "sh")

_BEATS = "SELECT count(*) FROM workers WHERE pid = %(pid)s"


class Balancer:
    """Who gets the next request, of those that answer. Probes from entering until leaving its block."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)
        self._good: set[str] = set()
        self._out: set[str] = set()
        self._turns = itertools.count()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._probe, args=(name,), daemon=True) for name in urls]

    def __enter__(self) -> Balancer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def next(self) -> str:
        """The address that the next request goes to; any of them if none answers."""
        known = sorted(self._good - self._out) or sorted(self._urls)
        return self._urls[known[next(self._turns) % len(known)]]

    def answers(self, name: str) -> bool:
        """Whether this host's receiver answered when it was asked last."""
        return name in self._good

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """Hand this host nothing while the block runs, and wait at its end until it answers."""
        self._out.add(name)
        try:
            yield
            until(lambda: answers(f"{self._urls[name]}/readyz"), f"the receiver of {name} answers")
            self._good.add(name)
        finally:
            self._out.discard(name)

    def _probe(self, name: str) -> None:
        while not self._over.wait(PROBE_EVERY_S):
            (self._good.add if answers(f"{self._urls[name]}/readyz") else self._good.discard)(name)


class TwoHosts(Standing):
    """A house as any, but that its processes run on hosts."""

    def __init__(
        self, servers: Servers, mlm: SandboxServer, directory: Path, log: TextIO, shared_reads: bool, net: Network
    ) -> None:
        super().__init__(servers, mlm, directory, log, shared_reads)
        self.net = net
        self._directory = directory
        self.balancer = Balancer({host.name: f"http://{host.address}:{PORT}" for host in net.hosts})

    @property
    def url(self) -> str:
        """Where the next request goes: another host each time."""
        return self.balancer.next()

    def restart(self, host: Host, kind: str, **settings: str) -> None:
        """Stop one process of a host in good order and start it with these settings; returns once it is at work.

        Two hosts would not share this machine's cores: what a process takes to start, it would not take from who is at
        work on the other one. So until it is ready it has less of a share than others.
        """
        name = f"{kind}-{host.name}"
        self._running.pop(name).stop()
        self._start(self._child(host, kind, {**bare_environment(), **self.environment, **settings}, _WITH_LESS))
        if kind != RECEIVER:
            until(lambda: self.number(_BEATS, pid=self.pid(name)), f"{name} beats")
        with suppress(OSError):  # a Linux that does not count by session
            Path(f"/proc/{self.pid(name)}/autogroup").write_text("0")

    def pids(self, host: Host) -> dict[str, int]:
        """The ids of this host's processes, by kind."""
        return {kind: self.pid(f"{kind}-{host.name}") for kind in KINDS}

    def _children(self, environment: dict[str, str]) -> list[Child]:
        return [self._child(host, kind, environment) for kind in KINDS for host in self.net.hosts]

    def _child(self, host: Host, kind: str, environment: dict[str, str], by: Sequence[str] = ()) -> Child:
        url = f"http://{host.address}:{PORT}"
        own = {
            "DATABASE_URL": _at(self.net.address, environment["DATABASE_URL"]),
            "REDIS_URL": _at(self.net.address, environment["REDIS_URL"]),
            "SPOOL_DIR": str(self._directory / f"spool-{host.name}"),
            "HOST": host.address,
            "PORT": str(PORT),
        }
        ready = (lambda: answers(f"{url}/readyz")) if kind == RECEIVER else None
        return Child(f"{kind}-{host.name}", host.command([*by, *argv(kind)]), {**environment, **own}, ready)


class _PostgreSQL(PostgreSQL):
    """PostgreSQL that a network reaches too."""

    def __init__(self, net: Network, directory: Path) -> None:
        self._net = net
        account = unprivileged()
        super().__init__(
            within_reach(binaries.postgresql(), account, directory), directory / "postgresql", account, True
        )

    def _initdb(self) -> None:
        super()._initdb()
        with (self.directory / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self._net.cidr} scram-sha-256\n")

    def _argv(self) -> list[str]:
        return [*super()._argv(), "-c", f"listen_addresses=127.0.0.1,{self._net.address}"]


class _Valkey(Valkey):
    """Valkey that a network reaches too."""

    def __init__(self, net: Network, directory: Path) -> None:
        self._net = net
        account = unprivileged()
        program = within_reach(binaries.valkey(), account, directory)
        super().__init__(program, directory / "valkey", account, durable=True)

    def _stdin(self) -> bytes:
        return super()._stdin() + f"bind 127.0.0.1 {self._net.address}\n".encode()


@contextmanager
def two_hosts(log: TextIO, shared_reads: bool = True, files: int = FILES) -> Iterator[TwoHosts]:
    """The house on two hosts, its files imported, for as long as the block runs. All of it ends with the block."""
    with ExitStack() as stack:
        net = stack.enter_context(network())
        directory = stack.enter_context(scratch())
        postgresql, valkey = _PostgreSQL(net, directory), _Valkey(net, directory)
        for server in (postgresql, valkey):
            _run(stack, server)
        mlm = stack.enter_context(SandboxServer(files=files, seed=7, host=net.address))
        upgrade(postgresql.url)
        servers = Servers(postgresql.url, valkey.url, postgresql, valkey)
        house = TwoHosts(servers, mlm, directory, log, shared_reads, net)
        stack.callback(house.close)
        house.run()
        stack.enter_context(house.balancer)
        until(lambda: all(house.balancer.answers(host.name) for host in net.hosts), "both receivers answer")
        house.import_all()
        mlm.dials.patch(latency_ms=LATENCY_MS)
        yield house


def _run(stack: ExitStack, server: Server) -> None:
    stack.callback(server.stop)
    server.start()


def _at(address: str, url: str) -> str:
    return url.replace("@127.0.0.1:", f"@{address}:")
