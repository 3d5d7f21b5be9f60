"""What can be wrong with a body, as a tree.

    ReceiverError
    └── BodyFault           give up: the same body will never be taken
        ├── NotJson         it is no JSON text, and where it stops being one
        ├── UnknownForm     it is JSON, but of no form that we know
        └── TooMuch         it is larger than we take

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
