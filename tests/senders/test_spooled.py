"""With PostgreSQL away a body waits on the disk, sealed, and lands when it is back, in its order."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from deliveries import OPEN, receipts, row, rows, sample, send
from running_receiver import Receiver, engine_to_nowhere, receiver
from test_maxwell import CREATED, MILESTONE
from test_order import RECEPTION, mmi

from freshness.bell import silent
from freshness.rules import rules_of
from freshness.settings import load
from receiver.desk import Desk
from receiver.draining import Drain
from receiver.spool import Spool


def drain(engine: sa.Engine, directory: Path) -> None:
    Drain(Spool(directory), Desk(engine, rules_of(load({})), silent), RECEPTION)._drain()


@pytest.mark.parametrize(
    ("sender", "status"), [("mmi", 202), ("maxwell", 202), ("collateralxp", 202), ("showmojo", 200)]
)
def test_only_showmojo_is_answered_200_for_what_waits(tmp_path: Path, engine: sa.Engine, sender: str, status: int):
    names = {
        "mmi": "mmi/02-lender.json",
        "collateralxp": "collateralxp/02-added.json",
        "showmojo": "showmojo/01-event.json",
    }
    with receiver(engine_to_nowhere(), OPEN | {"SPOOL_DIR": str(tmp_path)}) as away:
        answer = send(away, sender, sample(names[sender]) if sender in names else CREATED)

    assert (answer.status_code, answer.json()) == (status, {"received": 1, "spooled": 1})
    (waiting,) = tmp_path.glob("*.batch")
    assert not [word for word in (b"example.com", b"CrossCountry", b"Pat Prospect") if word in waiting.read_bytes()]
    assert waiting.stat().st_mode & 0o777 == 0o600

    drain(engine, tmp_path)

    assert [outcome for outcome, _ in receipts(engine)] == ["applied"]
    assert list(tmp_path.glob("*.batch")) == []


def test_what_waited_lands_in_its_order_once(tmp_path: Path, engine: sa.Engine):
    with receiver(engine_to_nowhere(), OPEN | {"SPOOL_DIR": str(tmp_path)}) as away:
        for body in (MILESTONE, CREATED, CREATED):
            assert send(away, "maxwell", body).status_code == 202
        for number in (2, 1):
            send(away, "mmi", mmi("1", number))

    drain(engine, tmp_path)

    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "applied", "applied", "applied", "older"]
    assert row(engine, "mmi_loan_officers")["company"] == "company 2"
    assert row(engine, "maxwell_applications")["milestone"] == "Underwriting"


def test_what_mmi_is_answered_503_for_lands_when_it_is_sent_again(served: Receiver, engine: sa.Engine):
    """MMI repeats what is not answered 2xx; a repetition of what was taken changes nothing."""
    body = sample("mmi/02-lender.json")
    with receiver(engine_to_nowhere(), OPEN) as away:
        assert send(away, "mmi", body).status_code == 503
    assert rows(engine, "mmi_lenders") == []

    assert [send(served, "mmi", body).json()["applied"] for _ in range(2)] == [1, 0]

    assert row(engine, "mmi_lenders")["nmls"] == "3029"
    assert [outcome for outcome, _ in receipts(engine)] == ["applied", "duplicate"]


def test_without_a_spool_it_is_the_senders_to_send_again(engine: sa.Engine):
    with receiver(engine_to_nowhere(), OPEN) as away:
        answer = send(away, "showmojo", sample("showmojo/01-event.json"))

    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert rows(engine, "mlm_webhook_receipts") == []
