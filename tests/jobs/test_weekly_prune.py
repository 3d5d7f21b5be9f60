"""The weekly prune: done once a week, and asked for again while it could not be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from in_process import InProcess

from freshness.ledger import pruning
from mlm_client.sandbox.server import SandboxServer

CLAIMS = "SELECT job FROM schedule_claims"
WEEKS = "SELECT FROM pg_inherits WHERE inhparent = 'mlm_webhook_receipts'::regclass"
USE = "INSERT INTO mlm_webhook_receipts (outcome, reason) VALUES ('held', 'held')"


@pytest.fixture
def here(environment: dict[str, str]) -> Iterator[InProcess]:
    """A house half a year after it was migrated, all of whose weeks are old."""
    with SandboxServer(files=1) as mlm:
        here = InProcess(environment, mlm)
        here.later(183 * 86_400)
        yield here
        here.close()


def test_old_weeks_go_and_the_week_is_claimed(here: InProcess) -> None:
    here.clerk.prune_receipts()
    assert len(here.rows(WEEKS)) == 1, "the default partition alone"
    assert [row.job for row in here.rows(CLAIMS)] == ["receipts.prune"]


def test_a_prune_that_found_receipts_in_use_gives_its_week_back(
    here: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "TRY_AGAIN_S", 0.0)
    before = len(here.rows(WEEKS))
    with here.house.engine.begin() as conn:
        conn.exec_driver_sql(USE)
        here.clerk.prune_receipts()
        assert len(here.rows(WEEKS)) == before
        assert here.rows(CLAIMS) == []
    here.clerk.prune_receipts()
    assert len(here.rows(WEEKS)) == 1


def test_a_prune_that_fails_gives_its_week_back(here: InProcess) -> None:
    here.rows("ALTER TABLE slice_runs RENAME TO for_now")
    with pytest.raises(Exception, match="slice_runs"):
        here.clerk.prune_receipts()
    assert here.rows(CLAIMS) == []
