"""What pages say on a bad night: Redis is away, MLM is, no worker runs, PostgreSQL is gone. None of them breaks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psycopg
import pytest
import redis
import sqlalchemy as sa
from a_console import OPERATOR, USERS, Console, Person, console
from databases import DATABASE
from scenes import stale
from test_draining import tile

from console import away
from freshness.ledger import workers
from freshness.settings import load
from jobs.errors import MlmAway
from jobs.pacing import Pacer
from mlm_client.errors import Throttled

NO_WORKER = "No worker is running"
NO_SCHEDULER = "No scheduler is running"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A Redis that is away: a port of ours at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{taken.getsockname()[1]}/0"


@pytest.fixture
def without_redis(engine: sa.Engine, environment: dict[str, str], nowhere: str) -> Iterator[Person]:
    stale(engine, "R000001")
    with console(engine, environment | {"CONSOLE_USERS": USERS, "REDIS_URL": nowhere}) as running:
        yield running.person(OPERATOR)


def test_without_redis_every_page_but_the_bells_is_there_and_says_so(without_redis: Person) -> None:
    for path in ("/", "/queues"):
        assert "Redis is away (ConnectionError)" in without_redis.page(path)
    assert tile(without_redis.page("/"), "MLM") == "unknown circuit not known"
    bells = without_redis.get("/queues/bells/loan-sync")
    assert bells.status_code == 503
    assert "Redis is away: the bells cannot be seen. Nothing is lost." in bells.text
    for path in ("/receipts", "/files", "/files/R000001", "/refused", "/queues/redrive", "/receipts/replay"):
        without_redis.page(path)


def test_without_redis_a_files_page_says_what_explain_says_of_mlm(
    without_redis: Person, environment: dict[str, str], nowhere: str
) -> None:
    circuit, unknown = away.look(load(environment | {"REDIS_URL": nowhere}))
    said = away.told(circuit, unknown)
    assert said is not None
    assert said.startswith("Whether MLM is away is not known: Redis: ")
    assert said in without_redis.page("/files/R000001")


def test_without_redis_a_file_can_be_refreshed(without_redis: Person) -> None:
    assert without_redis.post("/refresh/R000001").status_code == 303


def test_an_open_circuit_is_said_with_its_reason_wherever_something_waits(
    web: Console, reader: Person, environment: dict[str, str]
) -> None:
    stale(web.engine, "R000001")
    for path in ("/", "/queues", "/files/R000001"):
        assert "MLM is away" not in reader.page(path)
    with (
        redis.Redis.from_url(environment["REDIS_URL"]) as client,
        pytest.raises(MlmAway),
        Pacer(client, limit=1, rate=1.0).place(prompt=True, deadline_s=1),
    ):
        raise Throttled("fewer", 429).during("LoadByRefNumber", "R000002")
    other = web.person(OPERATOR)
    for path in ("/queues", "/files/R000001"):
        page = other.page(path)
        assert "MLM is away since" in page
        assert "fewer (HTTP 429)" in page
    assert tile(other.page("/?window=6h"), "MLM") in ("away circuit open", "away circuit half-open")


@pytest.mark.parametrize(
    ("living", "said", "unsaid"),
    [
        ((), NO_WORKER, NO_SCHEDULER),
        ((workers.SCHEDULER,), NO_WORKER, NO_SCHEDULER),
        ((workers.WORKER,), NO_SCHEDULER, NO_WORKER),
        ((workers.WORKER, workers.SCHEDULER), "Overview", "is running: "),
    ],
)
def test_that_nobody_works_is_said(
    web: Console, reader: Person, living: tuple[str, ...], said: str, unsaid: str
) -> None:
    stale(web.engine, "R000001")
    with web.engine.begin() as conn:
        for number, process in enumerate(living):
            workers.beat(conn, f"one-{number}", "host", number + 1, process)
    overview = reader.page("/")
    assert said in overview
    assert unsaid not in overview
    without = workers.WORKER not in living
    for path in ("/queues", "/files/R000001"):
        assert (NO_WORKER in reader.page(path)) == without, path


def test_without_postgresql_every_page_says_so_and_comes_back_by_itself(web: Console, operator: Person) -> None:
    stale(web.engine, "R000001")
    name = web.engine.url.database
    with psycopg.connect(os.environ[DATABASE], autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        for path in ("/", "/receipts", "/files", "/files/R000001", "/queues", "/actions", "/refused"):
            answer = operator.get(path)
            assert answer.status_code == 503, path
            assert "PostgreSQL cannot be reached" in answer.text
            assert name not in answer.text
        assert operator.post("/refresh/R000001").status_code == 503
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    assert operator.get("/").status_code == 200
