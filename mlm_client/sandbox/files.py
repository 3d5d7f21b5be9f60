"""The files of MLM: loans and leads, their versions, and what a save does.

A file is a short history of versions that are never changed once saved; the newest is what MLM has. Every save copies
the newest content, changes the copy, recomputes dependents, stamps it, and tells the listeners (the webhook)
before it lets go of the one lock. Old versions serve lagging reads and backups.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mlm_client.sandbox.fields import COLLECTIONS
from mlm_client.sandbox.knobs import Dials
from mlm_client.sandbox.recomputing import recompute
from mlm_client.sandbox.stamps import Clock

Record = dict[str, str]

CREATED, MODIFIED, DELETED = "Created", "Modified", "Deleted"

#: sStatusT of a lead; everything else is a loan (MLM's wire, §3.4).
LEAD_STATUSES = frozenset({"12", "15", "16", "17"})

_KEPT_VERSIONS = 8


class UnknownFile(LookupError):
    """MLM has no such file, or has it no longer."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no file {name}")


def _empty(of_applicant: bool) -> dict[str, list[Record]]:
    return {name: [] for name, told in COLLECTIONS.items() if told.of_applicant is of_applicant}


def _copied(collections: dict[str, list[Record]]) -> dict[str, list[Record]]:
    return {name: [dict(record) for record in records] for name, records in collections.items()}


@dataclass(slots=True)
class Applicant:
    """One application: `aB…`, `aC…` and `a…` fields in canonical text, and the collections under it."""

    fields: Record
    collections: dict[str, list[Record]] = field(default_factory=lambda: _empty(of_applicant=True))


@dataclass(slots=True)
class Content:
    """What a file holds: loan fields (`sLRefNm` and `sLNm` among them), applicants, loan-level collections."""

    fields: Record
    applicants: list[Applicant] = field(default_factory=list)
    collections: dict[str, list[Record]] = field(default_factory=lambda: _empty(of_applicant=False))

    def copy(self) -> Content:
        """A copy that shares nothing with this one."""
        applicants = [Applicant(dict(each.fields), _copied(each.collections)) for each in self.applicants]
        return Content(dict(self.fields), applicants, _copied(self.collections))

    @property
    def ref(self) -> str:
        """`sLRefNm`."""
        return self.fields["sLRefNm"]

    @property
    def number(self) -> str:
        """`sLNm`, which can change."""
        return self.fields["sLNm"]

    @property
    def is_lead(self) -> bool:
        """Whether the status is a lead's."""
        return self.fields.get("sStatusT") in LEAD_STATUSES


