"""The bell: how the ledger asks for work without knowing any queue.

Orders and own writes are rows; a ring only says "look". A ring that is lost, doubled or late costs time, never
truth: the sweep rings again for whatever is due (the protocol, "The numbers").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .concerns import Concern


class Work(StrEnum):
    """What a ring asks for."""

    HYDRATE_FILE = "hydrate_file"
    HYDRATE_CONCERN = "hydrate_concern"
    CAPTURE = "capture"
    CONFIRM = "confirm"
    #: A backstop's turn has come to the file (docs/protocol.md, "Backstops").
    CHECK = "check"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Ring:
    """Look at this file (one of its concerns, one of its own writes), in `delay_s` seconds. Ids only, no data."""

    work: Work
    file_id: int
    concern: Concern | None = None
    own_write_id: int | None = None
    delay_s: float = 0.0


#: Rings after the commit that made the work. Never raises: a queue that is away is logged, the sweep rings again.
Bell = Callable[[Sequence[Ring]], None]


def silent(rings: Sequence[Ring]) -> None:
    """The bell of a process that has none: the sweep rings within 2 s."""
