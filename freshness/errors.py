"""What can go wrong in the ledger, as a tree a caller can act on.

    FreshnessError
    ├── SettingError        stop: a setting is missing or wrong; one line names it
    ├── TryAgain            the same call may succeed later
    │   └── LeaseLost       somebody else holds the slice now; roll back, its holder will land it
    └── GiveUp              the same call will never succeed
        ├── UnknownFile     no loan or lead of that kind has that reference
        ├── UnknownOwnWrite no such own write of that file
        ├── UnreadableStamp a stamp handed to us by portal code names no instant
        ├── UnknownSubject  no sender has spoken of that subject
        ├── NotWhole        part of a subject's history was dropped
        ├── Replayed        a signature has proved a delivery before
        └── FieldKeyError   a field key cannot be used, or none decrypts the value
            └── KeyNotHeld  what was sealed last was sealed with a key that FIELD_KEYS does not hold

Errors take ids and build their own message. None carries a body or a person's data.
"""

from __future__ import annotations

from collections.abc import Sequence


class FreshnessError(Exception):
    """Anything this package refuses or fails to do."""


class SettingError(FreshnessError):
    """A setting is missing or wrong. The process cannot start; the message is one line that names it."""

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        super().__init__(f"{name}: {what}")


class TryAgain(FreshnessError):
    """The same call may succeed later."""


class LeaseLost(TryAgain):
    """The lease of a slice was taken over, or its epoch ended, before its commit (protocol: a loser rolls back)."""

    def __init__(self, file_id: int, concern: str, why: str) -> None:
        super().__init__(f"file {file_id}, {concern}: {why}")


class GiveUp(FreshnessError):
    """The same call will never succeed."""


class UnknownFile(GiveUp):
    """No loan or lead of that kind has that reference."""

    def __init__(self, kind: str | None, ref: str) -> None:
        super().__init__(f"no {kind or 'file'} with reference {ref!r}")


class UnknownOwnWrite(GiveUp):
    """No such own write of that file."""

    def __init__(self, own_write_id: int) -> None:
        super().__init__(f"no own write {own_write_id} of this file")


class UnreadableStamp(GiveUp):
    """A stamp that portal code handed us names no instant."""

    def __init__(self, why: str) -> None:
        super().__init__(f"unreadable stamp: {why}")


class UnknownSubject(GiveUp):
    """No sender has spoken of a subject with that id."""

    def __init__(self, subject_id: int) -> None:
        super().__init__(f"no subject {subject_id}")


class NotWhole(GiveUp):
    """Part of a subject's history was dropped, so that its rows cannot be rebuilt; they stay as they are."""

    def __init__(self, subject: str, missing: int, entries: int) -> None:
        super().__init__(f"the history of {subject} is not whole: {missing} of {entries} entries were dropped")


class Replayed(GiveUp):
    """A signature has proved a delivery before, and proves no other one."""

    def __init__(self) -> None:
        super().__init__("a signature that was used before came")


class FieldKeyError(GiveUp):
    """A field key cannot be used, or none of the keys we have decrypts a value. Never a silent null."""


class KeyNotHeld(FieldKeyError):
    """The newest values were sealed with a key that FIELD_KEYS does not hold: to go on would seal beside it."""

    def __init__(self, key: str, tables: Sequence[str]) -> None:
        super().__init__(
            f"FIELD_KEYS does not hold key {key}, with which the newest values of {', '.join(tables)} are sealed; "
            "put it there, or, if it is lost for good, its id into FIELD_KEYS_LOST (docs/security.md)"
        )
