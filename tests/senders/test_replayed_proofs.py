"""A delivery that is replayed, its credentials with it: refused where they tell, else met by the rule for all."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from deliveries import OPEN, path, proved, receipts, rows, sample, send
from running_receiver import Receiver, engine_to_nowhere, receiver
from test_credentials import BODY, PATH, RIGHT, TOKEN_PATH, aws, basic, deliver
from test_order import BEGAN, RECEPTION
from test_spooled import drain

from freshness.errors import Replayed
from freshness.ledger.spent import Once, spend

USED = "a signature that was used before came"


def spent(engine: sa.Engine) -> list[dt.datetime]:
    """When the signatures end that were used."""
    with engine.connect() as conn:
        return list(conn.exec_driver_sql("SELECT ends_at FROM spent_signatures").scalars())


def test_an_aws_signature_proves_one_delivery(served: Receiver, engine: sa.Engine):
    headers = aws(served.url + PATH, BODY)
    assert deliver(served, headers).status_code == 200
    before = rows(engine, "mlm_webhook_receipts"), rows(engine, "maxwell_applications"), rows(engine, "sender_bodies")

    for _ in range(3):
        answer = deliver(served, headers)
        assert (answer.status_code, answer.json()["detail"]) == (401, USED)

    after = rows(engine, "mlm_webhook_receipts"), rows(engine, "maxwell_applications"), rows(engine, "sender_bodies")
    assert after == before
    assert [(each["status"], each["reason"], each["keys"]) for each in rows(engine, "refused_deliveries")] == [
        (401, USED, None),
    ] * 3  # fmt: skip


def test_what_is_proved_by_something_else_too_is_taken_for_a_retry(served: Receiver, engine: sa.Engine):
    headers = aws(served.url + PATH, BODY) | {"X-API-Key": "key-of-maxwell"}

    assert [deliver(served, headers).status_code for _ in range(2)] == [200, 200]
    assert spent(engine) == []


def test_it_is_spent_for_every_receiver(served: Receiver, engine: sa.Engine):
    with receiver(engine, OPEN) as another:
        headers = aws(served.url + PATH, BODY) | {"Host": served.url.removeprefix("http://")}
        assert deliver(served, headers).status_code == 200
        assert deliver(another, headers).status_code == 401


def test_it_is_not_spent_by_a_transaction_that_fails(engine: sa.Engine):
    delivery = RECEPTION.opened("maxwell", BODY, BEGAN, Once(b"signature", BEGAN + dt.timedelta(minutes=10)))
    with engine.connect() as conn:
        RECEPTION.receive(conn, [delivery])
        conn.rollback()
    with engine.begin() as conn:
        RECEPTION.receive(conn, [delivery])

    assert [outcome for outcome, _ in receipts(engine)] == ["applied"]
    with pytest.raises(Replayed), engine.begin() as conn:
        RECEPTION.receive(conn, [delivery])


def test_it_is_not_spent_by_a_delivery_that_was_refused_or_could_not_be_kept(served: Receiver, engine: sa.Engine):
    """The sender's own retry succeeds then."""
    with receiver(engine_to_nowhere(), OPEN) as away:
        headers = aws(served.url + PATH, BODY) | {"Host": served.url.removeprefix("http://")}
        assert deliver(away, headers).status_code == 503
    assert deliver(served, headers, BODY + b" ").status_code == 401

    assert deliver(served, headers).status_code == 200


def test_who_shares_a_transaction_with_a_replay_loses_nothing(served: Receiver, engine: sa.Engine):
    headers = aws(served.url + PATH, BODY)
    assert deliver(served, headers).status_code == 200
    others = [BODY.replace(b"lf-1", b"lf-%d" % number) for number in range(2, 12)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replays = [pool.submit(deliver, served, headers) for _ in range(10)]
        sound = [pool.submit(deliver, served, basic("maxwell:password"), body) for body in others]

    assert {each.result().status_code for each in replays} == {401}
    assert {each.result().status_code for each in sound} == {200}
    assert len(rows(engine, "maxwell_applications")) == 11


def test_what_was_replayed_while_postgresql_was_away_is_dropped_when_it_is_back(tmp_path: Path, engine: sa.Engine):
    with receiver(engine_to_nowhere(), OPEN | {"SPOOL_DIR": str(tmp_path)}) as away:
        headers = aws(away.url + PATH, BODY)
        assert [deliver(away, headers).status_code for _ in range(2)] == [202, 202]

    drain(engine, tmp_path)

    assert [outcome for outcome, _ in receipts(engine)] == ["applied"]
    assert list(tmp_path.rglob("*.batch")) == []
    assert len(spent(engine)) == 1, "also one that has waited proves nothing more"


def test_signatures_that_have_ended_are_not_kept(engine: sa.Engine):
    now = dt.datetime.now(dt.UTC)
    with engine.begin() as conn:
        spend(conn, [Once(b"ended", now - dt.timedelta(seconds=1)), Once(b"lasting", now + dt.timedelta(hours=1))])
    with engine.begin() as conn:
        spend(conn, [Once(b"new", now + dt.timedelta(hours=1))])
        assert conn.exec_driver_sql("SELECT digest FROM spent_signatures ORDER BY 1").scalars().all() == [
            b"lasting", b"new",
        ]  # fmt: skip


def test_a_signature_is_kept_until_its_window_is_over(served: Receiver, engine: sa.Engine):
    deliver(served, aws(served.url + PATH, BODY))

    (ends_at,) = spent(engine)
    lasts = ends_at - dt.datetime.now(dt.UTC)
    assert dt.timedelta(seconds=570) < lasts <= dt.timedelta(seconds=600), "twice the window of 300 s"


@pytest.mark.parametrize("kind", [kind for kind in RIGHT if kind != "aws"])
def test_what_cannot_tell_a_replay_from_a_retry_takes_it_for_a_retry(served: Receiver, engine: sa.Engine, kind: str):
    """The same delivery changes nothing the second time; docs/senders.md says what a replay after another one does."""
    headers = RIGHT[kind]("")
    assert [deliver(served, headers).status_code for _ in range(2)] == [200, 200]

    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "duplicate"]


def test_an_access_token_is_used_until_it_ends(served: Receiver, engine: sa.Engine):
    form = {"grant_type": "client_credentials", "client_id": "maxwell-client", "client_secret": "client-secret"}
    token = httpx.post(served.url + TOKEN_PATH, data=form).json()["access_token"]

    assert [deliver(served, {"Authorization": f"Bearer {token}"}).status_code for _ in range(2)] == [200, 200]
    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "duplicate"]


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        ("mmi", "mmi/02-lender.json"),
        ("showmojo", "showmojo/01-event.json"),
        ("collateralxp", "collateralxp/21-holded.json"),
    ],
)
def test_a_replayed_delivery_of_the_other_senders_is_a_duplicate(
    served: Receiver, engine: sa.Engine, sender: str, name: str
):
    body = sample(name)
    for _ in range(2):
        assert served.post(path(sender), token=None, content=body, headers=proved(sender, body)).status_code == 200

    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "duplicate"]


def test_with_an_order_key_a_replay_after_something_newer_is_older(served: Receiver, engine: sa.Engine):
    body = sample("mmi/02-lender.json")
    send(served, "mmi", body)
    send(served, "mmi", body.replace(b"2025-09-23", b"2025-09-24"))

    assert send(served, "mmi", body).json()["skipped"] == 1
    assert receipts(engine)[-1][0] == "older"
