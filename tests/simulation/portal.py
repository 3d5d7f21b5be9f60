"""The portal's writes in a history: each way that the product offers, around a real Save, with its local half."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from random import Random

from freshness import capture_mark, own_write
from freshness.errors import UnknownFile
from mlm_client.errors import MlmError
from mlm_client.sandbox import files as mlm_files
from mlm_client.sandbox.server import Sandbox
from mlm_client.saving import SaveContent

from .house import House

Write = Callable[[], None]


class WriteRefused(Exception):
    """The portal's own code fails inside its write."""


class Portal:
    """Portal code. What it writes is a value of loan fields: an address, or the amount, on which others depend."""

    def __init__(self, house: House, sandbox: Sandbox, lot: Random) -> None:
        self._house = house
        self._sandbox = sandbox
        self._lot = lot
        self._written = 0

    def some_write(self, ref: str) -> tuple[str, Write]:
        """One of the ways, drawn by lot."""
        way = self._lot.choice(["captured", "captured", "not captured", "fails", "short", "over HTTP"])
        text = self._text()
        match way:
            case "captured":
                write = lambda: self.python(ref, "sSpAddr", "property_address", text)  # noqa: E731
            case "not captured":
                amount = f"{self._lot.randrange(100, 900)}000.00"
                write = lambda: self.python(ref, "sLAmtCalc", "loan_amount", amount, capture=False)  # noqa: E731
            case "fails":
                write = lambda: self.python(ref, "sSpAddr", "property_address", text, fails=True)  # noqa: E731
            case "short":
                write = lambda: self.short(ref, text)  # noqa: E731
            case _:
                write = lambda: self.over_http(ref, text)  # noqa: E731
        return f"write {way}", write

    def python(self, ref: str, name: str, column: str, text: str, *, capture: bool = True, fails: bool = False) -> None:
        """`own_write` around a Save and its local half."""
        with self._house.session() as session, suppress(MlmError, WriteRefused, UnknownFile):
            row = self._house.owner(session, ref)
            if row is None:
                return
            session.rollback()
            with own_write(session, row, capture):
                self._save(ref, name, text)
                if fails:
                    raise WriteRefused
                setattr(row, column, text)
            session.commit()

    def short(self, ref: str, text: str) -> None:
        """A Save and its local half, and `capture_mark` after it."""
        with self._house.session() as session, suppress(MlmError, UnknownFile):
            row = self._house.owner(session, ref)
            if row is None:
                return
            since = dt.datetime.fromtimestamp(self._house.postgres.clock.now, dt.UTC)
            session.rollback()
            self._save(ref, "sSpAddr", text)
            row.property_address = text
            capture_mark(session, row, since if self._lot.random() < 0.7 else None)
            session.commit()

    def over_http(self, ref: str, text: str) -> None:
        """A portal in another language: it registers, saves, commits its local half, and exits."""
        kind = "leads" if self._sandbox.store.newest(ref).content.is_lead else "loans"
        path = f"/api/v1/{kind}/{ref}/mlm/own-writes"
        status, answer = self._house.post(path, {"capture": True})
        if status != 201:
            return
        saved = True
        try:
            self._save(ref, "sSpAddr", text)
        except MlmError:
            saved = False
        if saved:
            with self._house.session() as session:
                row = self._house.owner(session, ref)
                if row is not None:
                    row.property_address = text
                session.commit()
        self._house.post(f"{path}/{answer['id']}/exit", {"ok": saved})

    def _save(self, ref: str, name: str, text: str) -> None:
        with suppress(mlm_files.UnknownFile):
            number = self._sandbox.store.newest(ref).content.number
            self._house.mlm.save(number, SaveContent(fields={name: text}))

    def _text(self) -> str:
        self._written += 1
        return f"{self._written} Portal Way"
