"""The house as a command of a moment has it: settings read, logging set up, nothing connected yet."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from freshness.settings import load

if TYPE_CHECKING:
    from jobs.house import House


def open_house(*needed: str) -> House:
    """A house for one command. Its parts are imported now: wrong use is told without them, half a second sooner.

    Raises:
        SettingError: a setting is wrong, or one of those needed is missing.
    """
    settings = load(os.environ)
    settings.need(*needed)
    from jobs import log
    from jobs.house import House

    log.configure("console")
    return House(settings, "console", threads=1)
