"""The spool on a real disk: what is whole counts, in its order, and nothing else does."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from freshness.errors import SettingError
from freshness.ledger.batches import Entry
from receiver.errors import TornBatch, Unspoolable
from receiver.spool import Depth, Spool

CAME = dt.datetime(2026, 11, 20, 13, 4, 5, 123456, tzinfo=dt.UTC)
ENTRY = Entry("R000123", "2026110096", "Modified", "2026-11-20T13:04:05.123")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def numbered(n: int) -> Entry:
    return replace(ENTRY, reference=f"R{n}")


def contents(spool: Spool) -> list[str | None]:
    return [entry.reference for path in spool.waiting() for entry in spool.read(path)]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)


def test_a_batch_is_read_as_it_was_put_with_the_time_it_came(spool: Spool) -> None:
    entries = [ENTRY, Entry(None, None, None, None, "not an object"), Entry("Ü\U0001f600", "…", "\ufffd", "(x)", None)]
    spool.put(entries, CAME)
    (path,) = spool.waiting()
    assert spool.read(path) == [replace(entry, received_at=CAME) for entry in entries]


def test_batches_wait_in_the_order_in_which_they_were_put_whoever_put_them(spool: Spool, tmp_path: Path) -> None:
    other = Spool(tmp_path / "spool")
    for n in range(12):
        (spool if n % 3 else other).put([numbered(n)], CAME)
    assert contents(spool) == contents(other) == [f"R{n}" for n in range(12)]
    assert spool.depth() == Depth(waiting=12, aside=0)


def test_many_at_once_each_keep_their_own_order_and_lose_nothing(tmp_path: Path) -> None:
    def put_ten(first: int) -> None:
        mine = Spool(tmp_path)
        for n in range(first, first + 10):
            mine.put([numbered(n)], CAME)

    threads = [threading.Thread(target=put_ten, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [int(str(reference)[1:]) for reference in contents(Spool(tmp_path))]
    assert sorted(seen) == list(range(80))
    for first in range(0, 80, 10):
        mine = [n for n in seen if first <= n < first + 10]
        assert mine == sorted(mine)


def test_files_are_for_nobody_else_to_read(spool: Spool, tmp_path: Path) -> None:
    spool.put([ENTRY], CAME)
    found = [path for path in (tmp_path / "spool").iterdir() if path.is_file()]
    assert len(found) >= 2
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700


def test_what_is_removed_waits_no_longer(spool: Spool) -> None:
    spool.put([numbered(1)], CAME)
    spool.put([numbered(2)], CAME)
    assert not spool.is_empty()
    spool.remove(spool.waiting()[:1])
    assert contents(spool) == ["R2"]
    spool.remove(spool.waiting())
    assert spool.is_empty()


def test_a_batch_cut_anywhere_is_known_to_be_torn(spool: Spool) -> None:
    spool.put([ENTRY], CAME)
    (path,) = spool.waiting()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TornBatch):
            spool.read(path)


def test_a_batch_changed_anywhere_is_known_to_be_torn(spool: Spool) -> None:
    spool.put([ENTRY], CAME)
    (path,) = spool.waiting()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(TornBatch):
            spool.read(path)


def test_a_block_of_zeros_behind_a_batch_costs_it_nothing(spool: Spool) -> None:
    spool.put([ENTRY], CAME)
    (path,) = spool.waiting()
    path.write_bytes(path.read_bytes() + bytes(512))
    assert [entry.reference for entry in spool.read(path)] == ["R000123"]


def test_what_a_later_version_appends_is_skipped(spool: Spool) -> None:
    import json
    import struct
    import zlib

    spool.put([ENTRY], CAME)
    (path,) = spool.waiting()
    head = struct.Struct(">8sII")
    said = json.loads(path.read_bytes()[head.size :])
    later = json.dumps([*said, {"new": True}]).encode()
    path.write_bytes(head.pack(b"mlmspool", len(later), zlib.crc32(later)) + later)
    assert spool.read(path) == [replace(ENTRY, received_at=CAME)]


def test_what_is_set_aside_is_kept_as_it_was_and_can_be_put_back(spool: Spool, tmp_path: Path) -> None:
    for n in (1, 2):
        spool.put([numbered(n)], CAME)
    first = spool.waiting()[0]
    said = first.read_bytes()
    spool.set_aside(first, "for a test")
    (kept,) = (tmp_path / "spool" / "aside").iterdir()
    assert (kept.read_bytes(), contents(spool), spool.depth()) == (said, ["R2"], Depth(waiting=1, aside=1))
    kept.rename(tmp_path / "spool" / kept.name)
    assert contents(spool) == ["R1", "R2"]


@pytest.mark.parametrize("said", [b"", b"\0" * 16, b"0000000000000001", b"not a number"])
def test_numbers_go_on_behind_what_is_there_though_a_power_cut_took_their_count(tmp_path: Path, said: bytes) -> None:
    before = Spool(tmp_path)
    for n in range(3):
        before.put([numbered(n)], CAME)
    before.set_aside(before.waiting()[2], "for a test")
    (tmp_path / "numbers").write_bytes(said)
    after = Spool(tmp_path)
    after.put([numbered(7)], CAME)
    assert contents(after) == ["R0", "R1", "R7"]
    assert after.waiting()[2].stem == "0000000000000004"


def test_what_a_killed_writer_left_is_set_aside_and_what_a_living_one_writes_is_not(
    spool: Spool, tmp_path: Path
) -> None:
    directory = tmp_path / "spool"
    (directory / "dead.writing").write_bytes(b"half")
    with (directory / "alive.writing").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        spool.set_unfinished_aside()
        assert (directory / "alive.writing").exists()
    assert [path.name for path in (directory / "aside").iterdir()] == ["dead.writing"]
    assert spool.is_empty()


def test_a_writer_killed_at_any_file_call_leaves_a_whole_batch_or_none(tmp_path: Path) -> None:
    """Processes of their own, each killed at its nth fsync, count or rename; the next meets what it left."""
    script = """
