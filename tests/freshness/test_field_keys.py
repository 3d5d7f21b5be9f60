"""SSNs and account numbers at rest. The vectors are made with the primitives here, from the contract's words alone."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from freshness.errors import FieldKeyError
from freshness.field_keys import FieldKeys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
NONCE = bytes(range(100, 112))
SSN = "991919991"


def _id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:4]


def _sealed(key: bytes, plain: str, nonce: bytes = NONCE) -> bytes:
    return b"\x01" + _id(key) + nonce + AESGCM(key).encrypt(nonce, plain.encode(), None)


def _index(key: bytes, plain: str) -> bytes:
    """HKDF-SHA256 by its definition (RFC 5869): extract with a salt of zeros, expand one block with info "index"."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    expanded = hmac.digest(extracted, b"index\x01", "sha256")
    return _id(key) + hmac.digest(expanded, plain.encode(), "sha256")


def test_a_sealed_value_has_the_contracts_bytes():
    assert FieldKeys((NEW, OLD), nonce=lambda: NONCE).seal(SSN) == _sealed(NEW, SSN)


def test_an_index_has_the_contracts_bytes():
    assert FieldKeys((NEW, OLD)).index(SSN) == _index(NEW, SSN)


def test_the_bytes_of_a_known_key_never_change():
    """A portal in another language was written against these: computed once from the primitives, written down here."""
    keys = FieldKeys((OLD,), nonce=lambda: NONCE)
    assert (
        keys.seal(SSN).hex() == "01630dcd296465666768696a6b6c6d6e6f7122ef5f48d06fa70f9fc21d1aefce3edced67d14014c7d5e4"
    )
    assert keys.index(SSN).hex() == "630dcd29eca12870441541e28505a82266d0d2dbbc591baf244f18ad6de3384a66b96ecd"


@given(st.text())
def test_what_is_sealed_opens_to_the_same_text(plain: str):
    keys = FieldKeys((NEW, OLD))
    assert keys.open(keys.seal(plain)) == plain


def test_two_seals_of_one_text_differ_and_their_indexes_do_not():
    keys = FieldKeys((NEW,))
    assert keys.seal(SSN) != keys.seal(SSN)
    assert keys.index(SSN) == keys.index(SSN)


def test_an_older_key_still_opens_while_it_stands_in_the_list():
    assert FieldKeys((NEW, OLD)).open(_sealed(OLD, SSN)) == SSN


def test_a_lookup_while_keys_are_rotated_compares_with_the_digest_under_each():
    assert FieldKeys((NEW, OLD)).indexes(SSN) == (_index(NEW, SSN), _index(OLD, SSN))


def test_a_value_whose_key_was_lost_is_an_error_that_names_the_keys_id_and_not_the_value():
    with pytest.raises(FieldKeyError, match=_id(OLD).hex()) as caught:
        FieldKeys((NEW,)).open(_sealed(OLD, SSN))
    assert SSN not in str(caught.value)


@pytest.mark.parametrize("at", [6, 17, -1])
def test_a_value_with_one_bit_changed_is_an_error(at: int):
    """In the nonce, the ciphertext and the tag."""
    sealed = bytearray(_sealed(NEW, SSN))
    sealed[at] ^= 1
    with pytest.raises(FieldKeyError, match="changed"):
        FieldKeys((NEW,)).open(bytes(sealed))


@pytest.mark.parametrize("sealed", [b"", b"\x01", _sealed(NEW, "")[:-1], b"\x02" + _sealed(NEW, SSN)[1:]])
def test_bytes_of_another_form_are_an_error_and_not_none(sealed: bytes):
    with pytest.raises(FieldKeyError, match="not a sealed value"):
        FieldKeys((NEW,)).open(sealed)


@pytest.mark.parametrize("keys", [(), (b"short",), (NEW, NEW)])
def test_keys_that_cannot_be_used_are_refused_at_once(keys: tuple[bytes, ...]):
    with pytest.raises(FieldKeyError):
        FieldKeys(keys)


def test_a_repr_shows_no_key():
    assert NEW.hex() not in repr(FieldKeys((NEW,)))
    assert repr(NEW) not in repr(FieldKeys((NEW,)))
