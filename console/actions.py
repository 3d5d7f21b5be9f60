"""Who did what: each action of the web console is a row, written before it begins and brought up to date as it goes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

#: An action that says nothing of itself for so long was broken off: its process ended.
BROKEN_OFF_AFTER = dt.timedelta(seconds=60)

_BEGIN = """
INSERT INTO console_actions (who, what, on_what, wanted, reached, result)
VALUES (%(who)s, %(what)s, %(on_what)s, %(wanted)s, %(reached)s, %(result)s) RETURNING id
"""

_MOVE = """
UPDATE console_actions SET reached = %(reached)s, result = %(result)s, moved_at = mlm_now() WHERE id = %(id)s
"""

_COLUMNS = "id, at, who, what, on_what, wanted, reached, result, moved_at, mlm_now() AS now"

_LIST = f"""
SELECT {_COLUMNS} FROM console_actions
WHERE id < coalesce(%(before)s::bigint, 9223372036854775807) AND (%(who)s::text IS NULL OR who = %(who)s)
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608 - column names of ours

_UNDER_WAY = f"""
SELECT {_COLUMNS} FROM (SELECT * FROM console_actions ORDER BY id DESC LIMIT 200) newest
WHERE what IN ('redrive', 'replay of many')
  AND (result IS NULL OR moved_at > mlm_now() - interval '10 minutes') ORDER BY id DESC LIMIT 5
"""  # noqa: S608


class What(StrEnum):
    """What can be done."""

    REFRESH = "refresh"
    REPLAY = "replay"
    REPLAY_MANY = "replay of many"
    REDRIVE = "redrive"
    EXPORT = "export"
    SIGN_IN = "sign in"
    SIGN_OUT = "sign out"


@dataclass(frozen=True, slots=True)
class Action:
    """One action: who, when, what, on which; for how many it was meant, how many it has reached, what came of it."""

    id: int
    at: dt.datetime
    who: str
    what: str
    on_what: str | None
    wanted: int
    reached: int
    result: str | None
    moved_at: dt.datetime
    now: dt.datetime

    @property
    def broken_off(self) -> bool:
        """Whether it never ended: its process did."""
        return self.result is None and self.now - self.moved_at > BROKEN_OFF_AFTER


def record(
    conn: Connection, who: str, what: What, on_what: str | None, *, wanted: int, reached: int = 0,
    result: str | None = None,
) -> int:  # fmt: skip
    """Write down an action; its id. One without a result is under way."""
    parameters = {"who": who, "what": what.value, "on_what": on_what, "wanted": wanted}
    return int(conn.exec_driver_sql(_BEGIN, {**parameters, "reached": reached, "result": result}).scalar_one())


def move(conn: Connection, action: int, reached: int, result: str | None = None) -> None:
    """Say how far it is, or how it ended."""
    conn.exec_driver_sql(_MOVE, {"id": action, "reached": reached, "result": result})


def listed(conn: Connection, *, before: int | None = None, who: str | None = None, limit: int = 50) -> list[Action]:
    """The newest actions before that one, newest first."""
    return [Action(*row) for row in conn.exec_driver_sql(_LIST, {"before": before, "who": who, "limit": limit})]


def under_way(conn: Connection) -> list[Action]:
    """Redrives and replays of many that are under way, or have ended within the last minutes."""
    return [Action(*row) for row in conn.exec_driver_sql(_UNDER_WAY)]
