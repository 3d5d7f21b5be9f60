"""Whether MLM is away: its circuit, as the commands that say why something waits show it."""

from __future__ import annotations

from freshness.settings import Settings
from jobs.broker import connect
from jobs.circuit import CircuitState, circuit_state

from .output import cell


def look(settings: Settings) -> tuple[CircuitState | None, str | None]:
    """The circuit as it stands; or None, and why that is not known. Redis keeps it; nobody waits for a Redis that is
    away."""
    import redis

    if settings.redis_url is None:
        return None, "REDIS_URL is not set"
    try:
        with connect(settings.redis_url, patient=False) as client:
            return circuit_state(client), None
    except redis.RedisError as error:
        return None, f"Redis: {error}"


def told(circuit: CircuitState | None, unknown: str | None = None) -> str | None:
    """That MLM is away, since when and why, in two lines; or that and why it is not known; None if it is not away."""
    if unknown is not None:
        return f"Whether MLM is away is not known: {unknown}"
    if circuit is None or circuit.state == "closed":
        return None
    return f"MLM is away since {cell(circuit.since)}; one call at a time tries.\n  {circuit.why}"
