"""Sessions: who is signed in. The cookie is a random token; PostgreSQL keeps its digest, so that signing out ends it
for good, on every receiver."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from freshness.settings import ConsoleUser

LIFE_S = 12 * 3600

_BEGIN = """
INSERT INTO console_sessions (digest, name, proof, expires_at)
VALUES (%(digest)s, %(name)s, %(proof)s, mlm_now() + make_interval(secs => %(life)s))
"""

_FIND = "SELECT name, proof FROM console_sessions WHERE digest = %(digest)s AND expires_at > mlm_now()"

_END = "DELETE FROM console_sessions WHERE digest = %(digest)s"

_END_OLD = "DELETE FROM console_sessions WHERE expires_at < mlm_now()"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is signed in, and the token that their forms must bear."""

    user: ConsoleUser
    csrf: str


def begin(conn: Connection, user: ConsoleUser) -> str:
    """Begin a session; returns the token for the cookie. Sessions that are over are dropped."""
    token = secrets.token_urlsafe(32)
    conn.exec_driver_sql(_END_OLD)
    parameters = {"digest": _digest(token), "name": user.name, "proof": _proof(token, user), "life": LIFE_S}
    conn.exec_driver_sql(_BEGIN, parameters)
    return token


def find(conn: Connection, token: str, users: Mapping[str, ConsoleUser]) -> Visitor | None:
    """Who the token is. The role is the setting's of now; who is not in it any more, or whose password is another by
    now, is nobody."""
    row = conn.exec_driver_sql(_FIND, {"digest": _digest(token)}).one_or_none()
    user = users.get(row.name) if row else None
    if row is None or user is None or not hmac.compare_digest(bytes(row.proof), _proof(token, user)):
        return None
    return Visitor(user, csrf_of(token))


def end(conn: Connection, token: str) -> None:
    """End a session."""
    conn.exec_driver_sql(_END, {"digest": _digest(token)})


def csrf_of(token: str) -> str:
    """The token that forms bear: made of the cookie's, which no other site can read, and telling nothing of it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _proof(token: str, user: ConsoleUser) -> bytes:
    return hmac.new(token.encode(), user.hash.encode(), hashlib.sha256).digest()
