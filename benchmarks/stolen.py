"""Stolen time: what the processors did for other machines while processes here had something to do.

A machine that is rented shares its processors, and how many it has changes within minutes. A figure that was measured
while others had a fifth of them says little, so every table says how much they had.
"""

from __future__ import annotations

from pathlib import Path

#: The eighth figure of the first line of /proc/stat (proc(5)), and how many of them are not part of another.
_STEAL, _KINDS = 7, 8


class Watch:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._stolen, self._all = _ticks()

    def stolen(self) -> float:
        """Which part of all processors' time others have had since."""
        stolen, all_of_it = _ticks()
        return (stolen - self._stolen) / max(1, all_of_it - self._all)


def _ticks() -> tuple[int, int]:
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    ticks = [int(each) for each in first.split()[1 : _KINDS + 1]]
    return ticks[_STEAL], sum(ticks)
