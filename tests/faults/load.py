"""The load: 20 edits a second by outsiders, in all nine concerns of 200 files in turn, and own writes of a portal.

Outsiders save a file four times within 0.4 s and then go on to another, two of them at once, so that changes overtake
their reads; or every save is in another file than the last (`even`).

An own write goes as the contract has it: registered over HTTP, saved in MLM, the local half committed, its exit over
HTTP. Every third is without capture. A portal that cannot register does not write; one whose exit is not answered
asks again.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import httpx
import sqlalchemy as sa

from mlm_client.sandbox.editing import CONCERNS, touch
from mlm_client.sandbox.files import Content, Version

from .house import PORTAL_TOKEN, Standing

EDITS_A_SECOND = 20.0
AT_ONCE, SAVES = 2, 4
OWN_WRITE_EVERY_S = 1.0
EXIT_WITHIN_S = 60.0

_LOCAL_HALF = "UPDATE borrowers SET cell_phone = %(phone)s WHERE lqb_id = %(person)s"


class Portal:
    """A portal's own writes, one after the other."""

    def __init__(self, house: Standing) -> None:
        self._house = house
        headers = {"Authorization": f"Bearer {PORTAL_TOKEN}"}
        self._client = httpx.Client(headers=headers, timeout=10)
        self._numbers = itertools.count(1)
        #: The versions in MLM that are ours: (reference, number).
        self.versions: set[tuple[str, int]] = set()

    def write(self, ref: str, capture: bool = True, beside: Sequence[str] = ()) -> bool:
        """One own write to a file, an outsider editing these concerns of it between our save and our exit. False if
        it could not be registered, and so was not made."""
        version = self._house.mlm.store.newest(ref)
        path = f"/api/v1/{'leads' if version.content.is_lead else 'loans'}/{ref}/mlm/own-writes"
        try:
            answer = self._client.post(self._house.url + path, json={"capture": capture})
        except httpx.TransportError:
            return False
        if not answer.is_success:
            return False
        phone = f"555-{next(self._numbers):07d}"
        with self._house.mlm.store.lock:
            saved = self._house.mlm.store.save(ref, lambda content: _call_them_at(content, phone))
            self.versions.add((ref, saved.number))
        for concern in beside:
            touch(self._house.mlm.store, self._house.mlm.maker, ref, concern)
        self._exit(f"{path}/{answer.json()['id']}/exit", self._commit_local_half(saved, phone))
        return True

    def is_ours(self, version: Version) -> bool:
        """Whether a version of a file is an own write's."""
        return (version.content.ref, version.number) in self.versions

    def close(self) -> None:
        """Let go of the receiver."""
        self._client.close()

    def _commit_local_half(self, saved: Version, phone: str) -> bool:
        try:
            with self._house.engine.begin() as conn:
                person = saved.content.applicants[0].fields["aBConsumerId"]
                conn.exec_driver_sql(_LOCAL_HALF, {"phone": phone, "person": person})
        except sa.exc.DBAPIError:
            return False
        return True

    def _exit(self, path: str, ok: bool) -> None:
        deadline = time.monotonic() + EXIT_WITHIN_S
        while time.monotonic() < deadline:
            try:
                if self._client.post(self._house.url + path, json={"ok": ok}).is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.5)


@dataclass
class Load:
    """The running load. `spared` are files that it leaves alone."""

    house: Standing
    portal: Portal
    spared: frozenset[str] = frozenset()
    even: bool = False
    edits: int = 0
    writes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _chance: Random = field(default_factory=lambda: Random(11))

    def start(self) -> None:
        """Begin."""
        self._threads = [threading.Thread(target=job, daemon=True) for job in (self._edit, self._write)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more changes. Returns when the last is made; does nothing if none are."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _edit(self) -> None:
        due = time.monotonic()
        for ref, concern in zip(self._refs(), itertools.cycle(CONCERNS), strict=False):
            due = max(due + 1 / EDITS_A_SECOND, time.monotonic() - 1)
            if self._over.wait(max(0.0, due - time.monotonic())):
                return
            op = self._chance.choices(("change", "add", "remove"), (8, 1, 1))[0]
            op = "change" if concern in ("loan_fields", "borrowers") else op
            touch(self.house.mlm.store, self.house.mlm.maker, ref, concern, op)
            self.edits += 1

    def _refs(self) -> Iterator[str]:
        """Which file is saved next."""
        refs = [ref for ref in self.house.refs if ref not in self.spared]
        self._chance.shuffle(refs)
        if self.even:
            yield from itertools.cycle(refs)
        for together in itertools.cycle(zip(*[iter(refs)] * AT_ONCE, strict=False)):
            yield from together * SAVES

    def _write(self) -> None:
        chance = Random(13)
        refs = [ref for ref in self.house.refs if ref not in self.spared]
        for number in itertools.count():
            if self._over.wait(OWN_WRITE_EVERY_S):
                return
            self.writes += self.portal.write(chance.choice(refs), capture=number % 3 != 2)


def _call_them_at(content: Content, phone: str) -> None:
    content.applicants[0].fields["aBCellphone"] = phone
