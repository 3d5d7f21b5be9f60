"""Passwords of the web console, kept as scrypt hashes.

A hash is `scrypt.<log2 n>.<r>.<p>.<salt>.<digest>`, salt and digest in URL-safe base64: no character that a shell, a
compose file or a list by comma takes for its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

#: 16 MiB and about 50 ms a try.
LOG2_N, R, P = 14, 8, 1

#: What a hash may cost to check: it comes from a setting, and a slip there must not take the machine.
_MOST_LOG2_N, _MOST_R, _MOST_P, _MOST_MEMORY = 20, 32, 16, 1 << 30


def hashed(password: str, salt: bytes | None = None) -> str:
    """A new hash of this password, with a salt of its own unless one is given."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"scrypt.{LOG2_N}.{R}.{P}.{_text(salt)}.{_text(_digest(password, salt, LOG2_N, R, P))}"


def matches(password: str, kept: str) -> bool:
    """Whether the password is the hash's. It takes as long whether or not it is.

    Raises:
        ValueError: the hash is none of ours.
    """
    log2_n, r, p, salt, digest = read(kept)
    return hmac.compare_digest(_digest(password, salt, log2_n, r, p), digest)


def read(kept: str) -> tuple[int, int, int, bytes, bytes]:
    """A hash's parts: log2 n, r, p, salt, digest.

    Raises:
        ValueError: it is no hash of ours.
    """
    parts = kept.split(".")
    try:
        scheme, (log2_n, r, p), (salt, digest) = parts[0], map(int, parts[1:4]), map(_bytes, parts[4:6])
    except ValueError:
        raise ValueError("no hash of a password; `freshness console-user NAME` makes one") from None
    costly = not (1 <= log2_n <= _MOST_LOG2_N and 1 <= r <= _MOST_R and 1 <= p <= _MOST_P)
    if scheme != "scrypt" or len(parts) != 6 or costly or len(salt) < 8 or len(digest) != 32:
        raise ValueError("no hash of a password; `freshness console-user NAME` makes one")
    return log2_n, r, p, salt, digest


def _digest(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log2_n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=32)


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
