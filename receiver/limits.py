"""How often one address may be refused: beyond it the refusal is 429, and says when to come again.

Only refusals are counted, and only they are answered so. Who proves what they are, by a bearer or a signature, is let
in whatever else came from their address; MLM's networks are told the true reason always. Each process counts for
itself, and forgets the addresses that it has not heard of for longest.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.types import Scope

from freshness.settings import Network

from .doors import Door, inside

#: So many addresses are remembered at once, a few MB.
MOST_ADDRESSES = 20_000

_Key = ipaddress.IPv4Address | int | None


class Limits:
    """A bucket of refusals for each address: it holds a minute's worth, and fills up again evenly.

    `networks` are never limited. `clock` counts seconds.
    """

    def __init__(
        self,
        a_minute: int,
        networks: Sequence[Network] = (),
        proxies: Sequence[Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._a_minute = a_minute
        self._networks = networks
        self._door = Door.of((), proxies=tuple(proxies))
        self._clock = clock
        self._left: OrderedDict[_Key, tuple[float, float]] = OrderedDict()

    def refuse(self, scope: Scope) -> int:
        """Count a refusal. 0: within bounds; else the seconds after which the next one is."""
        if not self._a_minute:
            return 0
        address = self._door.caller(Request(scope))
        if inside(address, self._networks):
            return 0
        key: _Key = int(address) >> 64 if isinstance(address, ipaddress.IPv6Address) else address
        now, a_second = self._clock(), self._a_minute / 60
        left, at = self._left.pop(key, (float(self._a_minute), now))
        left = min(float(self._a_minute), left + (now - at) * a_second)
        within = left >= 1
        self._left[key] = (left - within, now)
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        return 0 if within else max(1, math.ceil((1 - left) / a_second))