@dataclass(frozen=True, slots=True)
class Version:
    """One saved state of a file. Its content is never changed: copy it."""

    content: Content
    stamp: int
    number: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What listeners hear of a save: the event, and the version it made."""

    event: str
    version: Version
    old_number: str


@dataclass
class _File:
    versions: deque[Version] = field(default_factory=lambda: deque(maxlen=_KEPT_VERSIONS))


class Store:
    """All files behind one lock. Listeners are called inside it, in order of saves, and must not wait."""

    def __init__(self, dials: Dials, now_s: Callable[[], float] | None = None) -> None:
        self.lock = threading.RLock()
        self.listeners: list[Callable[[Change], None]] = []
        self.on_pending: Callable[[], None] = lambda: None
        self.dials = dials
        self.clock = Clock(dials, now_s)
        self._files: dict[str, _File] = {}
        self._refs: dict[str, str] = {}
        self._pending: list[tuple[float, int, str, Callable[[Content], None] | None]] = []
        self._sequence = 0
        self._backups: dict[int, dict[str, Version | None]] = {}

    def refs(self, deleted: bool = False) -> list[str]:
        """References of all files, in order of creation."""
        with self.lock:
            return [ref for ref, file in self._files.items() if deleted or not file.versions[-1].deleted]

    def holds(self, ref: str) -> bool:
        """Whether MLM has, or had, a file of this reference."""
        with self.lock:
            return ref in self._files

    def newest(self, ref: str) -> Version:
        """What MLM has now, deleted or not. Raises UnknownFile."""
        with self.lock:
            try:
                return self._files[ref].versions[-1]
            except KeyError:
                raise UnknownFile(ref) from None

    def behind(self, ref: str) -> Version:
        """The version before the newest, the newest where there is no other: a replica's. Raises UnknownFile."""
        with self.lock:
            self.newest(ref)
            versions = self._files[ref].versions
            return versions[-2] if len(versions) > 1 else versions[-1]

    def ref_of(self, number: str) -> str:
        """The reference of the file with this `sLNm`. Raises UnknownFile."""
        with self.lock:
            try:
                return self._refs[number]
            except KeyError:
                raise UnknownFile(number) from None

    def add(self, content: Content, announce: bool = True) -> Version:
        """A new file. Without `announce` it has been there all along, and no listener hears of it."""
        with self.lock:
            if content.ref in self._files or content.number in self._refs:
                raise ValueError(content.ref)
            recompute(content)
            self._files[content.ref] = _File()
            return self._append(CREATED if announce else "", content)

    def save(self, ref: str, change: Callable[[Content], None]) -> Version:
        """Apply `change` to a copy of the newest content and save it; nothing is saved if it raises.

        Dependents move in the same save, or with `recompute_lag_ms` in a second one. Raises UnknownFile.
        """
        with self.lock:
            newest = self.newest(ref)
            if newest.deleted:
                raise UnknownFile(ref)
            content = newest.content.copy()
            change(content)
            lag_ms = self.dials.now.recompute_lag_ms
            if lag_ms and recompute(content.copy()):
                if not any(owner == ref and later is None for _, _, owner, later in self._pending):
                    self.later(lag_ms / 1000, ref, None)
            else:
                recompute(content)
            return self._append(MODIFIED, content)

    def recompute(self, ref: str) -> Version:
        """Save the file with its dependents brought up to date, as MLM does by itself. Raises UnknownFile."""
        with self.lock:
            newest = self.newest(ref)
            if newest.deleted:
                raise UnknownFile(ref)
            self._pending = [due for due in self._pending if due[2] != ref or due[3] is not None]
            heapq.heapify(self._pending)
            content = newest.content.copy()
            recompute(content)
            return self._append(MODIFIED, content)

    def delete(self, ref: str) -> Version:
        """Delete the file: reads do not find it any more. Raises UnknownFile."""
        return self._turn(ref, deleted=True)

    def restore(self, ref: str) -> Version:
        """Bring a deleted file back as it was. Raises UnknownFile if it is not deleted."""
        return self._turn(ref, deleted=False)

    def later(self, delay_s: float, ref: str, change: Callable[[Content], None] | None) -> None:
        """Save `ref` with `change`, or recomputed where it is None, once `delay_s` has passed."""
        with self.lock:
            self._sequence += 1
            heapq.heappush(self._pending, (time.monotonic() + delay_s, self._sequence, ref, change))
        self.on_pending()

    def run_pending(self, all_now: bool = False) -> float | None:
        """Make the late saves that are due, or all; seconds until the next one, None if none is left."""
        with self.lock:
            while self._pending and (all_now or self._pending[0][0] <= time.monotonic()):
                _, _, ref, change = heapq.heappop(self._pending)
                if ref in self._files and not self.newest(ref).deleted:
                    self.recompute(ref) if change is None else self.save(ref, change)
            return max(0.0, self._pending[0][0] - time.monotonic()) if self._pending else None

    def back_up(self, refs: Iterable[str] | None = None) -> int:
        """Remember these files, or all, as they stand; the id is for `roll_back`. Raises UnknownFile."""
        with self.lock:
            kept: dict[str, Version | None] = {ref: self.newest(ref) for ref in refs or self._files}
            if refs is None:
                kept[""] = None
            self._backups[len(self._backups) + 1] = kept
            return len(self._backups)

    def roll_back(self, backup: int) -> list[str]:
        """Restore a backup: content and stamps go back, no listener hears of it, newer files are gone.

        Returns the references that changed. Raises KeyError for an unknown backup.
        """
        with self.lock:
            kept = dict(self._backups[backup])
            whole = "" in kept
            kept.pop("", None)
            dropped = [ref for ref in self._files if whole and ref not in kept]
            moved = [
                ref
                for ref, version in kept.items()
                if ref not in self._files or self._files[ref].versions[-1] is not version
            ]
            for ref in dropped:
                del self._files[ref]
            for ref in moved:
                version = kept[ref]
                if version is not None:
                    self._files[ref] = _File(deque([version], maxlen=_KEPT_VERSIONS))
            touched = {*moved, *dropped}
            self._pending = [due for due in self._pending if due[2] not in touched]
            heapq.heapify(self._pending)
            self._refs = {self.newest(ref).content.number: ref for ref in self._files}
            return [*moved, *dropped]

    def _turn(self, ref: str, deleted: bool) -> Version:
        with self.lock:
            newest = self.newest(ref)
            if newest.deleted is deleted:
                raise UnknownFile(ref)
            return self._append(DELETED if deleted else MODIFIED, newest.content, deleted)

    def _append(self, event: str, content: Content, deleted: bool = False) -> Version:
        versions = self._files[content.ref].versions
        old = versions[-1].content.number if versions else content.number
        if old != content.number and content.number in self._refs:
            raise ValueError(content.number)
        version = Version(content, self.clock.stamp(), versions[-1].number + 1 if versions else 1, deleted)
        self._refs.pop(old, None)
        self._refs[content.number] = content.ref
        versions.append(version)
        if event:
            for hear in self.listeners:
                hear(Change(event, version, old))
        return version
