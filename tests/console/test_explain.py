"""`freshness explain` while MLM is away: a file that waits says so, as `freshness queues` does."""

from __future__ import annotations

import pytest
import redis
from from_outside import Run, objects

from jobs.circuit import circuit_state
from jobs.errors import MlmAway
from jobs.pacing import Pacer
from mlm_client.errors import Throttled

WHY = "Throttled: LoadByRefNumber 'R000002': fewer (HTTP 429)"


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url)


@pytest.fixture
def since(client: redis.Redis) -> str:
    """MLM throttles us; when the circuit opened."""
    with pytest.raises(MlmAway), Pacer(client, limit=1, rate=1.0).place(prompt=True, deadline_s=1):
        raise Throttled("fewer", 429).during("LoadByRefNumber", "R000002")
    opened = circuit_state(client).since
    assert opened is not None
    return opened.strftime("%Y-%m-%d %H:%M:%S")


def test_a_file_that_is_stale_while_mlm_is_away_says_so_as_queues_does(loan: str, since: str, run: Run) -> None:
    shown = run("explain", loan).stdout
    said = next(line for line in shown.splitlines() if line.startswith("MLM is away since "))
    assert since in said
    assert WHY in shown
    assert said in run("queues").stdout


def test_a_script_gets_the_circuit_as_queues_shows_it(loan: str, since: str, run: Run) -> None:
    (told,) = objects(run("explain", loan, "--json"))
    shown = objects(run("queues", "--json"))[0]["circuit"]
    assert told["circuit"].keys() == shown.keys()
    assert (told["state"], told["circuit"]["why"], told["circuit"]["since"]) == ("stale", WHY, shown["since"])


def test_while_mlm_answers_nothing_is_said(loan: str, run: Run) -> None:
    assert "away" not in run("explain", loan).stdout
    assert objects(run("explain", loan, "--json"))[0]["circuit"]["state"] == "closed"


@pytest.mark.parametrize(("url", "why"), [("redis://127.0.0.1:1/0", "Redis: "), ("", "REDIS_URL is not set")])
def test_without_redis_the_rest_is_told_and_that_this_is_not_known(loan: str, url: str, why: str, run: Run) -> None:
    done = run("explain", loan, REDIS_URL=url)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Whether MLM is away is not known: {why}" in done.stdout
    assert objects(run("explain", loan, "--json", REDIS_URL=url))[0]["circuit"] is None
