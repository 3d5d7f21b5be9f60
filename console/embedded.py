"""PostgreSQL and Valkey for `freshness up` and for the tests: no root, no container, nothing to set up.

    with embedded() as servers:
        servers.database_url, servers.redis_url, servers.describe()

Both listen on 127.0.0.1 only, at a free port, and want a password made for this run. Their data lies in a temporary
directory (`scratch`) that is gone afterwards; after a kill the servers end by themselves (`child`) and the next
start removes the directory. If we are root they run as an unprivileged user, because PostgreSQL refuses root, from
copies of their programs if that user cannot reach the wheels.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from . import binaries, child
from .binaries import Program
from .child import Account
from .errors import CannotStart, NoAccount
from .scratch import scratch, unprivileged

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
PORT_ATTEMPTS = 5


class Server:
    """One server: started, stopped and started again at will, its data, port and password staying the same.

    Not for use from several threads; and it dies with the thread that started it (`child`).
    """

    name: str
    stop_signal: signal.Signals
    death_signal: signal.Signals

    def __init__(self, program: Program, directory: Path, account: Account | None, durable: bool) -> None:
        self.program = program
        self.directory = directory
        self.account = account
        self.durable = durable
        self.password = secrets.token_urlsafe(24)
        self.port: int | None = None
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(mode=0o700)
        if account:
            try:
                os.chown(directory, *account)
            except OSError:
                raise NoAccount(f"user {account.uid} means nothing here") from None

    def start(self) -> None:
        """Start, and return once it takes connections.

        Raises:
            CannotStart: it ended, or took no connections within START_TIMEOUT_S.
        """
        if self.port is not None:
            return self._start_once()
        for _ in range(PORT_ATTEMPTS - 1):
            self.port = _free_port()
            try:
                return self._start_once()
            except CannotStart as error:  # somebody may take a port between our look at it and the server's bind
                if "Address already in use" not in str(error):
                    raise
        self.port = _free_port()
        return self._start_once()

    def stop(self) -> None:
        """Stop in good order; by force if that takes longer than STOP_TIMEOUT_S. Does nothing if it does not run."""
        if self.process is None:
            return
        for signum in (self.stop_signal, self.death_signal, signal.SIGKILL):
            self.process.send_signal(signum)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
                break
        self.process = None

    def describe(self) -> str:
        """One line: what runs where, and where its program came from. No password."""
        return f"{self.name} {self.program.version} on 127.0.0.1:{self.port} ({self.program.source})"

    def _start_once(self) -> None:
        with open(self.directory / "log", "ab") as log:
            self.process = self._run(self._argv(), log.fileno())
        assert self.process.stdin is not None  # noqa: S101  (a pipe was asked for)
        with suppress(BrokenPipeError), self.process.stdin as stdin:  # it may have ended; that is seen below
            stdin.write(self._stdin())
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._give_up()
            time.sleep(0.01)

    def _give_up(self) -> NoReturn:
        if self.process:
            self.process.kill()
            self.process.wait()
        self.process = None
        raise CannotStart(self.name, _tail(self.directory / "log"))

    def _run(self, argv: list[str], output: int) -> subprocess.Popen[bytes]:
        """In a session of its own, so that Ctrl-C reaches us and we stop it last; without our environment's secrets."""
        return subprocess.Popen(  # noqa: S603  (our own command line)
            child.command(argv, self.death_signal, self.account),
            cwd=self.directory,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(self.directory)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def _argv(self) -> list[str]:
        raise NotImplementedError

    def _stdin(self) -> bytes:
        return b""

    def _ready(self) -> bool:
        raise NotImplementedError


class PostgreSQL(Server):
    """A cluster of its own. `durable=False`: what was committed may be lost with the machine, never with the server."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # ends sessions, writes a checkpoint
    death_signal = signal.SIGQUIT  # ends at once, taking its children and its shared memory along

    @property
    def url(self) -> str:
        """Of the database `postgres`, as the owner of everything."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """As any server; the first start makes the cluster."""
        if not (self.directory / "data" / "PG_VERSION").exists():
            self._initdb()
        super().start()

    def _initdb(self) -> None:
        password, log = self.directory / "password", self.directory / "log"
        password.touch(mode=0o600)
        password.write_text(self.password)
        if self.account:
            os.chown(password, *self.account)
        options = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
        options += ["--no-locale", "--no-instructions", *([] if self.durable else ["--no-sync"])]
        argv = [str(self.program.path.with_name("initdb")), f"--pgdata={self.directory / 'data'}", *options]
        with open(log, "ab") as output:
            self.process = self._run(argv, output.fileno())
        with suppress(subprocess.TimeoutExpired):
            self.process.communicate(timeout=START_TIMEOUT_S)
        password.unlink()
        if self.process.returncode != 0:
            self._give_up()
        self.process = None

    def _argv(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            "log_error_verbosity": "terse",  # a DETAIL line would quote the row that a key refused
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program.path), "-D", str(self.directory / "data"), *options]

    def _ready(self) -> bool:
        """As pg_ctl tells it: line 8 of postmaster.pid, in a file of the process we started."""
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(self.process and self.process.pid)


class Valkey(Server):
    """Redis as Valkey, with 64 logical databases. `durable`: an append-only file, written out every second."""

    name = "Valkey (in place of Redis)"
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGKILL

    @property
    def url(self) -> str:
        """Of logical database 0; another is named by the path, `…/7`."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def _argv(self) -> list[str]:
        return [str(self.program.path), "-"]

    def _stdin(self) -> bytes:
        """The configuration: on a command line anybody could read the password."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self.password}",
            "databases 64",
            'save ""',
            f"appendonly {'yes' if self.durable else 'no'}",
        ]
        return "\n".join([*lines, ""]).encode()

    def _ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port or 0), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(1024)):
                    answer += part
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"


@dataclass(frozen=True)
class Servers:
    """What `embedded` started, and where both are. `postgresql` or `valkey` is None if its URL was given."""

    database_url: str = field(repr=False)  # with its password
    redis_url: str = field(repr=False)
    postgresql: PostgreSQL | None
    valkey: Valkey | None

    def describe(self) -> list[str]:
        """A line for each server that was started here."""
        return [server.describe() for server in (self.postgresql, self.valkey) if server]


@contextmanager
def embedded(
    directory: Path | None = None,
    durable: bool = True,
    database_url: str | None = None,
    redis_url: str | None = None,
) -> Iterator[Servers]:
    """Run PostgreSQL and Valkey for as long as the block runs; one whose URL is given is taken as it is.

    Args:
        directory: where the temporary directory is made; by default the system's place for such.
        durable: what a server confirmed outlives the loss of the machine (PostgreSQL), or all but its last second
            does (Valkey). Tests do without.
        database_url, redis_url: servers that run already.

    Raises:
        NoServer: a program is not on this machine; the message names the command that installs it.
        CannotStart: a server did not come up.
        NoAccount: we are root, and there is nobody else to run PostgreSQL as.
    """
    with ExitStack() as stack:
        postgresql = valkey = None
        if database_url is None or redis_url is None:
            path, account = stack.enter_context(scratch(directory)), unprivileged()
        if database_url is None:
            program = within_reach(binaries.postgresql(), account, path)
            postgresql = PostgreSQL(program, path / "postgresql", account, durable)
            _start(postgresql, stack)
            database_url = postgresql.url
        if redis_url is None:
            program = within_reach(binaries.valkey(), account, path)
            valkey = Valkey(program, path / "valkey", account, durable)
            _start(valkey, stack)
            redis_url = valkey.url
        yield Servers(database_url, redis_url, postgresql, valkey)


def within_reach(program: Program, account: Account | None, path: Path) -> Program:
    """The program, or a copy of it below `path` if that user cannot reach it where it is."""
    return program if account is None or program.reachable() else program.copied_for(account, path)


def _start(server: Server, stack: ExitStack) -> None:
    stack.callback(server.stop)
    server.start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path) -> str:
    """The last lines of a log, as one."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return " / ".join(line.strip() for line in lines[-8:]) or "it said nothing"
