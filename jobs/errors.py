"""What can go wrong between us and the queue, as a tree a job can act on.

    JobsError
    ├── TryAgain          the same work may succeed later; its row is still due, the sweep rings again
    │   ├── PacingAway    Redis, which paces the calls to MLM, cannot be asked
    │   ├── NoPlace       no place for a call to MLM came free in time
    │   ├── MlmAway       MLM is away or angry, and the circuit is open: no call may leave
    │   └── Stopping      the process is stopping, and the call had not begun
    └── Stop              this process cannot go on
        └── RedisLost     Redis stayed away longer than the client's retries; exit, and be started again

Errors build their own message from numbers and ids. None carries a body or a person's data.
"""

from __future__ import annotations


class JobsError(Exception):
    """Anything this package refuses or fails to do."""


class TryAgain(JobsError):
    """The same work may succeed later."""


class PacingAway(TryAgain):
    """Redis cannot be asked for a place. No call to MLM is made unpaced."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"the pacing of calls to MLM cannot be asked ({type(error).__name__})")


class NoPlace(TryAgain):
    """All places for calls to MLM were taken, or the rate was spent, for as long as the caller would wait."""

    def __init__(self, deadline_s: float) -> None:
        super().__init__(f"no place for a call to MLM came free within {deadline_s:g} s")


class MlmAway(TryAgain):
    """The circuit is open: MLM was away, or angry, a moment ago. The next call may leave in `wait_s`, as the probe."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"MLM is away; the next call may leave in {wait_s:.1f} s")
        self.wait_s = wait_s


class Stopping(TryAgain):
    """The process is stopping; the call to MLM was not begun."""

    def __init__(self) -> None:
        super().__init__("the process is stopping; the call to MLM was not begun")


class Stop(JobsError):
    """This process cannot go on."""


class RedisLost(Stop):
    """Redis stayed away longer than the client's retries (dramatiq then strands what it held in memory: measured).

    The ids of messages held for later stay with a worker that counts as alive; only the end of the process frees
    them. The supervisor starts it again.
    """

    def __init__(self) -> None:
        super().__init__("Redis stayed away longer than the retries allow; the process must be started again")
