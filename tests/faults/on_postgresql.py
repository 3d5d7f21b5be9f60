"""Faults that strike PostgreSQL, and the disk that stands in for it."""

from __future__ import annotations

import resource
import signal
import time

from .house import RECEIVER, until
from .scene import Scene, under_load
from .watching import now

AWAY_S = 20.0
#: A file may grow to so many bytes and no further: a batch's file breaks off in the middle.
FULL_AT_BYTES = 64
FULL_S = 4.0

#: How many seconds PostgreSQL is away before and after the disk is full.
BESIDE_S = 3.0

_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL
"""


def restarted(scene: Scene) -> float:
    """Restart PostgreSQL in good order (`pg_ctl -m fast`): sessions are ended, transactions rolled back."""
    scene.house.postgresql.stop()
    scene.house.postgresql.start()
    return now()


def crashed(scene: Scene) -> float:
    """Restart PostgreSQL as after a crash (`pg_ctl -m immediate`): it recovers from its log."""
    process = scene.house.postgresql.process
    assert process is not None
    process.send_signal(signal.SIGQUIT)
    process.wait()
    scene.house.postgresql.start()
    return now()


def away(scene: Scene) -> float:
    """Stop PostgreSQL for a while: batches go to the spool."""
    scene.house.postgresql.stop()
    time.sleep(AWAY_S)
    scene.house.postgresql.start()
    since = now()
    scene.must(scene.account.answers[202], "nothing was answered 202")
    scene.must(not scene.account.answers[503], f"{scene.account.answers[503]} answers were 503")
    return since


def connections_cut(scene: Scene) -> float:
    """End every connection to PostgreSQL."""
    scene.note(f"{scene.house.number(_CUT)} connections cut")
    return now()


def spool_full(scene: Scene) -> float:
    """Fill the receiver's disk while PostgreSQL is away: then nothing can be promised, and nothing is.

    "Full" is a limit on the size of files (RLIMIT_FSIZE) that the receiver meets in the middle of a batch's file: the
    write fails there as on a full disk, for any user.
    """
    pid, answers = scene.house.pid(RECEIVER), scene.account.answers
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    scene.house.postgresql.stop()
    until(lambda: answers[202], "a batch is answered 202")
    time.sleep(BESIDE_S)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_AT_BYTES, unlimited[1]))
    until(lambda: answers[503], "a batch is answered 503")
    time.sleep(FULL_S)
    spooled = answers[202]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    until(lambda: answers[202] > spooled, "a batch is answered 202 again")
    time.sleep(BESIDE_S)
    scene.house.postgresql.start()
    since = now()
    scene.must(not scene.account.without_retry_after, "a 503 bore no Retry-After")
    scene.must(not list((scene.house.spool / "aside").iterdir()), "a batch was set aside")
    return since


FAULTS = (
    under_load("postgres-restarted", "PostgreSQL restarted in good order", 15, restarted),
    under_load("postgres-crashed", "PostgreSQL stopped at once, and recovering", 15, crashed),
    under_load("postgres-away", f"PostgreSQL away for {AWAY_S:g} s", 15, away),
    under_load("connections-cut", "every connection to PostgreSQL cut", 10, connections_cut),
    under_load("spool-full", "PostgreSQL away, and the disk of the spool full", 15, spool_full),
)
