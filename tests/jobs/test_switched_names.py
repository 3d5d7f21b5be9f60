"""The schedule's look at what `MLM_NAMES` switches: however many files there are, none is left waiting."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from freshness.settings import load
from jobs import sweeping
from jobs.house import House

MANY = 2 * sweeping.AT_ONCE + 1
STALE = "SELECT count(*) AS n FROM file_freshness WHERE served < ordered"

#: Every concern has served the one order of each file, but for fees.
WITHOUT_FEES = f"""
INSERT INTO file_freshness (ref, ordered) SELECT 'R' || i, 1 FROM generate_series(1, {MANY}) i;
INSERT INTO refresh_orders (file_id, number, cause) SELECT id, 1, 'import' FROM file_freshness;
INSERT INTO file_concerns (file_id, concern, served) SELECT id, concern, (concern <> 'fees')::int
FROM file_freshness CROSS JOIN unnest(string_to_array(%s, ' ')) AS concern;
"""


def look(environment: dict[str, str], engine: sa.Engine) -> int:
    """The schedule starts; how many files are stale then."""
    house = House(load(environment), "tests")
    house.ticks()["switches"].call()
    house.engine.dispose()
    with engine.begin() as conn:
        return int(conn.exec_driver_sql(STALE).scalar_one())


def test_however_many_files_a_switched_concern_leaves_behind_all_follow(
    environment: dict[str, str], engine: sa.Engine, tmp_path: Path
) -> None:
    concerns = "loan_fields borrowers assets liabilities employment real_properties incomes conditions fees"
    with engine.begin() as conn:
        for statement in (WITHOUT_FEES % f"'{concerns}'").split(";")[:-1]:
            conn.exec_driver_sql(statement)
    names = tmp_path / "names.toml"
    names.write_text("[concerns]\nfees = false\n")
    assert look(environment, engine) == MANY
    assert look(environment | {"MLM_NAMES": str(names)}, engine) == 0
    assert look(environment, engine) == MANY
