"""Where batches wait while PostgreSQL is away: files in SPOOL_DIR, one a batch, written out before the answer 202.

    SPOOL_DIR/0000000000000041.batch    waits; the number is its place in the one order of this directory
              <random>.writing          is being written, by who holds a lock on it; was never answered
              aside/                    what could not be read or decided: kept for a person, never tried again
              numbers                   the last number given; its lock is held for microseconds
              draining                  its lock is held by the one process that drains

The directory is for any number of receivers on one machine and lies on a local disk that outlives them. No spool
belongs to a process: what one that died has left is drained by any other, or by the next to start.

What is promised:

- **Durable.** `put` returns once the batch and its name are on the disk. A batch counts whole (length and checksum)
  or not at all. Torn, it is found, logged and set aside, and costs itself alone.
- **Order.** A batch that was answered 2xx before another one arrived is decided before it, whichever receivers of
  this directory took the two: while anything waits, new batches go behind it (`receiver.webhook`), and what waits is
  decided in the order of its numbers (`receiver.draining`). Batches under way at the same time have no order, as
  without a spool. Receivers with another SPOOL_DIR do not wait for this one, nor does anybody for what was set aside;
  there, as for what MLM itself sends late or in another order, the guard loses nothing (docs/protocol.md).
- **At least once.** A batch may be decided twice: if its commit's outcome was not known, if a process dies between a
  commit and the removal, or between the writing and the answer (then MLM sends it again). Harmless: the second time
  its stamp is held or ordered already; without one that the guard may believe it costs one more read. There are two
  receipts.

A file holds what receipts hold, mode 0600: reference, loan number, event, stamp, what is wrong. Never MLM's body; of
another sender's delivery its body alone, sealed with `FIELD_KEYS`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import msgspec
import structlog

from freshness.errors import SettingError
from freshness.ledger.batches import Entry
from freshness.ledger.spent import Once

from .errors import TornBatch, Unspoolable

log = structlog.get_logger(__name__)

WAITS, UNFINISHED = ".batch", ".writing"
ASIDE, NUMBERS, DRAINING = "aside", "numbers", "draining"

#: Of a batch of MLM's, and of another sender's delivery: a version from before sets that aside, and loses nothing.
_MAGIC, _MAGIC_OF_SENDERS = b"mlmspool", b"sndspool"
_HEAD = struct.Struct(">8sII")  # magic, the length of what follows, its CRC-32
_PROBE = bytes(4096)

#: What is kept of an entry, in this order.
_Kept = tuple[str | None, str | None, str | None, str | None, str | None]


class _Batch(msgspec.Struct, array_like=True):
    """What a file says, as JSON behind the head. A later version may append fields; this one skips them."""

    received_at: dt.datetime
    entries: list[_Kept]


class SealedBody(msgspec.Struct, array_like=True, frozen=True):
    """Another sender's delivery, as it waits, and what its file says. `once`: what proved it, if that proves no other:
    its digest and its end."""

    received_at: dt.datetime
    sender: str
    sealed: bytes
    once: tuple[bytes, dt.datetime] | None = None


@dataclass(frozen=True, slots=True)
class Depth:
    """How many batches wait, and how many were set aside."""

    waiting: int
    aside: int


class Spool:
    """One SPOOL_DIR. For any number of threads and processes at once."""

    def __init__(self, directory: Path) -> None:
        """Make the directory where it is missing.

        Raises:
            SettingError: there can be no such directory, or it cannot be written to; it names SPOOL_DIR.
        """
        self._directory = directory
        self._newest_found: int | None = None
        try:
            made = [each for each in (directory, *directory.parents) if not each.exists()]
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            (directory / ASIDE).mkdir(mode=0o700, exist_ok=True)
            for each in made:
                _sync(each.parent)
        except OSError as error:
            raise SettingError("SPOOL_DIR", f"cannot be made ({type(error).__name__}; it is {directory})") from None
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise SettingError("SPOOL_DIR", f"may not be written to by this user (it is {directory})")

    def put(self, entries: Sequence[Entry], received_at: dt.datetime) -> None:
        """Add a batch behind all that wait. When this returns, it outlives a power cut.

        Raises:
            Unspoolable: the disk does not take it. Nothing half-written is left.
        """
        self._put(_MAGIC, _Batch(received_at, [_kept(entry) for entry in entries]))

    def put_body(self, sender: str, sealed: bytes, received_at: dt.datetime, once: Once | None = None) -> None:
        """Add another sender's delivery, its body sealed, behind all that wait; likewise.

        Raises:
            Unspoolable: the disk does not take it. Nothing half-written is left.
        """
        spent = None if once is None else (once.digest, once.ends_at)
        self._put(_MAGIC_OF_SENDERS, SealedBody(received_at, sender, sealed, spent))

    def is_empty(self) -> bool:
        """Whether nothing waits. A directory that cannot be read says so too: PostgreSQL may still take batches."""
        try:
            with os.scandir(self._directory) as found:
                return not any(each.name.endswith(WAITS) for each in found)
        except OSError:
            return True

    def waiting(self) -> list[Path]:
        """All that wait, in their order; nothing that came before one of them is missing.

        Raises:
            OSError: the directory cannot be read.
        """
        with self._locked(NUMBERS):  # or a long listing might show a batch and have passed the place of an earlier one
            names = os.listdir(self._directory)
        return [self._directory / name for name in sorted(names) if name.endswith(WAITS)]

    def read(self, path: Path) -> list[Entry] | SealedBody:
        """The entries of a batch that waits, each with the time at which it was received; or another sender's body.

        Raises:
            TornBatch: it is not whole.
            OSError: it cannot be read.
        """
        data = path.read_bytes()
        magic, length, checksum = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (b"", 0, 0)
        said = data[_HEAD.size : _HEAD.size + length]
        if magic not in (_MAGIC, _MAGIC_OF_SENDERS) or len(said) != length or zlib.crc32(said) != checksum:
            raise TornBatch(path.name)
        try:
            if magic == _MAGIC_OF_SENDERS:
                return msgspec.json.decode(said, type=SealedBody)
            batch = msgspec.json.decode(said, type=_Batch)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise TornBatch(path.name) from None
        return [replace(Entry(*kept), received_at=batch.received_at) for kept in batch.entries]

    def remove(self, batches: Iterable[Path]) -> None:
        """Take away batches that were decided.

        Raises:
            OSError: one cannot be removed.
        """
        for path in batches:
            path.unlink(missing_ok=True)
        _sync(self._directory)

    def set_aside(self, path: Path, why: str) -> None:
        """Keep a file for a person to look at; it waits no longer. Moved back, a batch is tried again.

        Raises:
            OSError: it cannot be moved.
        """
        aside = self._directory / ASIDE
        aside.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.rename(aside / path.name)
            _sync(aside)
            _sync(self._directory)
            log.error("spool.set_aside", file=path.name, bytes=size, why=why)

    def set_unfinished_aside(self) -> None:
        """Set aside what processes that died have left half-written. None of it was ever answered.

        Raises:
            OSError: the directory cannot be read or written to.
        """
        with self._locked(NUMBERS):
            for path in self._directory.glob(f"*{UNFINISHED}"):
                with contextlib.suppress(BlockingIOError, FileNotFoundError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.set_aside(path, "its writer died; it was never answered")

    @contextlib.contextmanager
    def drained_here(self) -> Iterator[bool]:
        """Whether we are the one that drains, for as long as the block runs. A process that dies is it no longer.

        Raises:
            OSError: the directory cannot be written to.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._locked(DRAINING, wait=False))
                ours = True
            except BlockingIOError:
                ours = False
            yield ours

    def depth(self) -> Depth:
        """How much is in it.

        Raises:
            OSError: the directory cannot be read.
        """
        waiting = sum(name.endswith(WAITS) for name in os.listdir(self._directory))
        aside = self._directory / ASIDE
        return Depth(waiting, len(os.listdir(aside)) if aside.exists() else 0)

    def is_writable(self) -> bool:
        """Whether a small batch could be written, found out by writing as much and taking it away again."""
        try:
            with self._unfinished() as (path, file):
                _fill(file, _PROBE)
                path.unlink()
        except OSError:
            return False
        return True

    def _put(self, magic: bytes, batch: _Batch | SealedBody) -> None:
        said = msgspec.json.encode(batch)
        try:
            self._write(_HEAD.pack(magic, len(said), zlib.crc32(said)) + said)
            _sync(self._directory)
        except OSError as error:
            log.error("spool.not_written", error=_named(error))
            raise Unspoolable from None

    def _write(self, data: bytes) -> None:
        with self._unfinished() as (path, file):
            _fill(file, data)
            with self._locked(NUMBERS) as numbers:
                path.rename(self._directory / f"{self._next(numbers):016d}{WAITS}")

    @contextlib.contextmanager
    def _unfinished(self) -> Iterator[tuple[Path, IO[bytes]]]:
        """A new file that is ours to write: locked while we live, gone if the block fails."""
        path = self._directory / f"{uuid.uuid4().hex}{UNFINISHED}"
        with self._locked(NUMBERS):  # nobody takes it for a dead process's before it is locked
            file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            with file:
                yield path, file
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _next(self, numbers: int) -> int:
        """The number behind all that were given, under the lock. A power cut may have taken the file's word for it,
        so a process looks once at what is there."""
        if self._newest_found is None:
            names = [path.stem for path in self._directory.rglob(f"*{WAITS}")]
            self._newest_found = max((int(name) for name in names if name.isdecimal()), default=0)
        text = os.pread(numbers, 16, 0)
        number = max(int(text) if text.isdigit() else 0, self._newest_found) + 1
        os.pwrite(numbers, b"%016d" % number, 0)
        return number

    @contextlib.contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[int]:
        """Hold one of the locks, against other threads too: each time the file is opened anew."""
        descriptor = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield descriptor
        finally:
            os.close(descriptor)


def _kept(entry: Entry) -> _Kept:
    return entry.reference, entry.loan_number, entry.event_type, entry.stamp_text, entry.fault


def _fill(file: IO[bytes], data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    """Make the names in a directory outlive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(error: OSError) -> str:
    """The error without its path."""
    return error.strerror or type(error).__name__
