"""Tallies: what every process has counted for `/metrics`, added up for the whole house.

A process hands over what it has counted since the last time, in rows of its own. What it could not hand over it keeps,
and what a killed one had not handed over yet (seconds of it) is lost: the ledger's own rows are the truth, these are
for pictures and alarms.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from ..metrics import Series, Tally

#: Processes hand over this often.
EVERY_S = 5.0

# In one order, so that two threads of a process cannot deadlock.
_ADD = """
INSERT INTO tallies AS t (name, labels, process, value)
SELECT name, string_to_array(labels, chr(31)), %(process)s, value
FROM unnest(%(names)s::text[], %(labels)s::text[], %(values)s::float8[]) AS c (name, labels, value)
ORDER BY name, labels
ON CONFLICT (name, labels, process) DO UPDATE SET value = t.value + excluded.value, written_at = mlm_now()
"""

_TOTAL = "SELECT name, labels, sum(value) FROM tallies GROUP BY name, labels"

# What somebody is just writing to is passed over.
_FOLD = """
WITH resting AS (
    SELECT name, labels, process FROM tallies
    WHERE process <> '' AND written_at < mlm_now() - interval '10 minutes'
    ORDER BY name, labels, process LIMIT 10000 FOR UPDATE SKIP LOCKED
), taken AS (
    DELETE FROM tallies t USING resting r WHERE (t.name, t.labels, t.process) = (r.name, r.labels, r.process)
    RETURNING t.name, t.labels, t.value
)
INSERT INTO tallies AS t (name, labels, process, value)
SELECT name, labels, '', sum(value) FROM taken GROUP BY name, labels ORDER BY name, labels
ON CONFLICT (name, labels, process) DO UPDATE SET value = t.value + excluded.value, written_at = mlm_now()
"""


def add(conn: Connection, process: str, counts: Mapping[Series, float]) -> None:
    """Add to what this process has counted. Late in a transaction: it locks those rows until the commit."""
    if not counts:
        return
    parameters = {
        "process": process,
        "names": [name for name, _ in counts],
        "labels": ["\x1f".join(labels) for _, labels in counts],
        "values": [float(by) for by in counts.values()],
    }
    conn.exec_driver_sql(_ADD, parameters)


def total(conn: Connection) -> dict[Series, float]:
    """What the whole house has counted. None of it ever goes down."""
    return {(name, tuple(labels)): value for name, labels, value in conn.exec_driver_sql(_TOTAL)}


def fold(conn: Connection) -> None:
    """Add up rows that were not written to for a while in one of nobody's: processes come and go, their counts stay."""
    conn.exec_driver_sql(_FOLD)


def hand_over(engine: Engine, process: str, tally: Tally) -> None:
    """Hand over what this process has counted, in a transaction of its own; if that fails, it keeps it.

    Raises:
        SQLAlchemyError: PostgreSQL is away, or has no such table yet.
    """
    counts = tally.take()
    if not counts:
        return
    try:
        with engine.begin() as conn:
            add(conn, process, counts)
    except BaseException:
        tally.put_back(counts)
        raise
