"""Who may knock."""

from __future__ import annotations

import hmac
from ipaddress import ip_address, ip_network

import pytest

from receiver.doors import address_of, holds_token

TOKENS = (b"old-token", b"new-token")
PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize("header", ["Bearer old-token", "Bearer new-token", "bearer  new-token", "BEARER old-token"])
def test_any_token_that_is_configured_opens(header: str) -> None:
    assert holds_token([header], TOKENS)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["old-token"],
        ["Basic old-token"],
        ["Bearer old-toke"],
        ["Bearer old-token,new-token"],
        ["Bearer old-token\xff"],
        ["Bearer old-token", "Bearer old-token"],
    ],
)
def test_nothing_else_opens(headers: list[str]) -> None:
    assert not holds_token(headers, TOKENS)


def test_a_token_outside_ascii_is_compared_as_the_bytes_that_were_sent() -> None:
    assert holds_token(["Bearer " + "schlüssel".encode().decode("latin-1")], ("schlüssel".encode(),))


def test_every_token_is_compared_in_constant_time_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def watched(given: bytes, token: bytes) -> bool:
        compared.append(token)
        return real(given, token)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    holds_token(["Bearer old-token"], TOKENS)
    assert compared == list(TOKENS)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # a stranger's word counts for nothing
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # only the hop that the proxy wrote
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.2.2.2"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),  # several headers are one list
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("fd00::1", ["[2001:db8::5]:4711"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, unknown"], None),
        ("10.0.0.1", [""], None),
        (None, ["198.51.100.1"], None),
    ],
)
def test_the_address_is_the_nearest_hop_that_is_no_trusted_proxy(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    assert address_of(peer, forwarded, PROXIES) == (ip_address(address) if address else None)
