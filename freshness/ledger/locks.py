"""Patience: how long a worker waits for a row that somebody else has locked, where it could as well come again.

A process that freezes within a transaction keeps its rows locked until PostgreSQL cuts it off, ten seconds later. Who
has an answer of MLM's to land waits for that; who has not begun yet leaves its thread to other files, and the sweep
rings again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

#: Many times what a commit takes.
PATIENCE_MS = 500

# Taken back with the savepoint; released, it holds until the transaction ends.
_PATIENCE = f"SET LOCAL lock_timeout = {PATIENCE_MS}"


def within_patience(conn: Connection, statement: str, parameters: Mapping[str, Any]) -> int | None:
    """Execute a statement that locks; how many rows it did, or None if one of them was locked for too long.

    Then nothing of it has happened, and the transaction goes on.
    """
    try:
        with conn.begin_nested():
            conn.exec_driver_sql(_PATIENCE)
            return conn.exec_driver_sql(statement, dict(parameters)).rowcount
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return None
        raise
