"""The limit of receiving: the ledger's own statements on decoded entries, one connection, no HTTP, no bell.

    DATABASE_URL=… python -m benchmarks.setwise JOB

Each process takes every n-th batch. Says when it is ready, begins when it is told to, and prints how many entries it
has committed within the window, and in all.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import islice

from freshness.ledger.batches import receive
from freshness.rules import rules_of
from freshness.settings import load
from jobs.house import make_engine

from . import files


def main() -> None:
    """Run one job."""
    job = json.loads(sys.argv[1])
    rules, engine = rules_of(load(os.environ)), make_engine(os.environ["DATABASE_URL"], 1, "setwise")
    changes = files.changes(job["files"])
    each = (list(islice(changes, job["batch"])) for _ in range(job["batches"]))
    mine = iter([[files.entry(*change) for change in batch] for batch in islice(each, job["first"], None, job["step"])])
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    first, last = began + job["warm_s"], began + job["warm_s"] + job["seconds"]
    inside = total = 0
    while (now := time.perf_counter()) < last:
        batch = next(mine)
        with engine.begin() as conn:
            receive(conn, rules, batch)
        total += len(batch)
        inside += len(batch) if now >= first else 0
    print(json.dumps({"inside": inside, "total": total, "seconds": job["seconds"]}))


if __name__ == "__main__":
    main()
