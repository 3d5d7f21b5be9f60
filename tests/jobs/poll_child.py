"""A worker that polls the list and dies before it clears an entry: `poll_child.py SECONDS_AHEAD`."""

from __future__ import annotations

import datetime as dt
import os
import sys

import sqlalchemy as sa

from freshness.settings import load
from jobs.house import House


def main(ahead_s: float) -> None:
    house = House(load(os.environ), "tests")

    @sa.event.listens_for(house.engine, "begin")
    def set_clock(conn: sa.Connection) -> None:
        now = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead_s)
        conn.exec_driver_sql("SELECT set_config('mlm.now', %(now)s, true)", {"now": now.isoformat()})

    house.beat()
    poller = house.poller(lambda rings: None)
    poller.mlm.clear_modified = lambda name, app_code: os._exit(9)  # type: ignore[method-assign]
    poller.poll()


if __name__ == "__main__":
    main(float(sys.argv[1]))
