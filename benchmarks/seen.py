"""What the rounds of a group have shown."""

from __future__ import annotations

from dataclasses import dataclass, field

from .table import Series


@dataclass
class Seen:
    """For each name, a figure a round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **figures: float) -> str:
        """One turn's figures; the same for a screen."""
        for what, value in figures.items():
            self.values.setdefault(what, []).append(value)
        return ", ".join(f"{what} {value:,.4g}" for what, value in figures.items())

    def series(self, name: str, label: str = "ours") -> Series:
        """All rounds' figures of one name."""
        return Series(label, tuple(self.values[name]))


def share(figures: list[float], part: float) -> float:
    """The figure that this part of them does not exceed: 0.5 is the median, 0.99 the 99th percentile."""
    ordered = sorted(figures)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
