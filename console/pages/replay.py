"""Replay: one receipt, or all that the filters leave, tried out first; at a rate, beside the receiver's other work.

Of MLM an entry is decided once more; of another sender the receipt's subject is rebuilt, as `freshness replay` does it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from freshness.ledger import browsing, replays
from freshness.ledger.browsing import Place, Wanted
from freshness.settings import Settings
from receiver.reception import reception_of

from .. import actions, rebuilding, replaying
from ..actions import What
from ..apart import ROOT
from . import words
from .filters import after_of, place_in, wanted_of
from .kit import Form, Kit, Refused
from .sessions import Visitor
from .under_way import UnderWay

#: Receipts of one replay; the same filters take the rest, before the oldest that was taken.
MOST = 5_000
RATES = {"20": 20.0, "100": 100.0, "500": 500.0}
SHOWN = 50

#: How often one page looks; without an index, each takes some 10 ms of PostgreSQL. It goes on from there.
LOOKS = 2

#: What became of a subject.
REBUILT, NOT_WHOLE = "rebuilt", "not whole"


@dataclass(frozen=True)
class Chosen:
    """What a replay takes, oldest first: entries of MLM's, and of each subject of another sender one receipt. Left out
    is what was a replay already, and what cannot be replayed here. What lies behind `next` was not looked at."""

    entries: Sequence[dict[str, Any]]
    subjects: Sequence[dict[str, Any]]
    were_replays: int
    cannot: int
    next: Place | None

    @property
    def count(self) -> int:
        """How many."""
        return len(self.entries) + len(self.subjects)


@dataclass(frozen=True)
class Done:
    """What became of one: its outcome, the same in words, and why; `whole`: whether it could be done at all."""

    word: str
    said: str
    why: str
    whole: bool = True


class Replay:
    """The dry runs and the replays."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    def routes(self) -> list[Route]:
        """Under `/receipts`; before the page of one receipt, whose place could be any word."""
        return [
            self._kit.shown("/receipts/replay", self.show_many),
            self._kit.done("/receipts/replay", self.many),
            self._kit.done("/receipts/{place}/replay", self.one),
        ]

    async def one(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Replay one receipt; with `dry`, only say what would come of it."""
        place, force, dry = place_in(request), form.get("force") == "1", form.get("dry") == "1"
        receipt = await self._kit.read(lambda conn: browsing.one(conn, place))
        if receipt is None:
            raise Refused(409, "This receipt is gone.")
        if said := why_not(receipt, self._kit.house.settings):
            raise Refused(409, said)
        mlms = _is_mlms(receipt)
        step = self._decided if mlms else self._rebuilt

        def take() -> Done:
            return next(step([receipt], force=force, dry=dry))

        if dry:
            done = await self._kit.in_thread(take)
            return await self._kit.page(request, "tried.html", visitor, receipt=receipt, done=done, came_to=None)
        name = receipt["reference_number"] if mlms else receipt["subject"]
        which = f"receipt {receipt['id']} of {name}" + (", with force" if force else "")
        action = await self._kit.write(
            lambda conn: actions.record(conn, visitor.user.name, What.REPLAY, which, wanted=1)
        )
        try:
            done = await self._kit.in_thread(take)
        except Exception:
            await self._kit.write(lambda conn: actions.move(conn, action, 0, "ended by an error"))
            raise
        await self._kit.write(lambda conn: actions.move(conn, action, int(done.whole), done.said))
        if not done.whole:
            raise Refused(409, f"Nothing was changed: {done.said}.")
        search = {"search": name} if mlms else {"sender": receipt["sender"]}
        return RedirectResponse(f"{ROOT}/receipts?{urlencode(search)}", 303)

    async def show_many(self, request: Request, visitor: Visitor) -> Response:
        """What would be replayed: nothing is decided yet. It names a moment, so that what comes later stays out."""
        wanted, after = _until_now(wanted_of(request.query_params)), after_of(request.query_params.get("after"))
        chosen = await self._kit.read(lambda conn: choose(conn, wanted, self._kit.house.settings, after))
        return await self._kit.page(
            request, "replay.html", visitor, wanted=wanted, chosen=chosen, shown=chosen.entries[:SHOWN],
            subjects=chosen.subjects[:SHOWN], rates=RATES, most=MOST, said=_said(wanted, after),
            next=words.place_text(chosen.next) if chosen.next else None,
        )  # fmt: skip

    async def many(self, request: Request, visitor: Visitor, form: Form) -> Response:
        """Replay what the filters leave; with `dry`, only say what would come of it."""
        wanted, after, force = _until_now(wanted_of(form)), after_of(form.get("after")), form.get("force") == "1"
        rate = RATES.get(form.get("rate") or "100")
        if rate is None:
            raise Refused(400, "This rate is none of those to choose from.")
        chosen = await self._kit.read(lambda conn: choose(conn, wanted, self._kit.house.settings, after))
        if form.get("dry") == "1":
            tried = await self._kit.in_thread(lambda: Counter(self._words(chosen, force, dry=True)))
            return await self._kit.page(request, "tried.html", visitor, receipt=None, done=None, came_to=tried)
        if not chosen.count:
            raise Refused(409, "There is nothing of that kind to replay.")
        which = _said(wanted, after) + (", with force" if force else "")
        action = await self._kit.write(
            lambda conn: actions.record(conn, visitor.user.name, What.REPLAY_MANY, which[:300], wanted=chosen.count)
        )
        steps = (words.SHORT.get(word, word) for word in self._words(chosen, force, rate=rate))
        UnderWay(self._kit.house, action, steps, rate).start()
        return RedirectResponse(f"{ROOT}/queues", 303)

    def _words(self, chosen: Chosen, force: bool, *, rate: float | None = None, dry: bool = False) -> Iterator[str]:
        for done in self._decided(chosen.entries, force=force, rate=rate, dry=dry):
            yield done.word
        for done in self._rebuilt(chosen.subjects, rate=rate, dry=dry):
            yield done.word

    def _decided(
        self, entries: Sequence[Mapping[str, Any]], *, force: bool, rate: float | None = None, dry: bool = False
    ) -> Iterator[Done]:
        house = self._kit.house
        each = replaying.replay(house.engine, house.rules, house.bell, entries, force=force, dry_run=dry, rate=rate)
        for done in each:
            said = words.SHORT[done.outcome]
            said = f"{said}, order {done.order_number}" if done.order_number else said
            yield Done(done.outcome, said, done.reason)

    def _rebuilt(
        self, receipts: Sequence[Mapping[str, Any]], *, force: bool = False, rate: float | None = None,
        dry: bool = False,
    ) -> Iterator[Done]:  # fmt: skip
        if receipts:
            receiving = self._kit.receiving
            reception = reception_of(receiving.settings)
            for done in rebuilding.rebuild(receiving.engine, reception, receipts, dry_run=dry, rate=rate):
                said = f"{done['applied']} of {done['entries']} entries land" if done["done"] else done["why"]
                yield Done(REBUILT if done["done"] else NOT_WHOLE, said, said, whole=done["done"])


def why_not(receipt: Mapping[str, Any], settings: Settings) -> str | None:
    """Why this receipt cannot be replayed; None if it can."""
    if _is_mlms(receipt):
        return None if replays.can_be_replayed(receipt) else "The entry could not be understood, and was not kept."
    if not replays.can_be_replayed(receipt):
        return "It names no subject, so there is nothing to rebuild."
    if not settings.field_keys:
        return "Its subject is rebuilt from bodies that are sealed, and FIELD_KEYS is not set here."
    return None


def choose(conn: Connection, wanted: Wanted, settings: Settings, after: Place | None = None) -> Chosen:
    """What a replay of what these filters leave behind `after` would take: the newest, at most `MOST`."""
    entries: list[dict[str, Any]] = []
    subjects: dict[int, dict[str, Any]] = {}
    were_replays = cannot = 0
    for _ in range(LOOKS):
        found = browsing.page(conn, wanted, after, MOST - len(entries) - len(subjects))
        for receipt in found.receipts:
            if receipt["replay_of"] is not None:
                were_replays += 1
            elif why_not(receipt, settings):
                cannot += 1
            elif _is_mlms(receipt):
                entries.append(receipt)
            else:
                subjects[receipt["subject_id"]] = receipt
        after = found.next
        if after is None or len(entries) + len(subjects) >= MOST:
            break
    return Chosen(entries[::-1], list(subjects.values())[::-1], were_replays, cannot, after)


def _is_mlms(receipt: Mapping[str, Any]) -> bool:
    return bool(receipt["sender"] == replays.MLM)


def _until_now(wanted: Wanted) -> Wanted:
    return replace(wanted, until=wanted.until or dt.datetime.now(dt.UTC))


def _said(wanted: Wanted, after: Place | None) -> str:
    parts = {
        "file or number": wanted.search, "outcome": wanted.outcome, "sender": wanted.sender, "event": wanted.event,
        "since": wanted.since and f"{wanted.since:%Y-%m-%d %H:%M:%SZ}",
        "until": wanted.until and f"{wanted.until:%Y-%m-%d %H:%M:%SZ}",
        "no later than": after and f"{after.at:%Y-%m-%d %H:%M:%SZ}",
        "slower than": wanted.slower_s and f"{wanted.slower_s:g} s",
        "our data changed": {True: "yes", False: "no"}.get(wanted.changed) if wanted.changed is not None else None,
        "still waiting": "yes" if wanted.unserved else None,
    }  # fmt: skip
    return ", ".join(f"{name}: {value}" for name, value in parts.items() if value)
