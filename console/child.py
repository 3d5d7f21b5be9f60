"""A child that dies with its parent, even when the parent is killed with SIGKILL, and can run as another user.

`command(...)` wraps a command line so that this file runs first, as a script, in the child: it gives up root, asks
the kernel for a signal on the parent's death, and becomes the command by exec (the process id stays). A script and
not `preexec_fn`, which may deadlock in a process with threads; in this order because a change of user clears the
request (prctl(2), PR_SET_PDEATHSIG).

Two limits. The kernel sends the signal when the *thread* that started the child ends, so start children from a
thread that outlives them. And only Linux has it: elsewhere a child outlives a parent that was killed.

Imports the standard library only: the child runs without site-packages.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

PR_SET_PDEATHSIG = 1


class Account(NamedTuple):
    """A user to run a child as, by number."""

    uid: int
    gid: int


def command(argv: Sequence[str], on_parents_death: signal.Signals, account: Account | None = None) -> list[str]:
    """The command line to start instead of `argv`. `account`: run it as this user (we are root then)."""
    uid, gid = account or (-1, -1)
    shim = [sys.executable, "-I", "-S", __file__, os.getpid(), int(on_parents_death), uid, gid]
    return [*map(str, shim), *argv]


def _become(parent: int, death_signal: int, uid: int, gid: int, argv: list[str]) -> None:
    if sys.platform == "linux":
        import ctypes  # while we are root still: the interpreter may lie where the other user cannot read

        prctl = ctypes.CDLL(None).prctl
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        sys.exit("the parent had ended already")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by the interpreter; exec would hand that on
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(argv[0], argv)  # noqa: S606  (no shell is meant)


if __name__ == "__main__":
    try:
        parent, death_signal, uid, gid = map(int, sys.argv[1:5])
        _become(parent, death_signal, uid, gid, sys.argv[5:])
    except OSError as error:
        sys.exit(f"{sys.argv[5]}: {error.strerror}")
