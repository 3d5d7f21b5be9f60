"""The poll list: MLM's own list of the files that changed since we last cleared them (docs/mlm-wire.md).

For each entry an order is committed, then the entry is cleared, then the bell is rung. Clearing again after a crash
costs nothing; losing an order would. An entry names a loan number, which may be new, another file's, or unknown here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

import structlog
from sqlalchemy import Engine

from freshness.bell import Bell, Ring
from freshness.ledger import backstops, files, orders
from freshness.ledger.backstops import Backstop
from freshness.ledger.orders import Placed
from freshness.rules import Rules
from mlm_client import errors as mlm_errors
from mlm_client.client import MlmClient
from mlm_client.polling import ModifiedFile

from .errors import TryAgain

log = structlog.get_logger(__name__)

#: MLM has most likely gone away when so many entries in a row fail; the rest stays listed for the next poll.
MOST_FAILURES = 3


@dataclass
class Tally:
    """What one poll came to: entries listed, orders placed, entries cleared, of files we don't have, failed."""

    listed: int = 0
    ordered: int = 0
    cleared: int = 0
    unknown: int = 0
    failed: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Poller:
    """Polls for one worker process; `mlm` is the client for bulk calls. Without an app code nothing is polled."""

    engine: Engine
    rules: Rules
    mlm: MlmClient
    bell: Bell
    worker_id: str
    is_away: Callable[[], bool]
    app_code: str | None
    every_s: float
    #: Of this process' threads.
    turn: threading.Lock = field(default_factory=threading.Lock)

    def poll(self) -> None:
        """Poll the list, if it is time and nobody else is at it."""
        if self.app_code is None or self.is_away() or not self.turn.acquire(blocking=False):
            return
        try:
            with self.engine.begin() as conn:
                taken = backstops.take_poll(conn, self.worker_id, self.every_s)
            if taken:
                self._poll_and_tell(self.app_code)
        finally:
            self.turn.release()

    def _poll_and_tell(self, app_code: str) -> None:
        tally = Tally()
        try:
            self._poll(app_code, tally)
        finally:
            with self.engine.begin() as conn:
                backstops.end_poll(conn, self.worker_id)
                backstops.count(
                    conn,
                    Backstop.POLL,
                    self.worker_id,
                    runs=1,
                    looked=tally.listed,
                    ordered=tally.ordered,
                    failed=tally.failed,
                    error=tally.error,
                )
        if tally.listed or tally.failed:
            log.info("poll.ended", **asdict(tally))

    def _poll(self, app_code: str, tally: Tally) -> None:
        try:
            listed = self.mlm.list_modified(app_code)
        except (mlm_errors.MlmError, TryAgain) as error:
            _failed(tally, error)
            return
        tally.listed, in_a_row = len(listed), 0
        for entry in listed:
            try:
                self._take_in(app_code, entry, tally)
                in_a_row = 0
            except (TryAgain, mlm_errors.SignInAgain, mlm_errors.SignInFailed) as error:
                _failed(tally, error)
                return
            except mlm_errors.MlmError as error:
                _failed(tally, error)
                in_a_row += isinstance(error, mlm_errors.Retry)
                if in_a_row >= MOST_FAILURES:
                    return

    def _take_in(self, app_code: str, entry: ModifiedFile, tally: Tally) -> None:
        """Order, clear, ring. The bell is rung even if the entry could not be cleared: the orders stand."""
        file_ids, ref = self._files_of(entry)
        cause = "the poll list names it" if entry.valid else "the poll list says that it was deleted"
        with self.engine.begin() as conn:
            placed = [orders.place(conn, file_id, cause, backstop=Backstop.POLL) for file_id in file_ids]
            if ref is not None:
                placed.append(files.import_file(conn, ref, cause, backstop=Backstop.POLL))
        tally.ordered += len(placed)
        tally.unknown += not placed
        try:
            self.mlm.clear_modified(entry.name, app_code)
            tally.cleared += 1
        except mlm_errors.NotFound:
            log.info("poll.not_there_to_clear", files=file_ids)  # renumbered meanwhile: it is listed by its new number
        finally:
            self.bell(self._rings(placed))

    def _files_of(self, entry: ModifiedFile) -> tuple[list[int], str | None]:
        """The ids of the files that the entry may mean, and the reference of one to be imported.

        By number, the old one too. Where none has it, or the file was renumbered, MLM is asked for the reference: it
        may be a file that we know by an older number still.
        """
        numbers = [entry.name] if entry.old_name is None else [entry.name, entry.old_name]
        with self.engine.begin() as conn:
            file_ids = files.find_by_number(conn, *numbers)
        if not entry.valid or (file_ids and entry.old_name is None):
            return file_ids, None
        try:
            ref = self.mlm.reference_of(entry.name)
        except (mlm_errors.NotFound, mlm_errors.GiveUp):
            return file_ids, None
        if ref is None:
            return file_ids, None
        with self.engine.begin() as conn:
            known = files.find_by_ref(conn, ref)
        if known is not None:
            return sorted({*file_ids, known.id}), None
        return file_ids, ref if self.rules.import_unknown else None

    def _rings(self, placed: Iterable[Placed]) -> list[Ring]:
        """Rings for these orders. One that a slice may have read for before the entry was cleared is placed anew: a
        change that came between that read and the clearing is on no list any more."""
        rings: list[Ring] = []
        for order in placed:
            with self.engine.begin() as conn:
                if orders.begun_on(conn, order):
                    cause = "read before the poll list was cleared"
                    order = orders.place(conn, order.file_id, cause, backstop=Backstop.POLL)
            rings += order.rings
        return rings


def _failed(tally: Tally, error: Exception) -> None:
    tally.failed += 1
    tally.error = f"{type(error).__name__}: {error}"
    log.warning("poll.failed", error=tally.error)
