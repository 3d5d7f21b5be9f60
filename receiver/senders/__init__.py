"""The systems that deliver to us beside MLM, one module each: a short declaration (docs/senders.md)."""

from __future__ import annotations

from collections.abc import Callable

from freshness.settings import Settings

from .collateralxp import collateralxp
from .maxwell import maxwell
from .mmi import mmi
from .sender import Sender
from .showmojo import showmojo

#: Declares a sender as the settings have it.
Declare = Callable[[Settings], Sender]

SENDERS: tuple[Declare, ...] = (mmi, maxwell, collateralxp, showmojo)
