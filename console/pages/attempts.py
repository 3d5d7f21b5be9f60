"""Attempts to sign in: an address has ten in ten minutes that fail, a name thirty over all addresses.

An attempt counts before the password is looked at, and is forgotten if it succeeds: many at once get no more tries than
one after another, and whoever guesses costs us no work once they are over. The name's own limit is the wider one, so
that nobody can lock somebody else out by a few wrong guesses.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import Connection

OF_AN_ADDRESS, OF_A_NAME, WITHIN_S = 10, 30, 600

_LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
_LOCK_KEY = 0x434F4E53  # "CONS"

_FORGET_OLD = "DELETE FROM console_attempts WHERE at < mlm_now() - make_interval(secs => %(within)s)"

_COUNT = """
SELECT count(*) FILTER (WHERE address = %(address)s) AS of_address,
       count(*) FILTER (WHERE name_digest = %(name)s) AS of_name
FROM console_attempts
"""

_ADD = "INSERT INTO console_attempts (address, name_digest) VALUES (%(address)s, %(name)s) RETURNING id"

_FORGET = "DELETE FROM console_attempts WHERE id = %(id)s"


def begin(conn: Connection, address: str, name: str) -> int | None:
    """Count an attempt; its id, or None if there were too many. In a transaction of its own."""
    parameters = {"address": address, "name": hashlib.sha256(name.encode()).digest()}
    conn.exec_driver_sql(_LOCK, {"key": _LOCK_KEY})
    conn.exec_driver_sql(_FORGET_OLD, {"within": WITHIN_S})
    so_far = conn.exec_driver_sql(_COUNT, parameters).one()
    if so_far.of_address >= OF_AN_ADDRESS or so_far.of_name >= OF_A_NAME:
        return None
    return int(conn.exec_driver_sql(_ADD, parameters).scalar_one())


def forget(conn: Connection, attempt: int) -> None:
    """It succeeded."""
    conn.exec_driver_sql(_FORGET, {"id": attempt})
