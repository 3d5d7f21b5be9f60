"""What every stage needs: a port that nobody has, and to wait until something holds."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

STILL_S = 1.0


def until(holds: Callable[[], object], within_s: float, every_s: float = 0.05) -> None:
    """Wait until something holds; a benchmark whose stage does not come up fails."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(every_s)


def in_the_end(count: Callable[[], int], most: int) -> int:
    """What a count comes to once whatever a load left under way is done: all of it, or nothing more for a second."""
    seen, since = count(), time.monotonic()
    while seen < most and time.monotonic() < since + STILL_S:
        time.sleep(0.05)
        if (now := count()) != seen:
            seen, since = now, time.monotonic()
    return seen


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
