"""Redriving: files of which something was given up are ordered again, one by one, at a rate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import Engine

from freshness.bell import Bell
from freshness.ledger import given_up
from freshness.ledger.given_up import GivenUp
from freshness.rules import Rules


@dataclass(frozen=True, slots=True)
class Redriven:
    """One file, and its new order; None if by then nothing of it was given up any more."""

    ref: str
    concerns: tuple[str, ...]
    order: int | None


def files_of(found: Sequence[GivenUp]) -> list[tuple[int, str, tuple[str, ...]]]:
    """The files, each once, with which of their concerns were given up."""
    grouped = groupby(found, key=lambda each: (each.file_id, each.ref))
    return [(file_id, ref, tuple(each.concern for each in group)) for (file_id, ref), group in grouped]


def redrive(
    engine: Engine, rules: Rules, bell: Bell, found: Sequence[GivenUp], rate: float | None = None
) -> Iterator[Redriven]:
    """Order these files, at most `rate` of them a second, and ring for each.

    Every file is a transaction of its own: who breaks it off loses nothing, and the same command takes the rest.
    """
    began = time.monotonic()
    for number, (file_id, ref, concerns) in enumerate(files_of(found)):
        if rate is not None:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
        with engine.begin() as conn:
            placed = given_up.redrive(conn, rules, file_id)
        if placed is not None:
            bell(placed.rings)
        yield Redriven(ref, concerns, placed.number if placed else None)
