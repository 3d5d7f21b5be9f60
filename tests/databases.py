"""Databases of a test's own on the one PostgreSQL of a run, and what else each process of xdist has for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import redis
import sqlalchemy as sa
from psycopg import sql

DATABASE, REDIS = "MLM_TEST_DATABASE_URL", "MLM_TEST_REDIS_URL"
TEMPLATE = "MLM_TEST_TEMPLATE"  # set by conftest: the migrated database that each test's is copied from
FIELD_KEYS = "dGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgb25seSwgMzI="


@contextmanager
def database(admin: psycopg.Connection, purpose: str, template: str | None = None) -> Iterator[str]:
    """The URL of a database of this process for this purpose; dropped afterwards, whoever is still connected.

    Migrated and empty, or a copy of `template`, to which nobody may be connected then.
    """
    name = f"{os.environ[TEMPLATE]}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{purpose}"
    create(admin, name, template or os.environ[TEMPLATE])
    try:
        yield url_of(name)
    finally:
        drop(admin, name)


def emptied_redis() -> str:
    """The URL of this process's logical database, emptied."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) + 1
    url = f"{os.environ[REDIS].rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def url_of(name: str) -> str:
    return sa.make_url(os.environ[DATABASE]).set(database=name).render_as_string(hide_password=False)


def create(admin: psycopg.Connection, name: str, template: str = "template0") -> None:
    drop(admin, name)
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))


def drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
