"""MLM goes away while the whole product works, and comes back: as processes, and nobody does anything about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, pairwise
from pathlib import Path

import pytest
from whole_house import WholeHouse, until

from jobs.circuit import circuit_state
from mlm_client.sandbox.server import SandboxServer

REFS = [f"R{number:06d}" for number in range(1, 13)]


@pytest.fixture
def house(environment: dict[str, str], tmp_path: Path) -> Iterator[WholeHouse]:
    with SandboxServer(files=len(REFS), seed=7) as mlm:
        house = WholeHouse(environment, mlm, tmp_path)
        try:
            house.start("worker")
            yield house
        finally:
            house.close()


@contextmanager
def edited(house: WholeHouse) -> Iterator[None]:
    """Outsiders edit the files in turn, twenty times a second, while the block runs."""
    over = threading.Event()

    def edit() -> None:
        for ref in cycle(REFS):
            if over.wait(0.05):
                return
            house.touch(ref, "fees")

    outsiders = threading.Thread(target=edit)
    outsiders.start()
    try:
        yield
    finally:
        over.set()
        outsiders.join()


@pytest.mark.slow  # three real windows of the circuit; test_circuit_work holds the rest of it step by step
def test_an_mlm_that_is_away_is_probed_once_a_window_and_all_is_current_again_after(house: WholeHouse) -> None:
    house.import_(*REFS)
    with edited(house):
        house.mlm.dials.patch(outage="html503")
        since = until(lambda: circuit_state(house.redis).since, "the circuit opens")
        opened_by = circuit_state(house.redis).failures
        until(lambda: circuit_state(house.redis).failures >= opened_by + 3, "three probes have failed")
        probes = [call.at for call in list(house.mlm.calls.calls) if call.at > since.timestamp() + 0.5]
        house.mlm.dials.patch(outage="")
        until(lambda: circuit_state(house.redis).state == "closed", "the circuit closes")
    for ref in REFS:
        house.rests(ref)

    assert probes[0] - since.timestamp() >= 1
    assert all(later - sooner >= window for (sooner, later), window in zip(pairwise(probes), (2, 4, 8), strict=False))
    assert house.rows("SELECT FROM slice_runs WHERE outcome = 'given up'") == []
    failed = "SELECT FROM slice_runs WHERE outcome = 'failed' GROUP BY file_id, concern, order_number"
    assert house.rows(f"{failed} HAVING count(*) > 1") == []
    logged = [line for process in house.processes for line in process.logged() if line["event"].startswith("circuit.")]
    assert sum(line.get("opened", False) for line in logged) == 1
    assert sum(line["event"] == "circuit.closed" for line in logged) == 1
