"""What a group of benchmarks comes to: rows that are held against a mark, and figures measured beside them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One party's figure, measured once a round."""

    label: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most of the rounds."""
        return min(self.values), max(self.values)


@dataclass(frozen=True)
class Mark:
    """What is to be reached: at least, or else at most, so much."""

    bound: float
    at_least: bool
    unit: str = "×"

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}"

    def holds(self, value: float) -> bool:
        """Whether this value reaches it."""
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Row:
    """One row of the table: ours against a peer's, or a limit; or ours alone, where `theirs` is None.

    `ours` and `theirs` were measured in turn, in the same rounds. `under`: rate, concurrency, resolution, batch.
    """

    name: str
    what: str
    unit: str
    ours: Series
    theirs: Series | None
    mark: Mark
    under: str

    @property
    def compared(self) -> Series:
        """What is held against the mark, round by round: ours over theirs, or ours."""
        if self.theirs is None:
            return self.ours
        pairs = zip(self.ours.values, self.theirs.values, strict=True)
        return Series("ratio", tuple(ours / theirs for ours, theirs in pairs))

    @property
    def held(self) -> bool:
        """Whether the median reaches the mark."""
        return self.mark.holds(self.compared.median)


@dataclass(frozen=True)
class Figure:
    """Something measured beside the rows, that no mark is set for."""

    what: str
    unit: str
    series: Series


@dataclass(frozen=True)
class Measured:
    """All that one group has measured, and what of which version it ran; how long that took, and which part of the
    processors' time other machines had meanwhile."""

    rows: Sequence[Row]
    versions: Sequence[str]
    figures: Sequence[Figure] = ()
    took_s: float = 0.0
    stolen: float = 0.0


def number(value: float) -> str:
    """A figure with three digits that count, thousands apart: 48,200 · 3.07 · 0.612."""
    if value >= 100:
        return f"{float(f'{value:.3g}') if value < 1000 else round(value, -1 if value < 10_000 else -2):,.0f}"
    return f"{value:.3g}"


def told(series: Series, unit: str = "") -> str:
    """Median and spread of a series: `48,200 (46,900–49,100)`."""
    low, high = series.spread
    return f"{number(series.median)}{f' {unit}' if unit else ''} ({number(low)}–{number(high)})"
