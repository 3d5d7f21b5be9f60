"""The rules in force in one process: what the protocol leaves to settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from .concerns import ALL, Concern
from .settings import Settings

#: A worker whose beat is older than this has died: its leases are void.
WORKER_LIFE_S = 6.0

#: A lease runs out this long after the longest call may take.
LEASE_MARGIN_S = 30.0

#: An own write that has not exited by then is ended by the sweep.
REGISTRATION_LIFE_S = 300.0

#: A candidate that is never quiet is confirmed after this long all the same.
LONGEST_UNQUIET_S = 300.0


@dataclass(frozen=True)
class Rules:
    """Times in seconds. `resolution_s` is None for `auto`: then one stored value holds for all processes.

    `shared_reads`: a slice that reads takes along what else of its file is to be read (docs/protocol.md, "A slice").
    """

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("America/Los_Angeles"))
    resolution_s: float | None = None
    quiet_s: float = 30.0
    read_lag_s: float = 600.0
    call_timeout_s: float = 60.0
    import_unknown: bool = False
    shared_reads: bool = False
    active: tuple[Concern, ...] = ALL

    @property
    def lease_s(self) -> float:
        """How long a lease lasts: the wait for a place to call from, the call, what it may overrun, and a margin."""
        return 3 * self.call_timeout_s + LEASE_MARGIN_S


def rules_of(settings: Settings, active: tuple[Concern, ...] = ALL) -> Rules:
    """The rules that these settings state, for a lender that has the `active` concerns."""
    return Rules(
        zone=settings.mlm_stamp_zone,
        resolution_s=settings.mlm_stamp_resolution,
        quiet_s=settings.mlm_quiet,
        read_lag_s=settings.mlm_read_lag,
        call_timeout_s=settings.mlm_timeout.whole_s,
        import_unknown=settings.mlm_import_unknown,
        shared_reads=settings.mlm_shared_reads,
        active=active,
    )
