"""What can go wrong between us and MLM, as a tree a caller can act on.

    MlmError
    ├── Retry                   the same call may succeed later
    │   ├── Outage              5xx, a page or a redirect in place of an answer, a fault on MLM's side
    │   ├── Throttled           429 or 503: ask less often
    │   ├── TimedOut            connect, read, or the whole call took too long
    │   ├── Unreachable         no connection, or it broke
    │   ├── UnreadableAnswer    empty, cut short, no XML, or of no form we know
    │   └── FileBusy            somebody in MLM holds the file
    ├── SignInAgain             the ticket was refused; the client has signed in again once itself
    ├── SignInFailed            stop: MLM refuses our client id and secret, and accounts lock
    ├── NotFound                MLM says that it has no such file
    └── GiveUp                  the same call will never succeed
        ├── AccessDenied        we may not see or change that file
        ├── Rejected            MLM refuses the call, or gives an error we do not know
        ├── TooLarge            larger than the caps of this package, or than MLM takes
        └── UnsafeAnswer        a DOCTYPE, which no answer of MLM's needs

An error carries the operation, the reference or loan number, the HTTP status, and words of ours. Never a body,
never MLM's own words (they name people), never a token; and no other exception hangs on it, since a queue that
stores tracebacks stores their text too (measured: a megabyte, SSN included).
"""

from __future__ import annotations

from typing import Self


class MlmError(Exception):
    """A call to MLM that brought no answer we can use.

    `why` is one of this package's own fixed phrases; `status` the HTTP status if there was one. `operation` and
    `ref` are set by the client, once, on the way out. `unasked` says that nothing about any file had been asked yet:
    there was no connection, or no sign-in, so the error cannot be the file's.
    """

    unasked = False

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.status = status
        self.operation: str | None = None
        self.ref: str | None = None

    def during(self, operation: str, ref: str | None = None) -> Self:
        """The same error, now saying which call of ours it ended."""
        self.operation = operation
        self.ref = None if ref is None else ref[:64]
        return self

    def __str__(self) -> str:
        call = " ".join(part for part in (self.operation, self.ref and repr(self.ref)) if part)
        status = f" (HTTP {self.status})" if self.status else ""
        return f"{call}: {self.why}{status}" if call else f"{self.why}{status}"


class Retry(MlmError):
    """The same call may succeed later."""


class Outage(Retry):
    """MLM is there and cannot answer: 5xx, a page or a redirect in place of an answer, a fault of its own."""


class Throttled(Retry):
    """MLM asks for fewer calls: 429, 503, or words to that effect. `retry_after_s` is how long it asks us to wait."""

    def __init__(self, why: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(why, status)
        self.retry_after_s = retry_after_s


class TimedOut(Retry):
    """Connect, read, or the whole call took longer than it may. A save may have happened all the same."""


class Unreachable(Retry):
    """No connection, or it broke before the answer was whole. A save may have happened all the same."""


class UnreadableAnswer(Retry):
    """An answer that is empty, cut short, not XML, or of no form we know."""


class FileBusy(Retry):
    """Somebody in MLM is editing the file, or holds its lock."""


class SignInAgain(MlmError):
    """MLM refused the ticket, and refused or would refuse the next one too."""


class SignInFailed(MlmError):
    """MLM refuses our client id and secret. Stop: trying on may lock the account."""


class NotFound(MlmError):
    """MLM says that it has no such file. Nothing is purged on one such answer (the protocol)."""


class GiveUp(MlmError):
    """The same call will never succeed."""


class AccessDenied(GiveUp):
    """Our account may not see or change that file."""


class Rejected(GiveUp):
    """MLM refuses the call, or answers with an error we do not know."""


class TooLarge(GiveUp):
    """Question or answer is larger than a cap."""


class UnsafeAnswer(GiveUp):
    """The answer carries a DOCTYPE."""
