"""What goes on after its page has answered: a thread in this receiver, and the action's row, which says how far it is.

If the process ends, the row stands still and says so; whatever was reached stays so.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

import structlog

from jobs.house import House

from .. import actions

log = structlog.get_logger(__name__)

#: The row is brought up to date after so many steps at the most.
TELL_EVERY = 25


class UnderWay:
    """One action; a step of it is a word for what that came to."""

    def __init__(self, house: House, action: int, steps: Iterable[str], rate: float) -> None:
        self._house, self._action, self._steps = house, action, steps
        self._every = max(1, min(TELL_EVERY, int(rate)))

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self, name=f"console action {self._action}", daemon=True).start()

    def __call__(self) -> None:
        """Take all steps."""
        came_to: Counter[str] = Counter()
        broke = False
        try:
            for word in self._steps:
                came_to[word] += 1
                if came_to.total() % self._every == 0:
                    self._tell(came_to.total(), None)
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread: the row and the log say how it ended
            log.error("console.action_failed", error=type(error).__name__, reached=came_to.total())
            broke = True
        said = ", ".join(f"{count} {word}" for word, count in came_to.most_common())
        self._tell(came_to.total(), f"ended by an error after: {said or 'nothing'}" if broke else said or "nothing")

    def _tell(self, reached: int, result: str | None) -> None:
        with self._house.engine.begin() as conn:
            actions.move(conn, self._action, reached, result)
