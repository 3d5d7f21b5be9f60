"""PgBouncer in transaction mode, set up as docs/deploy.md says, in front of a test's database."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import sqlalchemy as sa

from console import child
from console.laptop import _free_port
from console.scratch import scratch, unprivileged

PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
DOCUMENT = Path(__file__).parent.parent / "docs" / "deploy.md"

#: So few that clients take turns on them: what one left in its session, another would meet.
SESSIONS = 3


@contextmanager
def through_pgbouncer(database_url: str) -> Iterator[str]:
    """The URL of a PgBouncer that leads to this database, for as long as the block runs."""
    to, port, account = sa.make_url(database_url), _free_port("127.0.0.1"), unprivileged()
    with scratch() as directory:
        (directory / "users").write_text(f'"{to.username}" "{to.password}"\n')
        (directory / "pgbouncer.ini").write_text(_as_documented(to, port, directory))
        for each in (directory, directory / "users", directory / "pgbouncer.ini"):
            os.chown(each, *(account or (-1, -1)))
        argv = [str(PROGRAM), "--quiet", str(directory / "pgbouncer.ini")]
        process = subprocess.Popen(child.command(argv, signal.SIGINT, account), stdin=subprocess.DEVNULL)
        try:
            url = to.set(host="127.0.0.1", port=port, database="freshness").render_as_string(hide_password=False)
            _answers(url, process)
            yield url
        finally:
            process.kill()
            process.wait()


def _as_documented(to: sa.URL, port: int, directory: Path) -> str:
    (documented,) = re.findall(r"```ini\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    place = f"host={to.host} port={to.port} dbname={to.database}"
    ours = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": directory / "users",
        "default_pool_size": SESSIONS,
        "max_client_conn": 200,
    }
    moved = documented.replace("host=127.0.0.1 port=5432 dbname=freshness", place)
    assert moved != documented
    return moved + "".join(f"{name} = {value}\n" for name, value in ours.items())


def _answers(url: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(psycopg.OperationalError, socket.error), psycopg.connect(url, connect_timeout=5):
            return
    raise AssertionError("PgBouncer ended at once")
