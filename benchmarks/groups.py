"""The groups, in the order in which they run. A group is a module with what `Group` says; to add one, name it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from . import burst, calls, console, latency, memory, receive, senders, slices, volume
from .table import Measured


class Group(Protocol):
    """A module of benchmarks that share a stage.

    NAME is what `ONLY=` says, and the document's markers. `run` measures so many rounds of each, tells of its progress,
    and raises if something could not be measured.
    """

    NAME: str

    def run(self, rounds: int, say: Callable[[str], None]) -> Measured:
        """Measure."""


_ALL = cast(tuple[Group, ...], (receive, senders, latency, calls, burst, slices, console, volume, memory))

GROUPS: dict[str, Group] = {group.NAME: group for group in _ALL}
