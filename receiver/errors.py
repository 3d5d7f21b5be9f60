"""What can be wrong with a body, and with the disk that it waits on, as a tree.

    ReceiverError
    ├── BodyFault           give up: the same body will never be taken
    │   ├── NotJson         it is no JSON text, and where it stops being one
    │   ├── UnknownForm     it is JSON, but of no form that we know
    │   └── TooMuch         it is larger than we take
    ├── Unspoolable         try again: PostgreSQL is away, and the disk does not take a batch either
    ├── NoReception         give up: another sender's body waits, and there are no keys to open it with
    └── TornBatch           give up: a batch on the disk is not whole

None carries a value from the body: they say what is wrong and at which byte.
"""

from __future__ import annotations


class ReceiverError(Exception):
    """Anything this package refuses."""


class BodyFault(ReceiverError):
    """A body that will never be taken. `position` is the byte at which the fault lies, where there is one."""

    def __init__(self, why: str, position: int | None = None) -> None:
        self.why = why
        self.position = position
        super().__init__(why if position is None else f"{why} (byte {position})")


class NotJson(BodyFault):
    """The body is no JSON text."""


class UnknownForm(BodyFault):
    """The body is JSON of no form that we know, or nested too deep to be one."""


class TooMuch(BodyFault):
    """The body, or the batch in it, is larger than we take."""


class Unspoolable(ReceiverError):
    """The disk does not take a batch that would wait there for PostgreSQL. It may later."""

    def __init__(self) -> None:
        super().__init__("neither the database nor the disk takes the batch; try again")


class TornBatch(ReceiverError):
    """A batch that waits on the disk is not whole."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not whole")


class NoReception(ReceiverError):
    """Another sender's body waits on the disk, and this receiver has no keys to open it with."""

    def __init__(self) -> None:
        super().__init__("FIELD_KEYS is not set, and another sender's body waits")
