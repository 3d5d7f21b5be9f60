"""What is sensitive at rest: sealed for reading back, digested for looking up.

The format is the contract's, so that a portal in any language reads and looks up ("Tables the portal reads"):

    sealed   byte 0 = 1 · 4 bytes key id · 12 bytes nonce · AES-256-GCM ciphertext and tag, no associated data
    index    4 bytes key id · HMAC-SHA256 of the text under HKDF-SHA256(key, info "index")

A key's id is the first 4 bytes of its SHA-256. The first key seals; the others still open, so a key is rotated by
putting a new one in front, and the old one goes once `freshness.ledger.rotation` has sealed everything anew.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .errors import FieldKeyError

_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _NONCE_BYTES


class FieldKeys:
    """The keys of `FIELD_KEYS`, 32 bytes each, newest first. Shows none of them in its `repr`."""

    def __init__(self, keys: tuple[bytes, ...], nonce: Callable[[], bytes] = lambda: os.urandom(_NONCE_BYTES)) -> None:
        if not keys:
            raise FieldKeyError("there is no field key")
        if any(len(key) != 32 for key in keys):
            raise FieldKeyError("a field key is not 32 bytes")
        self._keys, self._nonce = keys, nonce
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._digest_keys = {_key_id(key): _digest_key(key) for key in keys}
        if len(self._ciphers) != len(keys):
            raise FieldKeyError("two field keys have the same id")
        self._newest = _key_id(keys[0])

    def __repr__(self) -> str:
        return f"FieldKeys({len(self._ciphers)} keys, newest {self._newest.hex()})"

    @property
    def newest(self) -> str:
        """The id of the key that seals, in hexadecimal digits."""
        return self._newest.hex()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, newest first."""
        return tuple(key_id.hex() for key_id in self._ciphers)

    @staticmethod
    def id_of(sealed: bytes) -> str:
        """The id of the key that sealed a value, whether we have it or not."""
        return bytes(sealed[1 : 1 + _ID_BYTES]).hex()

    def seal(self, plain: str) -> bytes:
        """The text, encrypted with the newest key. Two calls give different bytes: the nonce is new each time."""
        nonce = self._nonce()
        return _VERSION + self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, plain.encode(), None)

    def open(self, sealed: bytes) -> str:
        """The text that was sealed.

        Raises:
            FieldKeyError: none of our keys sealed it, or the bytes are not what `seal` wrote. Never None: a number
                that cannot be read must not look like a number that is not there.
        """
        sealed = bytes(sealed)
        if len(sealed) < _HEAD_BYTES + _TAG_BYTES or sealed[:1] != _VERSION:
            raise FieldKeyError("not a sealed value")
        key_id = sealed[1 : 1 + _ID_BYTES]
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise FieldKeyError(f"sealed with key {key_id.hex()}, which FIELD_KEYS does not hold")
        try:
            return cipher.decrypt(sealed[1 + _ID_BYTES : _HEAD_BYTES], sealed[_HEAD_BYTES:], None).decode()
        except (InvalidTag, UnicodeDecodeError):
            raise FieldKeyError(f"sealed with key {key_id.hex()}, but the bytes were changed since") from None

    def index(self, plain: str) -> bytes:
        """The digest to store beside a sealed value: equal for equal text, under the newest key."""
        return self._index_under(self._newest, plain)

    def indexes(self, plain: str) -> tuple[bytes, ...]:
        """The digest under each key, newest first: what to compare with while an old key is in use."""
        return tuple(self._index_under(key_id, plain) for key_id in self._digest_keys)

    def each_in_front(self) -> Iterator[FieldKeys]:
        """The same keys, each in front in turn: rows that were sealed under an older one compare equal under it."""
        for key in self._keys:
            yield FieldKeys((key, *(other for other in self._keys if other is not key)), self._nonce)

    def _index_under(self, key_id: bytes, plain: str) -> bytes:
        return key_id + hmac.digest(self._digest_keys[key_id], plain.encode(), "sha256")


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_ID_BYTES]


def _digest_key(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"index").derive(key)
