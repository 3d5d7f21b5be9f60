"""One house for all the documents' commands."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from the_reader import Reader, reading


@pytest.fixture(scope="session")
def reader(_admin: psycopg.Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reading(_admin, tmp_path_factory.mktemp("reader")) as reader:
        yield reader
