"""A subject whose history is whole is rebuilt from its bodies; of one that is not, it is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from deliveries import row, rows, sample
from test_maxwell import CLEAR, CREATED, MILESTONE, UPDATED
from test_order import MOVING, RECEPTION, collateralxp, mmi, one_by_one, showmojo

from console.rebuilding import rebuild
from freshness.errors import NotWhole

HOLD = json.loads(sample("collateralxp/21-holded.json"))
NOTE = json.loads(sample("collateralxp/17-note-added.json"))
FILES = json.loads(sample("collateralxp/15-completed.json"))


def of(order: str, event: dict[str, Any]) -> dict[str, Any]:
    return {"event": event["event"], "data": event["data"] | {"order_id": order}}


HISTORIES: dict[str, tuple[str, list[Any], tuple[str, ...]]] = {
    "mmi": ("mmi", [mmi("1", 2), mmi("1", 1), mmi("1", 3), mmi("1", 3)], ("mmi_loan_officers",)),
    "alert": ("mmi", [{"listing_id": "a", "status": s} for s in ("x", "y", "x")], ("mmi_listing_alerts",)),
    "showmojo": ("showmojo", [showmojo("s", 9), showmojo("s", 10)], ("showmojo_showings",)),
    "maxwell": ("maxwell", [MILESTONE, UPDATED, CREATED, CLEAR], ("maxwell_applications",)),
    "collateralxp": (
        "collateralxp",
        [*(collateralxp("o", n) for n in (2, 1, 3, 5, 4)), of("o", HOLD), of("o", NOTE), of("o", FILES), of("o", NOTE)],
        ("appraisal_orders", "appraisal_events", "appraisal_notes", "appraisal_files"),
    ),
}


def seen(engine: sa.Engine, tables: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in each.items() if name not in MOVING}
        for table in tables
        for each in rows(engine, table)
    ]


@pytest.mark.parametrize("name", HISTORIES)
def test_a_rebuilt_subject_is_as_it_was(engine: sa.Engine, name: str):
    sender, bodies, tables = HISTORIES[name]
    one_by_one(engine, sender, bodies)
    before, subject, ids = seen(engine, tables), row(engine, "sender_subjects"), rows(engine, tables[0])[0]["id"]
    _spoil(engine, tables[0])

    with engine.begin() as conn:
        rebuilt = RECEPTION.rebuild(conn, subject["id"], 1)

    assert seen(engine, tables) == before
    assert (row(engine, "sender_subjects"), rows(engine, tables[0])[0]["id"]) == (subject, ids)
    assert rebuilt.entries == len(bodies)
    newest = rows(engine, "mlm_webhook_receipts")[-1]
    assert (newest["outcome"], newest["replay_of"], newest["subject_number"]) == ("applied", 1, None)


def _spoil(engine: sa.Engine, table: str) -> None:
    column = {"appraisal_orders": "status", "maxwell_applications": "email", "mmi_listing_alerts": "status"}
    with engine.begin() as conn:
        conn.exec_driver_sql(f"UPDATE {table} SET {column.get(table, 'email')} = 'spoilt'")


@pytest.mark.parametrize(
    "lost",
    [
        "DELETE FROM sender_bodies WHERE id = (SELECT body_id FROM mlm_webhook_receipts WHERE subject_number = 2)",
        "DELETE FROM mlm_webhook_receipts WHERE subject_number = 1",
    ],
)
def test_a_history_that_is_not_whole_is_told_and_nothing_is_changed(engine: sa.Engine, lost: str):
    one_by_one(engine, "mmi", [mmi("1", 1), mmi("1", 2), mmi("1", 3)])
    with engine.begin() as conn:
        conn.exec_driver_sql(lost)
    before = rows(engine, "mmi_loan_officers")

    with engine.begin() as conn, pytest.raises(NotWhole, match="1 of 3 entries were dropped"):
        RECEPTION.rebuild(conn, row(engine, "sender_subjects")["id"])

    assert rows(engine, "mmi_loan_officers") == before


def test_a_dry_run_rebuilds_and_takes_it_back(engine: sa.Engine):
    one_by_one(engine, "mmi", [mmi("1", 1)])
    told = rows(engine, "mlm_webhook_receipts")
    _spoil(engine, "mmi_loan_officers")

    (done,) = rebuild(engine, RECEPTION, told, dry_run=True)

    assert (done["done"], done["applied"], done["subject"]) == (True, 1, "loan_officer 1")
    assert row(engine, "mmi_loan_officers")["email"] == "spoilt"
    assert rows(engine, "mlm_webhook_receipts") == told
