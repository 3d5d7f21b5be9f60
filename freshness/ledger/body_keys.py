"""The keys of other senders' bodies: one a week, random, itself sealed with `FIELD_KEYS`.

A body is sealed with the key of the week it is written in. Once the week's bodies are pruned its key is deleted, and
whatever is left of them on a disk, in a replica or in a log of PostgreSQL's opens no more. To rotate `FIELD_KEYS` is
to seal some dozen week keys anew, not every body.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from ..errors import FieldKeyError, KeyNotHeld
from ..field_keys import FieldKeys

#: The columns that `BodyKeys.open` needs, of bodies `b`; the join that they need.
COLUMNS = "b.body_encrypted, b.key_week, k.key_encrypted"
JOIN = "LEFT JOIN body_keys k ON k.week = b.key_week"

_WEEK = "date_trunc('week', mlm_now() AT TIME ZONE 'UTC')::date"

#: The columns by which any statement finds this week's key.
THIS_WEEK = f"{_WEEK} AS week, (SELECT key_encrypted FROM body_keys WHERE week = {_WEEK}) AS week_key"  # noqa: S608
_THIS_WEEK = f"SELECT {THIS_WEEK}"
_NEWEST = "SELECT key_encrypted FROM body_keys ORDER BY week DESC LIMIT 1"
_MAKE = "INSERT INTO body_keys (week, key_encrypted) VALUES (%(week)s, %(sealed)s) ON CONFLICT DO NOTHING"

_DROP = """
DELETE FROM body_keys k WHERE k.week + 7 <= (%(before)s::timestamptz AT TIME ZONE 'UTC')::date
AND NOT EXISTS (SELECT FROM sender_bodies b WHERE b.key_week = k.week)
"""


@dataclass(frozen=True, slots=True)
class WeekKey:
    """What bodies of one week are sealed with."""

    week: dt.date
    keys: FieldKeys = field(repr=False)

    def seal(self, body: str) -> bytes:
        """The body, sealed."""
        return self.keys.seal(body)


class BodyKeys:
    """The week keys, as far as `FIELD_KEYS` open them."""

    def __init__(self, keys: FieldKeys) -> None:
        self._keys = keys

    def this_week(self, conn: Connection, found: Row[Any] | None = None) -> WeekKey:
        """This week's key, made now if nobody has made it. `found`: what a statement has found by `THIS_WEEK`.

        It is read in the transaction that its bodies are written in, and kept by nobody: a key whose making is rolled
        back goes with every body that it has sealed.

        Raises:
            FieldKeyError: none of our keys opens it; or it is to be made, and none opens the one before.
        """
        found = found or conn.exec_driver_sql(_THIS_WEEK).one()
        if found.week_key is None:
            self._must_hold_the_newest(conn)
            made = base64.b64encode(os.urandom(32)).decode()
            conn.exec_driver_sql(_MAKE, {"week": found.week, "sealed": self._keys.seal(made)})
            found = conn.exec_driver_sql(_THIS_WEEK).one()
        return WeekKey(found.week, self._opened(found.week_key))

    def open(self, sealed: bytes, week: dt.date | None, key: bytes | None) -> str:
        """A body, by its row's `COLUMNS`. One without a week was sealed with `FIELD_KEYS` themselves.

        Raises:
            FieldKeyError: its week's key was dropped, or cannot be opened.
        """
        if week is None:
            return self._keys.open(sealed)
        if key is None:
            raise FieldKeyError(f"the key of the bodies of the week of {week} was dropped")
        return self._opened(key).open(sealed)

    def _must_hold_the_newest(self, conn: Connection) -> None:
        """With a wrong key of `FIELD_KEYS` no week is begun: nobody else could read its bodies."""
        newest = conn.exec_driver_sql(_NEWEST).scalar()
        if newest is not None and (key := FieldKeys.id_of(newest)) not in self._keys.ids:
            raise KeyNotHeld(key, ["body_keys"])

    def _opened(self, sealed: bytes) -> FieldKeys:
        return FieldKeys((base64.b64decode(self._keys.open(sealed)),))


def drop_old(conn: Connection, before: dt.datetime) -> int:
    """Delete the keys of weeks that ended before this and have no body left; how many they were."""
    return int(conn.exec_driver_sql(_DROP, {"before": before}).rowcount)
