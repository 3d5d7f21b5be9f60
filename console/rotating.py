"""A rotation of `FIELD_KEYS` from beginning to end: what each key has sealed, then pass after pass until the newest has
sealed all that can be opened.

    now = standing(engine)
    for lot in rotate(engine, keys): ...
    after = standing(engine)
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from freshness.field_keys import FieldKeys
from freshness.ledger import rotation
from freshness.ledger.rotation import Lot

#: A row that is in use is free a moment later. What is still under an older key after so many passes is written under
#: it all the time.
PASSES, REST_S = 20, 0.5


@dataclass(frozen=True, slots=True)
class Standing:
    """How many values each key has sealed, by table and by the key's id."""

    tables: Mapping[str, Counter[str]]

    @property
    def by_key(self) -> Counter[str]:
        """The same over all tables."""
        return sum(self.tables.values(), Counter())

    def older(self, keys: FieldKeys) -> dict[str, int]:
        """What keys of ours other than the newest have sealed."""
        return {key: n for key, n in self.by_key.items() if key in keys.ids[1:]}

    def lost(self, keys: FieldKeys) -> dict[str, int]:
        """What keys have sealed that we do not hold."""
        return {key: n for key, n in self.by_key.items() if key not in keys.ids}


def standing(engine: Engine) -> Standing:
    """How it stands now. Looks through every table with sealed columns."""
    found = {}
    for table in rotation.sealed_tables():
        with engine.begin() as conn:
            found[table.name] = rotation.keys_in_use(conn, table)
    return Standing(found)


def rotate(engine: Engine, keys: FieldKeys) -> Iterator[Lot]:
    """Every lot of every pass. It ends when there is nothing more that it can seal anew, or it has tried often."""
    for again in range(PASSES):
        if again:
            time.sleep(REST_S)
        for table in rotation.sealed_tables():
            yield from rotation.rotate(engine.begin, keys, table)
        if not standing(engine).older(keys):
            return
