"""A worker process for the tests to signal and kill: `worker_child.py REDIS_URL`.

A prompt job `file.confirm` says on the list `test:began` that it began, waits for a word on `test:go`, and says on
`test:done` that it ended. The exit code is the worker's.
"""

from __future__ import annotations

import sys

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
    return WorkerProcess(broker, prompt_threads=2).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
