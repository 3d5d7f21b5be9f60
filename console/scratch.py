"""A directory of our own under the system's temporary directory, gone when its block ends.

Whoever runs us, the rule is the same: nothing of an embedded server outlives the run. After a kill the directory
stays, and the next start removes it. Whether a directory is still in use is told by a lock on it, held by its
owner, which the kernel drops when the owner ends (a process id could name somebody else by then, or live in
another container); systemd-tmpfiles too keeps its hands off a locked directory.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .child import Account
from .errors import NoAccount

PREFIX = "mlm-freshness-"


def unprivileged() -> Account | None:
    """Whom to run servers as: None is ourselves; if we are root, `nobody`, or else the first who is not root.

    The user must stand in the password file: initdb looks its own name up.
    """
    if os.geteuid() != 0:
        return None
    others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    if not others:
        raise NoAccount("this machine knows no other user")
    entry = next((entry for entry in others if entry.pw_name == "nobody"), others[0])
    return Account(entry.pw_uid, entry.pw_gid)


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """An empty directory in `parent`, by default the system's temporary directory, for as long as the block runs.

    Others can pass through it (not list it) if we are root, so that an unprivileged server finds its own below.
    """
    parent = parent or _temporary()
    _remove_abandoned(parent)
    path, lock = _locked_directory(parent)
    try:
        if os.geteuid() == 0:
            path.chmod(0o711)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def reachable_by_others(path: Path) -> bool:
    """Can any user pass through the directories above `path`, and read and enter or run `path` itself?"""
    path = path.resolve()
    return path.stat().st_mode & 0o005 == 0o005 and all(above.stat().st_mode & 0o001 for above in path.parents)


def _temporary() -> Path:
    """The system's temporary directory; as root, one that others can reach (pam_tmpdir's are root's alone)."""
    candidates = [Path(tempfile.gettempdir())]
    if os.geteuid() != 0:
        return candidates[0]
    candidates += [Path("/tmp"), Path("/var/tmp")]  # noqa: S108  (mkdtemp makes the name in it)
    for path in candidates:
        if path.is_dir() and reachable_by_others(path):
            return path
    raise NoAccount("there is no temporary directory that another user can reach")


def _locked_directory(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(path)
        if lock is not None:
            return path, lock


def _lock(path: Path) -> int | None:
    """Lock a directory for this process: the open file that holds the lock, or None if another holds it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), os.stat(path)):
            return file
    except OSError:
        pass  # held by another, or removed by another between the two calls
    os.close(file)
    return None


def _remove_abandoned(parent: Path) -> None:
    for path in parent.glob(PREFIX + "*"):
        try:
            ours = path.lstat().st_uid == os.geteuid()
        except OSError:
            continue
        if ours and (lock := _lock(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
