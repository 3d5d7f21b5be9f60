"""A worker process for the tests to signal and kill: `main`, forked.

A prompt job `file.confirm` says on the list `test:began` that it began, waits for a word on `test:go`, and says on
`test:done` that it ended. A word on `test:stopping` says that every thread has been told to stop. The exit code is the
worker's.
"""

from __future__ import annotations

import threading
import time

import redis
from hands import Hands, broker_with

from jobs.worker import WorkerProcess


def main(redis_url: str) -> int:
    client = redis.Redis.from_url(redis_url, socket_timeout=None)

    def confirm(file_id: int) -> None:
        client.rpush("test:began", file_id)
        client.blpop(["test:go"], timeout=60)
        client.rpush("test:done", file_id)

    broker = broker_with(redis_url, Hands().handlers(confirm=confirm))
    process = WorkerProcess(broker, prompt_threads=2)

    def say_that_it_stops() -> None:
        process.stop.wait()
        while any(thread.running for worker in process._workers for thread in worker.workers):
            time.sleep(0.005)
        client.rpush("test:stopping", 1)

    threading.Thread(target=say_that_it_stops, daemon=True).start()
    return process.run()
