"""A sign of life for those who look after processes without a port: a file that is touched again and again.

`freshness worker --alive /tmp/alive` touches it each second, and a probe asks how old it is (docs/deploy.md). Whether
PostgreSQL or Redis is there is not asked: a process that waits for them is not to be killed for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

ALIVE = click.option(
    "--alive", type=click.Path(dir_okay=False, path_type=Path), help="A file to touch every second or two, for probes."
)


def beating(file: Path | None, beat: Callable[[], None]) -> Callable[[], None]:
    """`beat`, and a touch of the file before it, whatever the beat comes to."""

    def touched() -> None:
        if file is not None:
            file.touch()
        beat()

    return touched
