"""The least that a job can be which keeps a copy fresh: Dramatiq calls MLM with zeep and commits one row, nothing else.

    JOB='{"redis_url": …, "database_url": …, "upstream_url": …, "questions": […]}' python -m …peers.plain_job

One process with eight threads, one client of zeep's for all of them, its WSDL read once, and a connection to PostgreSQL
for each. What MLM says is not looked at. Runs until SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dramatiq
import httpx
import psycopg
import zeep
from dramatiq.brokers.redis import RedisBroker

import mlm_client
from mlm_client.sandbox.server import CLIENT_ID, CLIENT_SECRET, LOAN_PATH, TOKEN_PATH

THREADS = 8
QUEUE, ACTOR = "plain", "plain.hydrate"
TABLE = """
CREATE TABLE done (id bigserial PRIMARY KEY, ref text NOT NULL, concern int NOT NULL, size int NOT NULL,
                   at timestamptz NOT NULL DEFAULT clock_timestamp())
"""
COUNT = "SELECT count(*) FROM done"

_DONE = "INSERT INTO done (ref, concern, size) VALUES (%(ref)s, %(concern)s, %(size)s)"
_BINDING = "{http://www.lendersoffice.com/los/webservices/}LoanSoap"


def asking(upstream_url: str) -> Callable[[str, str], str]:
    """What calls LoadByRefNumber with zeep, for a reference and a question, and gives its result as it came."""
    wsdl = str(Path(mlm_client.__file__).with_name("loan.wsdl"))
    client: Any = zeep.Client(wsdl)  # type: ignore[no-untyped-call]
    service = client.create_service(_BINDING, upstream_url + LOAN_PATH)
    who = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    said = httpx.post(upstream_url + TOKEN_PATH, data=who, trust_env=False)
    ticket = f"Bearer {said.json()['access_token']}"
    return lambda ref, question: service.LoadByRefNumber(sTicket=ticket, sLRefNm=ref, sXmlQuery=question, format=0)


class Job:
    """What the actor does, on connections of its own thread."""

    def __init__(self, database_url: str, upstream_url: str, questions: Sequence[str]) -> None:
        self._database_url, self._questions = database_url, questions
        self._mine = threading.local()
        self._ask = asking(upstream_url)

    def __call__(self, ref: str, concern: int) -> None:
        """Ask for one concern of one file, and commit that it was asked for."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = psycopg.connect(self._database_url, autocommit=True)
        result = self._ask(ref, self._questions[concern])
        self._mine.connection.execute(_DONE, {"ref": ref, "concern": concern, "size": len(result)})


def enqueue(redis_url: str, jobs: Sequence[tuple[str, int]]) -> None:
    """Put these jobs into the queue, as the actor's `send` does."""
    broker = RedisBroker(url=redis_url)  # type: ignore[no-untyped-call]
    broker.declare_queue(QUEUE)
    for args in jobs:
        message: dramatiq.Message[Any] = dramatiq.Message(QUEUE, ACTOR, args, {}, {})
        broker.enqueue(message)
    broker.close()


def main() -> None:
    """Work until told to stop."""
    told = json.loads(os.environ["JOB"])
    broker = RedisBroker(url=told["redis_url"])  # type: ignore[no-untyped-call]
    job = Job(told["database_url"], told["upstream_url"], told["questions"])
    dramatiq.Actor(job.__call__, broker=broker, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    worker.start()
    stop.wait()
    worker.stop()


if __name__ == "__main__":
    main()
