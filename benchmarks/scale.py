"""How large the large benchmarks are: `SCALE=0.02` in the environment makes them a fiftieth, to try them out; `LONG=1`
lets them go all the way where they would stop for want of time."""

from __future__ import annotations

import os

SCALE = float(os.environ.get("SCALE") or 1)
LONG = os.environ.get("LONG") == "1"


def scaled(count: int, step: int = 1) -> int:
    """So many at this scale: a multiple of `step`, and one at least."""
    return max(step, round(count * SCALE / step) * step)
