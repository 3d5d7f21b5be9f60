"""A big file: hundreds of records land as they are in MLM, and of a change only the rows that differ are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from in_process import InProcess

from mlm_client.sandbox.editing import edit, grow
from mlm_client.sandbox.server import SandboxServer

REF = "R000001"
RECORDS = {"sCondDataSet": 300, "sClosingCostFeeCollection": 150, "aLiaCollection": 40}
COUNTS = """
SELECT (SELECT count(*) FROM conditions) AS conditions, (SELECT count(*) FROM fees) AS fees,
       (SELECT count(*) FROM liabilities) AS liabilities
"""
LAST_RUNS = """
SELECT concern, rows_changed FROM slice_runs WHERE outcome = 'landed' AND rows_changed IS NOT NULL AND id > %(after)s
"""


@pytest.fixture
def here(environment: dict[str, str]) -> Iterator[InProcess]:
    with SandboxServer(files=1, seed=3) as mlm:
        grow(mlm.store, mlm.maker, REF, RECORDS)
        here = InProcess(environment, mlm)
        here.import_(REF)
        yield here
        here.close()


def counts(here: InProcess) -> dict[str, int]:
    (row,) = here.rows(COUNTS)
    return dict(row._mapping)


def liabilities(here: InProcess) -> int:
    """Of all applicants."""
    return sum(len(each.collections["aLiaCollection"]) for each in here.mlm.store.newest(REF).content.applicants)


def records(here: InProcess, collection: str) -> list[dict[str, str]]:
    content = here.mlm.store.newest(REF).content
    return [dict(each) for each in (content.collections | content.applicants[0].collections)[collection]]


def change(here: InProcess, *parts: dict[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """An outsider's edit, told of and read; the concerns whose rows it changed, and how many."""
    (newest,) = here.rows("SELECT max(id) AS id FROM slice_runs")
    edit(here.mlm.store, here.mlm.maker, REF, {"collection": list(parts)})
    here.deliver()
    here.settle()
    assert here.differences(REF) == []
    return [(row.concern, row.rows_changed) for row in here.rows(LAST_RUNS, after=newest.id)]


def test_a_loan_with_hundreds_of_records_lands_as_it_is_in_mlm(here: InProcess) -> None:
    assert liabilities(here) >= 40
    assert counts(here) == {"conditions": 300, "fees": 150, "liabilities": liabilities(here)}
    assert here.differences(REF) == []


def test_of_hundreds_of_records_the_one_that_was_changed_is_written(here: InProcess) -> None:
    one = records(here, "sCondDataSet")[217]["RecordId"]
    changed = {"name": "sCondDataSet", "op": "change", "record": {"RecordId": one, "CondDesc": "Letter of explanation"}}
    assert change(here, changed) == [("conditions", {"conditions": 1})]


def test_records_that_come_and_go_by_the_hundred_are_there_and_gone(here: InProcess) -> None:
    gone = [
        {"name": "sCondDataSet", "op": "remove", "record": {"RecordId": each["RecordId"]}}
        for each in records(here, "sCondDataSet")[:200]
    ]
    come = [{"name": "sClosingCostFeeCollection", "op": "add"} for _ in range(100)]
    assert sorted(change(here, *gone, *come)) == [("conditions", {"conditions": 200}), ("fees", {"fees": 100})]
    assert counts(here) == {"conditions": 100, "fees": 250, "liabilities": liabilities(here)}
