"""How a sender proves itself: what its delivery must bear, compared in constant time.

A proof looks at a knock and says why it is refused, or None. Where several secrets are allowed (one is being rotated)
every one is compared, whichever matches.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

from freshness.ledger.spent import Once

from ..doors import holds_token


@dataclass(frozen=True)
class Knock:
    """A request as far as a proof looks at it. `at` is when it came, in seconds since 1970."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]] = field(repr=False)
    at: float
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """The one header of this name; None if it is missing, or there twice."""
        found = self.all(name)
        return found[0] if len(found) == 1 else None

    def all(self, name: str) -> list[str]:
        """All headers of this name."""
        return [value for key, value in self.headers if key == name.lower()]


class Proof(Protocol):
    """What a delivery must bear."""

    @property
    def needs_body(self) -> bool:
        """Whether the body takes part; else a delivery is refused before a byte of it is read."""

    def refuses(self, knock: Knock) -> str | None:
        """Why the knock is refused, in words for its sender that quote nothing of it; None: it is proved."""


@runtime_checkable
class ProvesOnce(Protocol):
    """A proof that may tell a replay: something of a delivery that it has proved proves no other one."""

    def once(self, knock: Knock) -> Once | None:
        """What that is of a knock that is proved; None if it is proved by what cannot tell."""


@dataclass(frozen=True)
class Bearer:
    """`Authorization: Bearer …`. `hint` is added where the header is missing."""

    tokens: tuple[str, ...] = field(repr=False)
    hint: str = ""
    needs_body: bool = False

    def refuses(self, knock: Knock) -> str | None:
        """None for one of the tokens."""
        given = knock.all("authorization")
        if not given:
            return f"no bearer token came{self.hint}"
        return None if holds_token(given, [token.encode() for token in self.tokens]) else "a wrong bearer token came"


@dataclass(frozen=True)
class Basic:
    """HTTP Basic: `user:password`."""

    pairs: tuple[str, ...] = field(repr=False)
    needs_body: bool = False

    def refuses(self, knock: Knock) -> str | None:
        """None for one of the pairs."""
        scheme, _, coded = (knock.header("authorization") or "").partition(" ")
        if scheme.lower() != "basic":
            return "no user and password came"
        try:
            given = base64.b64decode(coded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return "a user and password that cannot be read came"
        return None if _is_one_of(given, self.pairs) else "a wrong user or password came"


@dataclass(frozen=True)
class ApiKey:
    """A key in a header of its own."""

    header: str
    keys: tuple[str, ...] = field(repr=False)
    needs_body: bool = False

    def refuses(self, knock: Knock) -> str | None:
        """None for one of the keys."""
        given = knock.header(self.header)
        if given is None:
            return f"no {self.header} came"
        return (
            None if _is_one_of(given.strip().encode("latin-1", "replace"), self.keys) else f"a wrong {self.header} came"
        )


@dataclass(frozen=True)
class UrlSecret:
    """A secret in the URL that the sender calls: the parameter `secret` of its query."""

    secrets: tuple[str, ...] = field(repr=False)
    needs_body: bool = False

    def refuses(self, knock: Knock) -> str | None:
        """None for one of the secrets."""
        given = [value for name, value in parse_qsl(knock.query, keep_blank_values=True) if name == "secret"]
        if len(given) != 1:
            return "no secret is in the URL"
        return None if _is_one_of(given[0].encode(), self.secrets) else "a wrong secret is in the URL"


@dataclass(frozen=True)
class Signature:
    """An HMAC of the body under a shared secret, in a header; `sha256=` and the like may stand before it."""

    header: str
    secrets: tuple[str, ...] = field(repr=False)
    algorithm: str = "sha256"
    encoding: str = "hex"
    needs_body: bool = True

    def refuses(self, knock: Knock) -> str | None:
        """None if it is the body's under one of the secrets."""
        said = knock.header(self.header)
        if said is None:
            return f"no {self.header} came"
        given = self._decoded(said.strip().removeprefix(f"{self.algorithm}="))
        proved = False
        for secret in self.secrets:
            proved |= hmac.compare_digest(given, hmac.digest(secret.encode(), knock.body, self.algorithm))
        return None if proved else f"{self.header} is not this body's"

    def _decoded(self, text: str) -> bytes:
        """The digest's bytes; none for what is no digest."""
        try:
            raw = bytes.fromhex(text) if self.encoding == "hex" else base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return b""
        return raw if len(raw) == hashlib.new(self.algorithm).digest_size else b""


@dataclass(frozen=True)
class _Several:
    proofs: tuple[Proof, ...]

    @property
    def needs_body(self) -> bool:
        """Whether one of them looks at the body."""
        return any(proof.needs_body for proof in self.proofs)

    def _refusals(self, knock: Knock) -> list[str | None]:
        """What each says; all are asked, whatever the first ones say."""
        return [proof.refuses(knock) for proof in self.proofs]


class AnyOf(_Several):
    """One of several is enough: the sender was told which to use."""

    def refuses(self, knock: Knock) -> str | None:
        """None if one proves it."""
        refusals = self._refusals(knock)
        return None if None in refusals else "; ".join(why for why in refusals if why)

    def once(self, knock: Knock) -> Once | None:
        """None if one proves it that cannot tell."""
        if not any(isinstance(proof, ProvesOnce) for proof in self.proofs):
            return None
        proving = [proof for proof in self.proofs if proof.refuses(knock) is None]
        found = [proof.once(knock) if isinstance(proof, ProvesOnce) else None for proof in proving]
        return None if None in found else next(iter(found), None)


class AllOf(_Several):
    """Every one is needed."""

    def refuses(self, knock: Knock) -> str | None:
        """None if all prove it."""
        return next((why for why in self._refusals(knock) if why), None)

    def once(self, knock: Knock) -> Once | None:
        """The first's that can tell."""
        told = (proof.once(knock) for proof in self.proofs if isinstance(proof, ProvesOnce))
        return next((once for once in told if once is not None), None)


def _is_one_of(given: bytes, allowed: Sequence[str]) -> bool:
    """Whether it is one of them; every one is compared, in constant time."""
    matched = False
    for each in allowed:
        matched |= hmac.compare_digest(given, each.encode())
    return matched
