"""What a worker does about a ring, for tests without a queue: in the product its actors do it (`jobs.declare`)."""

from __future__ import annotations

from freshness.bell import Ring, Work
from jobs.auditing import Auditor
from jobs.handlers import Clerk
from jobs.rounds import Checker


def answer(ring: Ring, clerk: Clerk, checker: Checker | None = None, auditor: Auditor | None = None) -> None:
    """Have it done by whoever does this work. Work of the backstops is not asked for where nobody is there for it."""
    match ring:
        case Ring(work=Work.HYDRATE_FILE):
            clerk.hydrate_file(ring.file_id)
        case Ring(work=Work.HYDRATE_CONCERN, concern=concern) if concern is not None:
            clerk.hydrate_concern(ring.file_id, concern)
        case Ring(work=Work.CAPTURE, own_write_id=own_write_id) if own_write_id is not None:
            clerk.capture(ring.file_id, own_write_id)
        case Ring(work=Work.CONFIRM):
            clerk.confirm(ring.file_id)
        case Ring(work=Work.CHECK) if checker is not None:
            checker.check(ring.file_id)
        case Ring(work=Work.AUDIT) if auditor is not None:
            auditor.audit(ring.file_id)
        case _:
            raise AssertionError(f"nobody is there for {ring}")
