"""The real ledger on PostgreSQL holds what the protocol promises, whatever order things happen in."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Machine
from sqlalchemy import Engine

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def explore(engine: Engine, examples: int, steps: int, **more: object) -> None:
    machine = type("MachineHere", (Machine,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=QUIET, **more
        ),  # type: ignore[arg-type]
    )


def test_the_ledger_holds_what_must_hold(engine: Engine) -> None:
    explore(engine, int(os.environ.get("MACHINE_EXAMPLES", "40")), 25)
