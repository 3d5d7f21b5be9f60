"""The circuit: while MLM is away or angry no call leaves, but for one probe a window, over all workers together.

`pacing.lua` decides, in the same step in which it gives out places; here stand the numbers, what the end of a call says
about MLM, and the state for whoever shows it. What it holds to:

* It opens when, since the last call that MLM answered, `failures` calls have failed that asked for `files` different
  files or more, no two in a row further apart than `memory_s`. So one flaky file never opens it, nor do two. A
  failure before anything was asked (no connection, no sign-in) is nobody's but MLM's and counts as a file of its own.
* Failures of fewer files prove nothing: those may be bad, or nobody asks for others while MLM is away. So from
  `doubtful` failures on the sweep has others asked for their stamps (`in_doubt`), once in `doubt_every_s`. If one is
  answered, the failures are forgotten; if none is, they are of enough files.
* A 429 opens it at once: it is never about one file. A `Retry-After` is honoured, up to `longest_asked_s`.
* A refused sign-in opens it at once (accounts lock), with windows of its own.
* While it is open every call is refused at once (`MlmAway`). When the window is over the next call leaves, as the
  probe, and no other until it has ended or its worker is dead. A probe that MLM answers closes the circuit; one that
  fails doubles the window, up to `longest_s`.
* Whether a call that MLM does answer brings what was asked for is not the circuit's business: *not found*, *access
  denied* or *in use* are answers.

Keys in Redis: `mlm:circuit` (while open: since when, why, until when), `mlm:circuit:failed` (failures since the last
answer, by file), `mlm:circuit:doubted` (others were asked for lately). `FLUSHALL` closes the circuit, and the next few
failures open it again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

import redis

from mlm_client.errors import FileBusy, MlmError, Retry, SignInAgain, SignInFailed, Throttled

#: The open circuit, the failures since the last answer, and that other files were asked for lately.
OPEN_KEY, FAILED_KEY, DOUBTED_KEY = "mlm:circuit", "mlm:circuit:failed", "mlm:circuit:doubted"


@dataclass(frozen=True, slots=True)
class Ending:
    """What the end of a call says about MLM.

    `answered`: it did; `away`: it did not; `refused`: it refuses our sign-in; `unknown`: nothing, the call ended by
    something of ours. `file` is what was asked for, empty if the failure cannot be a file's; `at_once` that one such
    failure is enough; `asked_s` how long MLM asks us to wait.
    """

    kind: Literal["answered", "away", "refused", "unknown"]
    file: str = ""
    why: str = ""
    at_once: bool = False
    asked_s: float = 0.0


@dataclass(frozen=True)
class CircuitRules:
    """When the circuit opens, and how long its windows are. Why these numbers: docs/decisions/0009-circuit.md."""

    failures: int = 5
    files: int = 3
    doubtful: int = 3
    doubt_every_s: float = 30.0
    memory_s: float = 60.0
    first_s: float = 1.0
    longest_s: float = 30.0
    sign_in_first_s: float = 60.0
    sign_in_longest_s: float = 600.0
    longest_asked_s: float = 300.0

    def weighing(self, ending: Ending) -> tuple[str | int, ...]:
        """What `pacing.lua` weighs an ending by, in its order."""
        refused = ending.kind == "refused"
        first_s, longest_s = (
            (self.sign_in_first_s, self.sign_in_longest_s) if refused else (self.first_s, self.longest_s)
        )
        needed = (1, 1) if ending.at_once else (self.failures, self.files)
        times_us = (_us(first_s), _us(longest_s), _us(min(ending.asked_s, self.longest_asked_s)))
        return (ending.kind, ending.file, ending.why, *needed, round(self.memory_s * 1000), *times_us)


ANSWERED = Ending("answered")


def ending_of(error: BaseException) -> Ending:
    """What it says about MLM that a call ended with this error."""
    if not isinstance(error, MlmError):
        return Ending("unknown")
    why = f"{type(error).__name__}: {error}"
    if isinstance(error, SignInFailed):
        return Ending("refused", why=why, at_once=True)
    if isinstance(error, SignInAgain):
        return Ending("away", why=why)
    if not isinstance(error, Retry) or isinstance(error, FileBusy):
        return ANSWERED
    return Ending(
        "away",
        file="" if error.unasked else error.ref or error.operation or "",
        why=why,
        at_once=isinstance(error, Throttled) and error.status != 503,
        asked_s=(error.retry_after_s or 0.0) if isinstance(error, Throttled) else 0.0,
    )


@dataclass(frozen=True)
class CircuitState:
    """The circuit as it stands, for people and for the sweep.

    `half-open`: the next call is the probe, or the probe is under way. `since` is when it opened, `why` the last error
    in our words (no data), `next_probe_at` when the next call may leave; all None while it is closed. `failures`: how
    many calls have failed since MLM last answered.
    """

    state: Literal["closed", "open", "half-open"]
    since: dt.datetime | None
    why: str | None
    next_probe_at: dt.datetime | None
    failures: int


def circuit_state(client: redis.Redis) -> CircuitState:
    """The circuit as it stands now, by Redis' clock. It changes nothing.

    Raises:
        redis.RedisError: Redis is away.
    """
    with client.pipeline() as pipe:
        pipe.time()
        pipe.hgetall(OPEN_KEY)
        pipe.hvals(FAILED_KEY)
        (seconds, micros), held, failed = pipe.execute()
    if not held:
        return CircuitState("closed", None, None, None, sum(map(int, failed)))
    open_ = {name.decode(): value.decode("utf-8", "replace") for name, value in held.items()}
    probe_at = int(open_["probe_at"])
    half_open = "probe" in open_ or probe_at <= seconds * 1_000_000 + micros
    return CircuitState(
        "half-open" if half_open else "open",
        _instant(open_["since"]),
        open_["why"],
        _instant(open_["probe_at"]),
        int(open_["failures"]),
    )


@dataclass(frozen=True, slots=True)
class Doubt:
    """Calls have failed, of too few files to tell whether that is MLM. `failed` are these; so many `others` are to be
    asked for."""

    failed: tuple[str, ...]
    others: int


def in_doubt(client: redis.Redis, rules: CircuitRules = CircuitRules()) -> Doubt | None:
    """Whether other files are to be asked for now. Said to one who asks, and to nobody for a while after.

    Raises:
        redis.RedisError: Redis is away.
    """
    with client.pipeline() as pipe:
        pipe.hgetall(FAILED_KEY)
        (said,) = pipe.execute()
    failed = {name.decode(): int(count) for name, count in said.items()}
    if sum(failed.values()) < rules.doubtful or len(failed) >= rules.files:
        return None
    if not client.set(DOUBTED_KEY, 1, nx=True, px=round(rules.doubt_every_s * 1000)):
        return None
    return Doubt(tuple(failed), max(rules.files - len(failed), rules.failures - sum(failed.values())))


def _instant(micros: str) -> dt.datetime:
    return dt.datetime.fromtimestamp(int(micros) / 1_000_000, dt.UTC)


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
