"""The systems that deliver to us beside MLM, one module each: a short declaration (docs/senders.md)."""

from __future__ import annotations

from collections.abc import Callable

from freshness.settings import Settings

from .mmi import mmi
from .sender import Sender

#: Declares a sender as the settings have it.
Declare = Callable[[Settings], Sender]

SENDERS: tuple[Declare, ...] = (mmi,)
