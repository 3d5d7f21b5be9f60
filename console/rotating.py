"""A rotation of `FIELD_KEYS` from beginning to end: what each key has sealed, then pass after pass until the newest has
sealed all that can be opened.

    now = standing(engine)
    rotation = Rotation(engine, keys)
    for lot in rotation.run(): ...
    after, broken = standing(engine), rotation.broken
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from freshness.field_keys import FieldKeys
from freshness.ledger import rotation
from freshness.ledger.rotation import Broken, Lot

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

    def older(self, keys: FieldKeys) -> Counter[str]:
        """What keys of ours other than the newest have sealed."""
        return Counter({key: n for key, n in self.by_key.items() if key in keys.ids[1:]})

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


@dataclass
class Rotation:
    """One rotation, pass after pass. `broken` are the values that the latest pass could not open with their own key."""

    engine: Engine
    keys: FieldKeys
    broken: list[Broken] = field(default_factory=list)

    def run(self) -> Iterator[Lot]:
        """Every lot of every pass. It ends when there is nothing more that it can seal anew, or it has tried often."""
        for again in range(PASSES):
            if again:
                time.sleep(REST_S)
            self.broken = []
            for table in rotation.sealed_tables():
                for lot in rotation.rotate(self.engine.begin, self.keys, table):
                    self.broken += lot.broken
                    yield lot
            if standing(self.engine).older(self.keys).total() <= len(self.broken):
                return
