"""A big file: 300 conditions, 150 fees, 40 liabilities; how long one read of all of it takes to be here.

One slice in this process, called as a worker's actor calls it: lease, call, rows of nine concerns, a commit each.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from freshness.concerns import ALL, Concern
from freshness.ledger.files import import_file
from jobs.slices import Ended
from mlm_client.sandbox.editing import grow
from mlm_client.sandbox.files import Content

from .seen import Seen
from .table import Figure
from .whole import Whole

RECORDS = {"sCondDataSet": 300, "sClosingCostFeeCollection": 150, "aLiaCollection": 40}
#: What is another value in every record, once changed.
VALUES = {"sCondDataSet": "CondDesc", "sClosingCostFeeCollection": "Amt", "aLiaCollection": "Bal"}
TIMES = 5

_FILE = "SELECT id FROM file_freshness WHERE ref = %(ref)s"
#: An order that a read placed for itself, since its stamp was young, is not to be in the way.
_SERVED = "UPDATE file_freshness SET served = ordered WHERE id = %(id)s"
_ALL_SERVED = """
UPDATE file_concerns c SET served = f.ordered, landed = f.ordered FROM file_freshness f
WHERE f.id = c.file_id AND f.id = %(id)s
"""


def measure(house: Whole, ref: str, seen: Seen) -> str:
    """Read it whole for the first time, then unchanged, then with a value of every such record changed."""
    grow(house.mlm.store, house.mlm.maker, ref, RECORDS)
    told = [_read(house, ref, seen, "new", 1)]
    told.append(_read(house, ref, seen, "same", TIMES))
    told.append(_read(house, ref, seen, "other", TIMES, lambda turn: _change(house, ref, turn)))
    house.is_equal([ref])
    return "; ".join(told)


def _read(
    house: Whole, ref: str, seen: Seen, name: str, times: int, before: Callable[[int], None] = lambda turn: None
) -> str:
    engine, counted = house.house.engine, [0]

    def count(*_: object) -> None:
        counted[0] += 1

    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        for turn in range(times):
            before(turn)
            file_id = _order(house, ref)
            counted[0], began = 0, time.perf_counter()
            ended = house.house.slices.run(file_id, Concern.LOAN_FIELDS)
            took_ms, statements = (time.perf_counter() - began) * 1e3, counted[0]
            landed = {each for each, done in ended.slices.items() if done.owner} if isinstance(ended, Ended) else set()
            if landed != set(ALL):
                raise RuntimeError(f"of a big file {len(landed)} concerns have landed")
            seen.add(**{f"big_{name}_ms": took_ms, f"big_{name}_statements": float(statements)})
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)
    return f"{name} {took_ms:.0f} ms, {statements} statements"


def _order(house: Whole, ref: str) -> int:
    """Order it, nothing else of it under way."""
    house.house.beat()
    with house.house.engine.begin() as conn:
        file_id = int(conn.exec_driver_sql(_FILE, {"ref": ref}).scalar_one())
        for statement in (_ALL_SERVED, _SERVED):
            conn.exec_driver_sql(statement, {"id": file_id})
        import_file(conn, ref)
    return file_id


def _change(house: Whole, ref: str, turn: int) -> None:
    def change(content: Content) -> None:
        owned = content.collections | content.applicants[0].collections
        for collection, name in VALUES.items():
            for record in owned[collection]:
                record[name] = f"{100 + turn}.00"

    house.mlm.store.save(ref, change)


def figures(seen: Seen) -> list[Figure]:
    """For the document."""
    names = {"new": "first read", "same": "nothing changed", "other": "490 records changed"}
    told = "a file of 300 conditions, 150 fees, 40 liabilities"
    return [
        Figure(f"{told}: {what}: {of}", unit, seen.series(f"big_{name}_{key}"))
        for name, what in names.items()
        for key, of, unit in (("ms", "the whole read", "ms"), ("statements", "its statements", ""))
    ]
