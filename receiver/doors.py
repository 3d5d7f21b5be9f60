"""Who may knock: bearer tokens, and the networks a caller may come from.

A token is compared in constant time with every token that is allowed. A caller's address is the socket's peer;
`X-Forwarded-For` is believed only as far as proxies that we trust wrote it, so that no caller can forge its way in.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from freshness.settings import Network

from .problems import Problem, proved

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def holds_token(authorization: Sequence[str], tokens: Iterable[bytes]) -> bool:
    """Whether the `Authorization` headers are one `Bearer` of an allowed token.

    Every token is compared, in constant time, whichever matches: the time taken says nothing of which, or how far.
    """
    scheme, _, given = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    secret = given.strip().encode("latin-1", "replace")  # ASGI headers are latin-1: these are the bytes sent
    matched = False
    for token in tokens:
        matched |= hmac.compare_digest(secret, token)
    return matched and scheme.lower() == "bearer"


def address_of(peer: str | None, forwarded_for: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """The address a request came from: the nearest hop, seen from us, that is not a trusted proxy.

    `forwarded_for` are the `X-Forwarded-For` headers in order. None where the peer, or a hop that a trusted proxy
    wrote, names no address: such a caller is inside no network.
    """
    address = _address(peer or "")
    hops = [hop for header in forwarded_for for hop in header.split(",")]
    while address is not None and hops and inside(address, proxies):
        address = _address(hops.pop())
    return address


def inside(address: Address | None, networks: Iterable[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """An address as a proxy writes it: also with a port, in brackets, or an IPv4 one inside an IPv6 one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@dataclass(frozen=True)
class Door:
    """One way in: the tokens that open it, the networks it is open to (none named: any), the proxies believed."""

    tokens: tuple[bytes, ...]
    networks: tuple[Network, ...] = ()
    proxies: tuple[Network, ...] = ()

    @classmethod
    def of(cls, tokens: Iterable[str], networks: tuple[Network, ...] = (), proxies: tuple[Network, ...] = ()) -> Door:
        """A door from settings; a token is compared as its UTF-8 bytes."""
        return cls(tuple(token.encode() for token in tokens), networks, proxies)

    def caller(self, request: Request) -> Address | None:
        """The address the request came from."""
        peer = request.client.host if request.client else None
        return address_of(peer, request.headers.getlist("x-forwarded-for"), self.proxies)

    def opens_to(self, request: Request) -> bool:
        """Whether the request bears one of this door's tokens."""
        return holds_token(request.headers.getlist("authorization"), self.tokens)

    def admit(self, request: Request) -> None:
        """Let the request in, or refuse it; in the contract's order: 404 not configured, 403 address, 401 token.

        Raises:
            Problem: 404, 403 or 401.
        """
        if not self.tokens:
            raise Problem(404, "no token is configured for this route")
        if self.networks and not inside(self.caller(request), self.networks):
            raise Problem(403, "calls from this address are not allowed")
        if not self.opens_to(request):
            raise Problem(401, "a bearer token is needed, and none or a wrong one came")
        proved(request.scope)
