"""The sweep's order: the newest change first, and nobody's place taken by what may not start."""

from __future__ import annotations

import pytest
from simulated import BORROWERS, LOAN_FIELDS, Ledger

from freshness.bell import Ring
from freshness.ledger import files, sweeps
from freshness.ledger.rows import file_row


def due(ledger: Ledger, limit: int = 100) -> list[Ring]:
    with ledger.begin() as conn:
        return sweeps.stale_and_due(conn, ledger.rules, limit)


def refs(ledger: Ledger, rings: list[Ring]) -> list[str]:
    """The files of these rings, each once, in their order."""
    return [str(ledger.rows("SELECT ref FROM file_freshness WHERE id = %(id)s", id=each)[0]["ref"]) for each in
            dict.fromkeys(ring.file_id for ring in rings)]  # fmt: skip


@pytest.fixture
def changed(ledger: Ledger) -> Ledger:
    """Four files that changed in MLM, neither in the order of their names nor in that of their webhooks."""
    for ref, stamp in (("R1", 70), ("R2", 90), ("R3", 60), ("R4", 80)):
        ledger.settled(0, ref)
        ledger.webhook(stamp, ref)
    return ledger


def test_the_file_that_changed_last_in_mlm_comes_first(changed: Ledger) -> None:
    assert refs(changed, due(changed)) == ["R2", "R4", "R1", "R3"]
    assert refs(changed, due(changed, limit=3)) == ["R2", "R4"]


def test_files_of_which_no_change_is_known_come_last(changed: Ledger) -> None:
    with changed.begin() as conn:
        files.import_file(conn, "R0")
    assert refs(changed, due(changed))[-1] == "R0"


@pytest.mark.parametrize("block", ["given up", "at work", "waits for its next try"])
def test_a_file_whose_slices_may_not_start_takes_nobodys_place(changed: Ledger, block: str) -> None:
    for concern in (LOAN_FIELDS, BORROWERS):
        lease = changed.lease(concern, "R2")
        if block != "at work":
            changed.fail(lease, final=block == "given up")
    assert refs(changed, due(changed, limit=2)) == ["R4"]


def test_many_files_are_gone_through_in_pages_without_one_left_out(
    changed: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = due(changed)
    monkeypatch.setattr(sweeps, "_AT_ONCE", 3)
    assert due(changed) == whole
    assert [due(changed, limit) for limit in range(1, 9)] == [whole[:limit] for limit in range(1, 9)]


def test_what_it_finds_for_many_is_what_is_found_for_each(changed: Ledger) -> None:
    changed.fail(changed.lease(BORROWERS, "R1"))
    changed.lease(LOAN_FIELDS, "R2")
    changed.do("UPDATE refresh_orders SET due_at = mlm_now() + interval '1 s' WHERE file_id = %(id)s",
               id=changed.number("id", "R3"))  # fmt: skip
    changed.do("UPDATE file_freshness SET due_at = mlm_now() + interval '1 s' WHERE ref = 'R3'")
    with changed.begin() as conn:
        files.import_file(conn, "R0")
        ids = [row.id for row in conn.exec_driver_sql("SELECT id FROM file_freshness").all()]
        found = [file for each in ids if (file := file_row(conn, each)) is not None]
        each_alone = {ring for file in found for ring in sweeps.startable(conn, changed.rules, file)}
    assert set(due(changed)) == each_alone
    assert refs(changed, due(changed)) == ["R2", "R4", "R1", "R0"]
