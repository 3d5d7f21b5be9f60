"""How long a step waits, and how it tries again.

Who waits for a lock on a table makes everybody wait who comes later, so a step waits for a moment only, and then lets
everybody pass before it tries again. Steps are run one at a time over all processes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

#: Any number will do, as long as no other program takes the same one in this database.
MIGRATION_LOCK = 6_530_417_718

#: So long, at most, does whoever uses a table wait behind a step that waits for it.
LOCK_TIMEOUT_MS = 100

#: What runs longer belongs in a step of its own, in batches.
STATEMENT_TIMEOUT_S = 60

#: How often a step is tried, and the longest rest between two tries: some two minutes in all.
TRIES, LONGEST_REST_S = 40, 4.0

#: Another run is waited for so long.
OTHERS_WITHIN_S, LOOK_EVERY_S = 300.0, 0.2


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """No other run meanwhile. Asked for again and again, not waited for: a session that waits in the database would
    hold up the very index that the other run builds.

    Raises:
        TimeoutError: another run has not ended for minutes.
    """
    deadline = time.monotonic() + OTHERS_WITHIN_S
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK}):
        connection.rollback()
        if time.monotonic() > deadline:
            raise TimeoutError("another migration has been running for minutes")
        time.sleep(LOOK_EVERY_S)
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT_MS}ms'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.execute(text("RESET lock_timeout"))
        connection.execute(text("RESET statement_timeout"))
        connection.commit()


def patiently(connection: Connection, run: Callable[[], None]) -> None:
    """Run the steps; where one finds a table in use, again from that step on.

    Raises:
        OperationalError: a table was in use each time.
    """
    for again in range(1, TRIES + 1):
        try:
            run()
            return
        except OperationalError as error:
            if again == TRIES or not isinstance(error.orig, (LockNotAvailable, DeadlockDetected)):
                raise
            connection.rollback()
            time.sleep(random.uniform(0.5, 1) * min(LONGEST_REST_S, 0.1 * 2**again))  # noqa: S311 - no secret