import os, signal, sys
from test_spool import *
def put_and_die_at(last):
    calls = 0
    def counted(call):
        def run(*arguments):
            nonlocal calls
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)
        return run
    spool = Spool(Path(sys.argv[1]) / str(last))
    os.fsync, os.pwrite, Path.rename = counted(os.fsync), counted(os.pwrite), counted(Path.rename)
    spool.put([numbered(9)], CAME)
    os._exit(0)
for last in range(1, 6):
    Spool(Path(sys.argv[1]) / str(last)).put([numbered(1)], CAME)
    child = os.fork()
    if child == 0:
        put_and_die_at(last)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(script, tmp_path).stdout.split() == ["-9", "-9", "-9", "-9", "0"]
    left = []
    for last in range(1, 6):
        spool = Spool(tmp_path / str(last))
        spool.set_unfinished_aside()
        spool.put([numbered(2)], CAME)
        left.append(contents(spool))
        assert not list((tmp_path / str(last)).glob("*.writing"))
    assert left == [["R1", "R2"]] * 3 + [["R1", "R9", "R2"]] * 2


def test_a_full_disk_takes_nothing_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the same call fails, at the same place."""
    script = """
import resource, sys
from test_spool import *
spool = Spool(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
spool.put([ENTRY], CAME)
try:
    spool.put([ENTRY] * 100, CAME)
except Unspoolable:
    print("refused", spool.is_writable())
spool.put([ENTRY], CAME)
"""
    done = run(script, tmp_path)
    assert (done.stdout.splitlines()[-1], done.returncode) == ("refused False", 0), done.stderr
    assert len(contents(Spool(tmp_path))) == 2
    assert not list(tmp_path.glob("*.writing"))


def test_one_drains_at_a_time_and_a_killed_one_no_longer(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with spool.drained_here() as first, Spool(tmp_path).drained_here() as second:
        assert (first, second) == (True, False)
    script = """
import sys
from test_spool import *
with Spool(Path(sys.argv[1])).drained_here() as ours:
    print(ours, flush=True)
    sys.stdin.read()
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv: Sequence[str] = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with spool.drained_here() as ours:
            assert not ours
        process.kill()
    with spool.drained_here() as ours:
        assert ours


def test_a_spool_that_can_be_written_to_says_so_and_leaves_no_trace(spool: Spool, tmp_path: Path) -> None:
    assert spool.is_writable()
    assert spool.is_empty()
    assert not list((tmp_path / "spool").glob("*.writing"))


def test_a_directory_that_is_gone_refuses_batches_and_is_not_writable(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool").rename(tmp_path / "gone")
    assert spool.is_empty()
    assert not spool.is_writable()
    with pytest.raises(Unspoolable):
        spool.put([ENTRY], CAME)


def test_a_place_where_no_directory_can_be_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="SPOOL_DIR: cannot be made"):
        Spool(tmp_path / "file" / "spool")
