"""Somebody who reads the documents, before a house as `make up` starts it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
from databases import FIELD_KEYS, database

from console import importing
from console.laptop import Laptop, running

ROOT = Path(__file__).parents[2]

#: What docs/senders.md starts it with.
SENDERS = {"MMI_SECRET": "a", "COLLATERALXP_TOKEN": "b", "SHOWMOJO_TOKEN": "c"}


class Reader(NamedTuple):
    """Somebody who reads the documents: a directory to stand in, the names that the first steps give, and the house."""

    directory: Path
    environ: dict[str, str]
    laptop: Laptop


@contextmanager
def reading(admin: psycopg.Connection, directory: Path) -> Iterator[Reader]:
    """A reader in this directory, files in the house, and one of them edited in MLM already. The house has a Valkey of
    its own: it outlives tests whose work its worker would take."""
    (directory / "worker.log").symlink_to(directory / "receiver.log")
    with database(admin, "documents") as url, (directory / "receiver.log").open("w") as log:
        given = {"DATABASE_URL": url, "FIELD_KEYS": FIELD_KEYS, **SENDERS}
        with running({**os.environ, **given}, log, any_port=True) as laptop:
            begun = importing.begin(laptop.house.engine, laptop.sandbox_files())
            for _ in importing.follow(laptop.house.engine, laptop.house.bell, begun.run):
                pass
            httpx.post(f"{laptop.sandbox_url}/api/files/R000001/touch/assets").raise_for_status()
            _await_its_receipt(laptop)
            yield Reader(directory, _environ(laptop), laptop)


def _await_its_receipt(laptop: Laptop) -> None:
    ends = time.monotonic() + 60
    while True:
        with laptop.house.engine.begin() as conn:
            if conn.exec_driver_sql("SELECT FROM mlm_webhook_receipts WHERE served_at IS NOT NULL").first() is not None:
                return
        assert time.monotonic() < ends, "the edit did not land"
        time.sleep(0.05)


def _environ(laptop: Laptop) -> dict[str, str]:
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    named = {"API": laptop.receiver_url, "SANDBOX": str(laptop.sandbox_url)}
    return {**laptop.environ, **named, "PATH": path, "PYTHONPATH": str(ROOT)}
