"""Traces from webhook to row, for whoever sets OTEL_EXPORTER_OTLP_ENDPOINT; without it nothing is imported for them,
and every call here does nothing.

    delivery ◀── batch ◀──▶ order            (receiver: an answer, a commit, what it ordered)
                              ├── slice read  (worker: one call to MLM)
                              └── landing     (worker: one concern's rows)

An order's trace and its first span have ids made of the order's own, so a worker continues it without being told:
nothing is carried through PostgreSQL or Redis. Spans bear ids, counts and words of ours; never data, never an error's
text.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from freshness.errors import SettingError
from freshness.settings import Settings

#: One order: the file's id, and the order's number in it.
Order = tuple[int, int]

#: What has not been sent yet when a process ends may take so long.
ENDS_WITHIN_S = 2.0


class Told:
    """What a span is told while it is open. Of no span, it is told nothing."""

    def note(self, **attributes: str | int) -> None:
        """Ids, counts and words of ours."""

    def ordered(self, orders: Sequence[Order], placed: Sequence[Order]) -> None:
        """The orders that entries have joined, those among them that were placed here; once that is committed."""


_NOTHING = nullcontext(Told())


class Traces:
    """No traces; `otel.SentTraces` are those that are sent."""

    def delivery(self) -> AbstractContextManager[Told]:
        """A delivery, from its first byte to its answer."""
        return _NOTHING

    def here(self) -> Any:
        """The span that is open here, for a `batch` that is decided elsewhere."""
        return None

    def batch(self, deliveries: Sequence[Any]) -> AbstractContextManager[Told]:
        """The transaction that these deliveries (as `here` said) share."""
        return _NOTHING

    def read(self, orders: Sequence[Order], concerns: Sequence[str]) -> AbstractContextManager[Told]:
        """One call to MLM that reads these concerns of a file, for these orders."""
        return _NOTHING

    def landing(self, orders: Sequence[Order], concern: str) -> AbstractContextManager[Told]:
        """One concern's rows, landed for these orders."""
        return _NOTHING

    def end(self) -> None:
        """The process ends: send what is left, if that can be done soon."""


def traces_of(settings: Settings, process: str) -> Traces:
    """The traces of a process as its settings have them.

    Raises:
        SettingError: they are asked for, and the packages for them are missing.
    """
    if settings.otel_exporter_otlp_endpoint is None:
        return Traces()
    try:
        from .otel import SentTraces
    except ImportError:
        why = "needs the extra `otel` (pip install 'mlm-freshness[otel]')"
        raise SettingError("OTEL_EXPORTER_OTLP_ENDPOINT", why) from None
    return SentTraces(settings.otel_exporter_otlp_endpoint, process)


def names_of(orders: Sequence[Order]) -> list[str]:
    """The orders as logs and spans name them: the file's id and the number, `7.12`."""
    return [f"{file_id}.{number}" for file_id, number in orders]
