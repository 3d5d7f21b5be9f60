"""A database that has been in use for a quarter: files, their concerns, the orders of old, and weeks of receipts.

Filled set-wise, two connections side by side, and checked against nothing while it is: triggers and foreign keys are
off for these sessions, the longest tables get their keys afterwards, and a week its indexes when it is attached, as the
product's own schema has them. Half of the receipts were dispatched and are served, half were held, one in a thousand of
these as an own write's echo.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, LiteralString

import psycopg

from freshness.ledger import weeks

from . import files
from .ground import settle

WEEKS = 13

_SESSION = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "SET maintenance_work_mem = '512MB'",
)
_WAL = "ALTER SYSTEM SET max_wal_size = '16GB'"
_WAL_AS_BEFORE = "ALTER SYSTEM RESET max_wal_size"
_RELOAD = "SELECT pg_reload_conf()"

_REF = "'R' || CASE WHEN n < 1000000 THEN lpad(n::text, 6, '0') ELSE n::text END"
_NUMBER = "'2026' || CASE WHEN n < 1000000 THEN lpad(n::text, 6, '0') ELSE n::text END"

_LOANS = f"""
INSERT INTO loans (id, mlm_reference_number, mlm_loan_number, mlm_last_modified_at, is_hydrated, hydrated_at)
OVERRIDING SYSTEM VALUE
SELECT n, {_REF}, {_NUMBER}, %(held)s, true, %(held)s FROM generate_series(1, %(files)s::int) n
"""
_FILES = f"""
INSERT INTO file_freshness (id, ref, kind, loan_id, mark, wanted, ordered, served) OVERRIDING SYSTEM VALUE
SELECT n, {_REF}, 'loan', n, %(held)s, %(held)s, %(orders)s, %(orders)s FROM generate_series(1, %(files)s::int) n
"""
_CONCERNS = """
INSERT INTO file_concerns (file_id, concern, held, served, landed, landed_at)
SELECT n, c, %(held)s, %(orders)s, %(orders)s, %(held)s
FROM generate_series(1, %(files)s::int) n CROSS JOIN unnest(%(concerns)s::text[]) c
"""
_ORDERS = """
INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause)
SELECT n, k, at, at, 'webhook, newer' FROM generate_series(1, %(files)s::int) n
CROSS JOIN generate_series(1, %(orders)s::int) k
CROSS JOIN LATERAL (SELECT %(first)s::timestamptz + (k - 1) * %(weeks)s * interval '7 days' / %(orders)s) t (at)
"""
_SEQUENCE = "SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"

_KEY = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %(table)s::regclass AND contype = 'p'
"""

_WEEK = "CREATE TABLE {name} (LIKE mlm_webhook_receipts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"

# The n-th of all receipts is one of file f: in each of `cycles` rounds over all files f comes once, in another place.
_RECEIPTS = """
INSERT INTO {name} (received_at, id, file_id, loan_id, reference_number, loan_number, event_type, last_modified_at,
    last_modified_text, mark_before, outcome, reason, order_number, served_at, data_updated_at, rows_changed)
SELECT at, n + 1, f, f, 'R' || lpad(f::text, greatest(6, length(f::text)), '0'),
       '2026' || lpad(f::text, greatest(6, length(f::text)), '0'), 'Modified', at,
       to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), at,
       CASE WHEN newer THEN 'dispatched' WHEN n % 1000 < 2 THEN 'own_echo' ELSE 'held' END,
       CASE WHEN newer THEN 'newer' ELSE 'held already' END, CASE WHEN newer THEN cycle / 2 + 1 END,
       CASE WHEN newer THEN at + interval '1 second' END, CASE WHEN newer THEN at + interval '1 second' END, newer::int
FROM generate_series({first}, {last}) n
CROSS JOIN LATERAL (SELECT 1 + (n % {files} * 7919::bigint) % {files}, n / {files},
    timestamptz '{begins}' + (n - {first}) * interval '7 days' / ({last} - {first} + 1)) r (f, cycle, at)
CROSS JOIN LATERAL (SELECT (f + cycle) % 2 = 0) d (newer)
"""
_ATTACH = "ALTER TABLE mlm_webhook_receipts ATTACH PARTITION {name} FOR VALUES FROM ('{begins}') TO ('{ends}')"
_RECEIPT_IDS = "SELECT setval(pg_get_serial_sequence('mlm_webhook_receipts', 'id'), {receipts})"

_FILLED: tuple[tuple[LiteralString, ...], ...] = (
    ("loans", "file_freshness", "file_concerns", "refresh_orders"),
    ("mlm_webhook_receipts",),
)


def fill(url: str, count: int, receipts: int) -> tuple[float, list[weeks.Week]]:
    """Put `count` files and `receipts` receipts there, an even number of them for each file; the seconds that it took,
    and the weeks that the receipts lie in, oldest first."""
    began = time.monotonic()
    this = weeks.beginning_of(dt.datetime.now(dt.UTC))
    past = [_week(this - (WEEKS - n) * weeks.LENGTH) for n in range(WEEKS)]
    with psycopg.connect(url, autocommit=True) as admin:
        for statement in (_WAL, _RELOAD):
            admin.execute(statement)
        parts = [partial(_files, url, count, receipts // count // 2, past[0].begins)]
        for place, week in enumerate(past):
            first, beyond = (at * receipts // WEEKS for at in (place, place + 1))
            parts.append(partial(_receipts, url, count, week, first, beyond - 1))
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(part) for part in parts]:
                done.result()
            for done in [pool.submit(settle, url, *tables) for tables in _FILLED]:
                done.result()
        for statement in (_RECEIPT_IDS.format(receipts=receipts), _WAL_AS_BEFORE, _RELOAD):
            admin.execute(statement)
    return time.monotonic() - began, past


def _week(begins: dt.datetime) -> weeks.Week:
    return weeks.Week(f"{weeks.TABLE}_{begins:%Y%m%d}", begins)


def _files(url: str, count: int, orders: int, first: dt.datetime) -> None:
    parameters = {
        "files": count, "orders": orders, "held": files.HELD, "concerns": files.ACTIVE, "first": first, "weeks": WEEKS,
    }  # fmt: skip
    with _session(url) as connection:
        for statement in (_LOANS, _FILES):
            connection.execute(statement, parameters)
        for table, statement in (("file_concerns", _CONCERNS), ("refresh_orders", _ORDERS)):
            with _key_afterwards(connection, table):
                connection.execute(statement, parameters)
        for table in ("loans", "file_freshness"):
            connection.execute(_SEQUENCE.format(table=table))


def _receipts(url: str, count: int, week: weeks.Week, first: int, last: int) -> None:
    told = {"name": week.name, "begins": week.begins, "ends": week.ends, "files": count}
    with _session(url) as connection, connection.transaction():
        connection.execute(_WEEK.format(**told))
        connection.execute(_RECEIPTS.format(**told, first=first, last=last))
        connection.execute(_ATTACH.format(**told))


@contextmanager
def _session(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in _SESSION:
            connection.execute(statement)
        yield connection


@contextmanager
def _key_afterwards(connection: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """Nine million rows into a key that is there took 65 s, and without it 20 and 8 for the key (measured)."""
    row = connection.execute(_KEY, {"table": table}).fetchone()
    assert row is not None
    connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {row[0]}")
    yield
    connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {row[0]} {row[1]}")
