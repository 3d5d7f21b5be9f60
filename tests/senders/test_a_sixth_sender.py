"""Adding a sender is one declaration, its hydrator and its tests (docs/senders.md): Acme, which tells of inspections.

Everything else (proof before body, one receipt an entry, order, duplicates, waiting, the spool, rebuilds) is there.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from databases import engine_on
from deliveries import OPEN, receipts, row, rows
from running_receiver import Receiver, engine_to_nowhere, receiver

from freshness.bell import silent
from freshness.field_keys import FieldKeys
from freshness.ledger.sendings import Applied, Landed
from freshness.rules import rules_of
from freshness.sending import number_key
from freshness.settings import Settings, load
from hydrators.senders.rows import clear, upsert
from hydrators.senders.said import day, label, read, text
from receiver.desk import Desk
from receiver.draining import Drain
from receiver.reception import Reception
from receiver.senders import SENDERS
from receiver.senders.proofs import ApiKey
from receiver.senders.sender import Key, Piece, Sender, Unusable
from receiver.spool import Spool

# --- receiver/senders/acme.py -----------------------------------------------------------------------------------------


def acme(settings: Settings) -> Sender:
    """Acme proves itself by a key in a header; `revision` orders what it says of an inspection."""
    return Sender("acme", ApiKey("X-Acme-Key", ("from-acme",)), _pieces, AcmeHydrator(), _order)


def _pieces(said: Mapping[str, Any]) -> Sequence[Piece]:
    if not isinstance(said.get("inspection"), str):
        raise Unusable("no inspection is named")
    return [Piece("inspected", "inspection", said["inspection"], said)]


def _order(piece: Piece, at: dt.datetime) -> Key | None:
    revision = str(piece.payload.get("revision", ""))
    return (number_key(revision), revision) if revision else None


# --- hydrators/senders/acme.py ----------------------------------------------------------------------------------------

_FIELDS = {"on": ("inspected_on", day), "by": ("inspector", text), "verdict": ("verdict", label)}


class AcmeHydrator:
    def land(self, conn: sa.Connection, keys: FieldKeys, applied: Sequence[Applied]) -> Sequence[Landed]:
        empty = {column: None for column, _ in _FIELDS.values()}
        said = [(each.sent.subject, read(each.sent.payload, _FIELDS)[0]) for each in applied]
        upsert(conn, "acme_inspections", ("inspection",), [{"inspection": name, **empty, **row} for name, row in said])
        return [Landed(1)] * len(applied)

    def clear(self, conn: sa.Connection, kind: str, subject: str) -> None:
        clear(conn, "acme_inspections", ("inspection",), {"inspection": subject})


# --- the step of the migration ----------------------------------------------------------------------------------------

TABLE = """
CREATE TABLE acme_inspections (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, inspection TEXT NOT NULL UNIQUE, inspected_on DATE,
    inspector TEXT, verdict TEXT, updated_at TIMESTAMPTZ DEFAULT mlm_now() NOT NULL
)
"""

# --- its tests --------------------------------------------------------------------------------------------------------

FIRST = {"inspection": "i-1", "revision": 9, "on": "2026-11-20", "by": "Kim", "verdict": "pass"}
SECOND = FIRST | {"revision": 10, "verdict": None}


@pytest.fixture
def own_engine(database_url: str) -> Any:
    with engine_on(database_url) as engine:
        with engine.begin() as conn:
            conn.exec_driver_sql(TABLE)
        yield engine


def send(served: Receiver, *bodies: Any, key: str = "from-acme") -> list[Any]:
    path = "/api/v1/senders/acme/webhook"
    answers = [served.post(path, token=None, json=body, headers={"X-Acme-Key": key}) for body in bodies]
    return [answer.json() | {"status": answer.status_code} for answer in answers]


def test_a_declaration_and_a_hydrator_are_all_a_sender_needs(own_engine: sa.Engine):
    with receiver(own_engine, OPEN, senders=(*SENDERS, acme)) as served:
        told = send(served, SECOND, FIRST, SECOND, {"no": 1})
        assert [each["status"] for each in told] == [200] * 4
        assert send(served, FIRST, key="another")[0]["status"] == 401

    assert [outcome for outcome, _ in receipts(own_engine)] == ["applied", "older", "duplicate", "malformed"]
    found = row(own_engine, "acme_inspections")
    assert (found["inspected_on"], found["inspector"], found["verdict"]) == (dt.date(2026, 11, 20), "Kim", None)
    assert b"Kim" not in bytes(rows(own_engine, "sender_bodies")[0]["body_encrypted"])


def test_it_waits_on_the_disk_and_is_rebuilt_like_every_other(own_engine: sa.Engine, tmp_path: Path):
    settings = load(OPEN)
    reception = Reception([acme(settings)], FieldKeys(settings.field_keys))
    environ = OPEN | {"SPOOL_DIR": str(tmp_path)}
    with receiver(engine_to_nowhere(), environ, senders=(*SENDERS, acme)) as away:
        assert [each["status"] for each in send(away, FIRST, SECOND)] == [202, 202]
    Drain(Spool(tmp_path), Desk(own_engine, rules_of(settings), silent), reception)._drain()
    before = row(own_engine, "acme_inspections")

    with own_engine.begin() as conn:
        conn.exec_driver_sql("UPDATE acme_inspections SET inspector = 'spoilt'")
        rebuilt = reception.rebuild(conn, row(own_engine, "sender_subjects")["id"])

    assert (rebuilt.entries, rebuilt.applied) == (2, 2)
    assert row(own_engine, "acme_inspections") | {"updated_at": None} == before | {"updated_at": None}
    assert json.dumps(FIRST) not in str(receipts(own_engine))
