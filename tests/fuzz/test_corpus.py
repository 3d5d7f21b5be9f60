"""The kept corpus, every finding among it, is read without a finding; and what it becomes lands in PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine
from targets import CORPUS, KEYS, MOST_GROWTH_MB, TARGETS, Finding, answer_of, guarded, landings_of
from words import WORDS

from freshness.concerns import Concern
from freshness.ledger.batches import receive
from freshness.rules import Rules
from hydrators import Landing, Parent, land, land_loan_fields
from hydrators.errors import MissingBorrower
from mlm_client.errors import MlmError
from mlm_client.loxml import Answer, read_answer
from receiver.decoding import decode
from receiver.errors import BodyFault


def kept(target: str) -> Iterator[bytes]:
    for path in sorted((CORPUS / target).iterdir()):
        yield path.read_bytes()


@pytest.mark.parametrize("target", TARGETS)
def test_the_kept_corpus_is_read_without_a_finding(target: str) -> None:
    assert WORDS[target]
    for path in sorted((CORPUS / target).iterdir()):
        try:
            guarded(TARGETS[target].run, path.read_bytes())
        except Exception as error:
            raise AssertionError(path) from error


def test_what_the_kept_batches_become_is_taken_by_postgresql(engine: Engine) -> None:
    rules, taken = Rules(import_unknown=True), 0
    for body in kept("batches"):
        with suppress(BodyFault), engine.begin() as conn:
            entries = decode(body, KEYS)
            assert len(receive(conn, rules, entries).outcomes) == len(entries)
            taken += len(entries)
    assert taken > 0


def test_what_the_kept_answers_become_lands_in_postgresql(engine: Engine) -> None:
    landed = set()
    for number, answer in enumerate(_answers()):
        landings = {landing.concern: landing for landing in landings_of(answer)}
        loan_fields = landings.pop(Concern.LOAN_FIELDS, None)
        with engine.begin() as conn:
            parent = _parent(conn, f"R{number}", loan_fields)
            for concern, landing in landings.items():
                with suppress(MissingBorrower):
                    land(conn, parent, landing)
                    landed.add(concern)
    assert landed == set(Concern) - {Concern.LOAN_FIELDS}


def _answers() -> Iterator[Answer]:
    for script in kept("hydrators"):
        yield answer_of(script.decode("utf-8", "replace"))
    for document in kept("loxml"):
        with suppress(MlmError):
            yield read_answer(document.decode("utf-8", "surrogateescape"))


def _parent(conn: Connection, ref: str, landing: Landing | None) -> Parent:
    nothing = Landing(Concern.LOAN_FIELDS, "loans", ({"units": None},))
    return land_loan_fields(conn, "loan", ref, landing or nothing)[0]


def test_a_crash_is_a_finding() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(lambda data: print(1 / len(data)), b"")


@pytest.mark.slow
def test_an_input_that_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.MOST_CPU_S", 0.01)
    with pytest.raises(Finding, match="s for 1 bytes"):
        guarded(lambda data: print(sum(range(5_000_000))), b"x")


@pytest.mark.slow
def test_an_input_that_takes_too_much_memory_is_a_finding() -> None:
    grown = f"bytearray(b'x') * {(MOST_GROWTH_MB + 64) * 1024**2}"
    assert "MB for 1 bytes" in _python("-c", f"import targets; targets.guarded(lambda data: {grown}, b'x')").stderr


@pytest.mark.slow
def test_a_cost_that_grows_with_the_square_is_a_finding() -> None:
    code = """
import sizes, targets
from shapes import Shape
sizes.TARGETS["values"] = targets.Target(lambda data: [sum(range(each)) for each in range(len(data))], 0, 0)
print(sizes.findings_of("values", Shape("", "x", "", most=8_000), 1))
"""
    assert "times what one of 1000 does" in _python("-c", code).stdout


@pytest.mark.slow
@pytest.mark.parametrize("target", ["batches", "values", "loxml", "hydrators"])
def test_what_a_large_input_costs_grows_no_faster_than_it_does(target: str) -> None:
    _sizes("--part", "128", target)


@pytest.mark.slow
def test_inputs_at_the_size_limit_cost_what_the_bounds_say() -> None:
    _sizes()


def _sizes(*arguments: str) -> None:
    ended = _python("sizes.py", *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is measured forks, and this one has threads; and its memory is its own."""
    return subprocess.run([sys.executable, *arguments], cwd=Path(__file__).parent, capture_output=True, text=True)
