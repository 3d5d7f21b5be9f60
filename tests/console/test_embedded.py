"""The servers that come with us: there for whoever started them, and gone when they are."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis
import sqlalchemy as sa

from console import binaries, embedded
from console.embedded import PostgreSQL, Servers, Valkey
from console.errors import CannotStart, NoServer
from console.scratch import reachable_by_others, scratch, unprivileged

ROOT = os.geteuid() == 0
HOLD = """
import sys
from pathlib import Path
from console.embedded import embedded
with embedded(Path(sys.argv[1]), durable=False) as servers:
    print(servers.postgresql.process.pid, servers.valkey.process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary directory that an unprivileged server can reach, too (pytest's own is its user's alone)."""
    with scratch() as path:
        yield path


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    os.environ["SECRET_OF_OURS"] = "hush"
    with embedded.embedded(durable=True) as servers:
        yield servers
    del os.environ["SECRET_OF_OURS"]


def runs(pid: int) -> bool:
    """Is it there, and not only a zombie that waits for a parent to look?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], object], within_s: float = 15) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def without_password(url: str) -> str:
    return re.sub(r":[^:]*@", "@", url)


def test_both_answer_at_the_urls_they_are_said_to_have(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert redis.Redis.from_url(servers.redis_url).ping()


def test_postgresql_is_one_that_the_product_supports(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        assert connection.info.server_version >= 150000


def test_durable_servers_write_through_to_the_disk(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        told = [connection.execute(f"SHOW {name}").fetchone()[0] for name in ("fsync", "synchronous_commit")]
    assert told == ["on", "on"]
    assert redis.Redis.from_url(servers.redis_url).config_get("appendonly") == {"appendonly": "yes"}


def test_other_users_of_the_machine_are_not_let_in(servers: Servers) -> None:
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(without_password(servers.database_url))
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(without_password(servers.redis_url)).ping()


def test_no_password_stands_on_a_command_line(servers: Servers) -> None:
    for server in (servers.postgresql, servers.valkey):
        assert server.password not in Path(f"/proc/{server.process.pid}/cmdline").read_text()


def test_they_listen_on_loopback_only(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    assert redis.Redis.from_url(servers.redis_url).config_get("bind") == {"bind": "127.0.0.1"}


def test_they_do_not_inherit_our_secrets(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE seen (line text)")
        connection.execute("COPY seen FROM PROGRAM 'env'")
        seen = [line for (line,) in connection.execute("SELECT line FROM seen")]
    assert "TZ=UTC" in seen
    assert not any("hush" in line for line in seen)


@pytest.mark.skipif(not ROOT, reason="an ordinary user's servers are that user's own")
def test_as_root_they_run_as_nobody_we_would_miss(servers: Servers) -> None:
    for server in (servers.postgresql, servers.valkey):
        owner = Path(f"/proc/{server.process.pid}").stat().st_uid
        assert owner == pwd.getpwnam("nobody").pw_uid


def test_the_description_names_servers_and_ports_and_no_password(servers: Servers) -> None:
    told = " ".join(servers.describe())
    assert f"127.0.0.1:{sa.make_url(servers.database_url).port} " in told
    assert f"127.0.0.1:{sa.make_url(servers.redis_url).port} " in told
    assert servers.postgresql.password not in told
    assert servers.valkey.password not in told


def test_a_stopped_server_starts_again_where_it_was_with_what_it_held(servers: Servers) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    redis.Redis.from_url(servers.redis_url).set("kept", 7)
    for server in (servers.postgresql, servers.valkey):
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port)).close()
        server.start()
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
    assert redis.Redis.from_url(servers.redis_url).get("kept") == b"7"


def test_nothing_is_left_when_the_block_has_ended(place: Path) -> None:
    with embedded.embedded(place, durable=False) as servers:
        pids = [servers.postgresql.process.pid, servers.valkey.process.pid]
        assert list(place.iterdir())
    assert not any(map(runs, pids))
    assert list(place.iterdir()) == []


def test_after_a_kill_the_servers_end_and_the_next_start_removes_what_they_left(place: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        pids = [int(pid) for pid in holder.stdout.readline().split()]
        assert len(pids) == 2
        holder.kill()
    eventually(lambda: not any(map(runs, pids)))
    left = set(place.iterdir())
    assert left
    with scratch(place) as mine:
        assert set(place.iterdir()) == {mine}


def test_a_start_leaves_the_directory_of_one_that_still_runs_alone(place: Path) -> None:
    with scratch(place) as first, scratch(place):
        assert first.is_dir()


def test_a_server_whose_url_is_given_is_not_started() -> None:
    with embedded.embedded(database_url="postgresql://elsewhere/x", redis_url="redis://elsewhere/0") as servers:
        assert (servers.database_url, servers.redis_url) == ("postgresql://elsewhere/x", "redis://elsewhere/0")
        assert servers.describe() == []


def test_programs_that_the_servers_user_cannot_reach_run_from_a_copy(place: Path, tmp_path: Path) -> None:
    original, closed = binaries.postgresql(), tmp_path / "site-packages"
    program = copy_of(original, closed)
    closed.chmod(0o700)
    assert not program.reachable()
    account = unprivileged() or binaries.Account(os.getuid(), os.getgid())
    copy = program.copied_for(account, place)
    shutil.rmtree(closed)
    postgresql = PostgreSQL(copy, place / "cluster", unprivileged(), durable=False)
    postgresql.start()
    try:
        with psycopg.connect(postgresql.url) as connection:
            assert connection.execute("SELECT count(*) > 0 FROM pg_timezone_names").fetchone() == (True,)
    finally:
        postgresql.stop()


def copy_of(program: binaries.Program, directory: Path) -> binaries.Program:
    root = Path(os.path.commonpath([path.parent for path in program.needs]))
    for path in program.needs:
        shutil.copytree(path, directory / path.relative_to(root))
    needs = tuple(directory / path.relative_to(root) for path in program.needs)
    return replace(program, path=directory / program.path.relative_to(root), needs=needs)


def test_a_path_below_a_private_directory_is_not_reachable(tmp_path: Path) -> None:
    below = tmp_path / "private" / "open"
    below.mkdir(parents=True, mode=0o755)
    (tmp_path / "private").chmod(0o700)
    assert not reachable_by_others(below)


def server_in(place: Path, kind: type[PostgreSQL] | type[Valkey]) -> PostgreSQL | Valkey:
    program = binaries.postgresql() if kind is PostgreSQL else binaries.valkey()
    program = embedded.within_reach(program, unprivileged(), place)
    return kind(program, place / kind.__name__.lower(), unprivileged(), durable=False)


def test_a_port_that_was_taken_meanwhile_is_left_for_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = embedded._free_port
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        taken = squatter.getsockname()[1]
        ports = [taken]
        monkeypatch.setattr(embedded, "_free_port", lambda: ports.pop() if ports else look())
        for kind in (PostgreSQL, Valkey):
            ports[:] = [taken]
            server = server_in(place, kind)
            server.start()
            server.stop()
            assert server.port != taken


def test_a_server_that_does_not_come_up_says_why(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        valkey = server_in(place, Valkey)
        valkey.port = squatter.getsockname()[1]
        with pytest.raises(CannotStart, match="Address already in use"):
            valkey.start()


def test_without_wheels_the_programs_on_path_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = {"postgres": binaries.postgresql().path, "redis-server": binaries.valkey().path}
    (tmp_path / "initdb").touch()
    for name, program in real.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert binaries.postgresql().path == tmp_path / "postgres"
    assert binaries.valkey().path == tmp_path / "redis-server"


def test_without_any_program_the_error_says_what_brings_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    monkeypatch.setattr(binaries, "DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServer, match=r"no PostgreSQL 15 or newer .* `pip install 'mlm-freshness\[up\]'`"):
        binaries.postgresql()
    with pytest.raises(NoServer, match="no Valkey or Redis"):
        binaries.valkey()


def test_a_program_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    (tmp_path / "valkey-server").write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'\n")
    (tmp_path / "redis-server").write_text("#!/bin/sh\necho 'Redis server v=7.0.15 sha=0'\n")
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).chmod(0o755)
    assert binaries.valkey().version == "7.0.15"


def test_a_killed_postgresql_starts_again_with_what_it_had_committed(servers: Servers) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE survived AS SELECT 1")
    servers.postgresql.process.send_signal(signal.SIGQUIT)
    servers.postgresql.process.wait()
    servers.postgresql.start()
    with psycopg.connect(servers.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM survived").fetchone() == (1,)
