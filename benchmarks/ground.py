"""One PostgreSQL that syncs its commits and one Valkey, for all parties alike; a database for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
from psycopg import sql

from console.embedded import Servers, embedded
from console.scratch import scratch

from .processes import PLACE


@dataclass(frozen=True)
class Ground:
    """Where the servers are, and a directory for logs and requests."""

    servers: Servers
    directory: Path

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.servers.database_url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return sa.make_url(self.servers.database_url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def ground() -> Iterator[Ground]:
    """Both servers for as long as the block runs, their data on the disk that the repository is on."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with embedded(directory=_on_disk()) as servers, scratch(PLACE) as directory:
        yield Ground(servers, directory)


def _on_disk() -> Path | None:
    """The system's temporary directory, unless that is memory: then /var/tmp."""
    mounts = {line.split()[1]: line.split()[2] for line in Path("/proc/mounts").read_text().splitlines()}
    return Path("/var/tmp") if mounts.get("/tmp") == "tmpfs" else None


def execute(url: str, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; what it found."""
    with psycopg.connect(url) as connection:
        cursor = connection.execute(query, parameters or None)
        return cursor.fetchall() if cursor.description else []


def settle(url: str, *tables: LiteralString, analyze: bool = True) -> None:
    """Leave no work behind for the next party: dead rows gone, of these tables or of all; everything on the disk. Of a
    million rows that the planner knows already, `analyze=False` saves a second each time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"VACUUM {'ANALYZE' if analyze else ''} {', '.join(tables)}")
        connection.execute("CHECKPOINT")


def versions(servers: Servers) -> list[str]:
    """What runs, for the document."""
    with psycopg.connect(servers.database_url) as connection:
        shown = {name: connection.execute(f"SHOW {name}").fetchone() for name in _TOLD}
    told = ", ".join(f"{name} {value[0]}" for name, value in shown.items() if value)
    return [*(each.partition(" on ")[0] for each in servers.describe()), told]


_TOLD = ("fsync", "synchronous_commit", "shared_buffers", "max_wal_size")
