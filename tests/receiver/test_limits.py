"""How often an address may be refused, and who is never told 429: who proves themselves, and MLM's networks."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS
from running_receiver import MLM_TOKEN, NEWER, OPEN, PORTAL_TOKEN, WEBHOOK, Receiver, receiver

from receiver.limits import MOST_ADDRESSES, Limits

FEW = OPEN | {"REFUSALS_A_MINUTE": "3"}
BATCH = [{"eventType": "Modified", "referenceNumber": "R1", "values": {"sLastModifiedTimestamp": NEWER}}]
MMI = "/api/v1/senders/mmi/webhook"


@pytest.fixture
def limited(engine: sa.Engine) -> Iterator[Receiver]:
    with receiver(engine, FEW | {"MMI_SECRET": "from-mmi", "FIELD_KEYS": FIELD_KEYS}) as served:
        yield served


def signed(body: bytes) -> dict[str, str]:
    return {"X-MMI-Signature": hmac.new(b"from-mmi", body, hashlib.sha256).hexdigest()}


def wear_out(served: Receiver) -> None:
    statuses = [served.post(token="wrong", json=BATCH).status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]


def test_who_is_refused_too_often_is_told_when_to_come_again(limited: Receiver):
    wear_out(limited)
    answer = limited.post(token="wrong", json=BATCH)
    assert (answer.status_code, answer.json()["title"]) == (429, "Too Many Requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert "come again in" in answer.json()["detail"]
    assert limited.get("/no/such/route", token=None).status_code == 429


def test_it_never_falls_on_who_bears_the_token_though_others_at_the_address_knock_wrongly(limited: Receiver):
    wear_out(limited)
    assert limited.post(token=MLM_TOKEN, json=BATCH).status_code == 200
    assert limited.get("/api/v1/loans/R-unknown/freshness", token=PORTAL_TOKEN).status_code == 404
    assert limited.post(token=MLM_TOKEN, content=b"no json").status_code == 400


def test_it_never_falls_on_a_signed_delivery_of_another_senders(limited: Receiver):
    wear_out(limited)
    good = json.dumps({"type": "Mortgage", "nmls": "1", "timestamp": "2026-01-02 03:04:05"}).encode()
    assert limited.post(MMI, token=None, content=good, headers=signed(good)).status_code == 200
    assert limited.post(MMI, token=None, content=b"{", headers=signed(b"{")).status_code == 400
    assert limited.post(MMI, token=None, content=b"{", headers=signed(good)).status_code == 429


@pytest.mark.parametrize("number", range(1, 6))
def test_it_never_falls_on_mlms_networks(engine: sa.Engine, number: int):
    with receiver(engine, FEW | {"MLM_WEBHOOK_NETWORKS": "127.0.0.0/8"}) as served:
        assert [served.post(token="wrong", json=BATCH).status_code for _ in range(number)] == [401] * number


def test_an_address_is_whom_a_trusted_proxy_names(engine: sa.Engine):
    with receiver(engine, FEW | {"TRUSTED_PROXIES": "127.0.0.0/8"}) as served:
        one, other = {"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-For": "203.0.113.8"}
        assert [served.post(token="wrong", headers=one).status_code for _ in range(4)][-1] == 429
        assert served.post(token="wrong", headers=other).status_code == 401


def test_health_is_never_limited(limited: Receiver):
    wear_out(limited)
    assert [limited.get(path, token=None).status_code for path in ("/healthz", "/readyz")] == [200, 200]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(address: str) -> dict[str, object]:
    return {"type": "http", "client": (address, 4711), "headers": [], "method": "GET", "path": "/"}


def test_a_bucket_fills_up_again_evenly():
    clock = Clock()
    limits = Limits(60, clock=clock)
    assert [limits.refuse(scope("203.0.113.7")) for _ in range(62)] == [0] * 60 + [1, 1]
    clock.now += 1
    assert [limits.refuse(scope("203.0.113.7")) for _ in range(2)] == [0, 1]
    clock.now += 3600
    assert [limits.refuse(scope("203.0.113.7")) for _ in range(61)] == [0] * 60 + [1]


def test_all_addresses_of_a_host_on_ipv6_are_one():
    limits = Limits(1, clock=Clock())
    assert [limits.refuse(scope(f"2001:db8::{n}")) for n in (1, 2)] == [0, 60]
    assert limits.refuse(scope("2001:db8:0:1::1")) == 0


def test_it_remembers_so_many_addresses_and_no_more():
    limits = Limits(1, clock=Clock())
    for n in range(MOST_ADDRESSES + 10):
        limits.refuse(scope(str(ipaddress.IPv4Address(n))))
    assert len(limits._left) == MOST_ADDRESSES
    assert limits.refuse(scope(str(ipaddress.IPv4Address(MOST_ADDRESSES)))) == 60


def test_webhooks_are_not_limited_by_how_many_good_ones_come(limited: Receiver):
    assert {limited.post(WEBHOOK, json=BATCH).status_code for _ in range(20)} == {200}
