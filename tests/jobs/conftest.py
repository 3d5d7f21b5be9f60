"""What several of these tests stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from collector import Collector


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()
