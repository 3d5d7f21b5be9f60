"""Redis behind Sentinels: REDIS_URL as `redis+sentinel://user:password@host:26379,host:26379/service/0`.

Whoever connects asks the Sentinels, in turn, who the primary of the service is. A primary that is lost is a connection
that broke: the next attempt asks anew. User and password are the primary's; Sentinels are asked without.

With TLS (`rediss+sentinel://`) it may end with `?ssl_ca_certs=/etc/ssl/ours.pem` and the like: options of both, the
Sentinels and the primary (`freshness.settings.TLS_BEHIND_SENTINELS`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis import sentinel
from redis.asyncio import Redis
from redis.asyncio import sentinel as asynchronous

PORT = 26379

#: A Sentinel that says nothing for so long is passed over.
ASKED_FOR_S = 2.0


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where Sentinels are, which service is asked for, and how its primary is connected to."""

    addresses: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any] = field(repr=False)  # with the password

    def primary(self, **options: Any) -> redis.Redis:
        """A client of whoever is primary when it connects."""
        asked = sentinel.Sentinel(self.addresses, sentinel_kwargs=self._asking())  # type: ignore[no-untyped-call]
        client: redis.Redis = asked.master_for(self.service, **self.options, **options)  # type: ignore[no-untyped-call]
        return client

    def primary_async(self, **options: Any) -> Redis:
        """The same for an event loop."""
        asked = asynchronous.Sentinel(self.addresses, sentinel_kwargs=self._asking())  # type: ignore[no-untyped-call]
        client: Redis = asked.master_for(self.service, **self.options, **options)
        return client

    def _asking(self) -> dict[str, Any]:
        timeouts = {"socket_timeout": ASKED_FOR_S, "socket_connect_timeout": ASKED_FOR_S}
        return timeouts | {name: value for name, value in self.options.items() if name.startswith("ssl")}


def sentinels_of(url: str) -> Sentinels | None:
    """What a REDIS_URL says of Sentinels; None if it names a server."""
    parts = urlsplit(url)
    if not parts.scheme.endswith("+sentinel"):
        return None
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    options: dict[str, Any] = {"db": int(database or 0)}
    options |= {name: unquote(word) for name, word in (("username", username), ("password", password)) if word}
    if parts.scheme.startswith("rediss"):
        options["ssl"] = True
    for name, value in parse_qsl(parts.query):
        options[name] = value == "true" if name == "ssl_check_hostname" else value
    return Sentinels(tuple(_address(each) for each in hosts.split(",")), service, options)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or PORT)
