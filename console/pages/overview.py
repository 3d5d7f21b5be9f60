"""The overview: what comes, how fast it lands, what is behind, whether MLM answers, what the backstops healed."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Any

import redis
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freshness.guard import Outcome
from freshness.ledger import backstops, deliveries, given_up, pulse, workers
from freshness.ledger.pulse import Minute, Pulse
from jobs.broker import connect
from jobs.circuit import CircuitState, circuit_state
from jobs.house import House
from jobs.inspecting import Inspection, inspect

from . import charts, words
from .behind import AMONG, COUNTED, behind
from .charts import Series
from .kit import Kit, Refused
from .sessions import Visitor

WINDOWS = {"1h": dt.timedelta(hours=1), "6h": dt.timedelta(hours=6), "24h": dt.timedelta(hours=24)}

#: What was seen serves all who ask within this time, however many keep the page open.
SERVES_S = 2.0

#: The outcomes from the bottom of a bar to its top, each in its colour.
TONES = {
    Outcome.DISPATCHED: "blue",
    Outcome.ALREADY_ORDERED: "teal",
    Outcome.HELD: "off",
    Outcome.OWN_ECHO: "violet",
    Outcome.UNKNOWN_FILE: "warn",
    Outcome.UNSUPPORTED_EVENT: "brown",
    Outcome.MALFORMED: "bad",
}

#: What other senders delivered, on top of that.
OTHERS, TONE_OF_OTHERS = "other_senders", "good"


@dataclass(frozen=True, slots=True)
class Bells:
    """What Redis knows: the queues and the circuit; None, and why, if it is away."""

    queues: Inspection | None
    circuit: CircuitState | None
    away: str | None


def bells(house: House) -> Bells:
    """Look into Redis. It is never waited for long."""
    try:
        with connect(house.settings.redis_url or "", patient=False) as client:
            return Bells(inspect(client), circuit_state(client), None)
    except redis.RedisError as error:
        return Bells(None, None, type(error).__name__)


class Overview:
    """The first page."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._seen: dict[str, tuple[float, dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        """`/`."""
        return [self._kit.shown("/", self.show)]

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """The page; its numbers bring themselves up to date."""
        window = request.query_params.get("window") or "1h"
        if window not in WINDOWS:
            raise Refused(400, "This length of time is none of those to choose from.")
        until, shown = self._seen.get(window, (0.0, {}))
        if time.monotonic() >= until:
            shown = await self._kit.read(lambda conn: _look(conn, self._kit.house, WINDOWS[window]))
            shown["bells"] = await self._kit.in_thread(lambda: bells(self._kit.house))
            self._seen[window] = (time.monotonic() + SERVES_S, shown)
        return await self._kit.page(
            request,
            "overview.html",
            visitor,
            window=window,
            windows=list(WINDOWS),
            counted=COUNTED,
            most=pulse.MOST,
            **shown,
        )


def _look(conn: Connection, house: House, window: dt.timedelta) -> dict[str, Any]:
    beat = pulse.pulse(conn, window)
    late, all_of_it = behind(conn, house.rules)
    refused, refused_at = deliveries.refused_since(conn, beat.until - window)
    processes = workers.heard_of(conn)
    return {
        "pulse": beat,
        "behind": late,
        "all_of_it": all_of_it,
        "errors": given_up.by_error(conn, house.rules, AMONG),
        "refused": refused,
        "refused_at": refused_at,
        "backstops": backstops.report(conn, beat.until - dt.timedelta(hours=24)),
        "missed": backstops.last_missed(conn, 3),
        "workers": sum(each.lives and each.process == workers.WORKER for each in processes),
        "schedulers": sum(each.lives and each.process == workers.SCHEDULER for each in processes),
        **_pictures(beat),
    }


def _pictures(beat: Pulse) -> dict[str, Any]:
    """The three charts, and the numbers that stand beside them."""
    steps = beat.minutes
    begin = steps[0].at
    came = [Series(each.value, tone, [m.outcomes[each.value] for m in steps]) for each, tone in TONES.items()]
    came.append(Series(OTHERS, TONE_OF_OTHERS, [m.others for m in steps]))
    totals = {one.name: int(sum(value or 0 for value in one.values)) for one in came}
    served = [
        Series(name, tone, [m.served_s[number] if m.served_s else None for m in steps])
        for number, (name, tone) in enumerate((("p50", "good"), ("p95", "warn"), ("p99", "bad")))
    ]
    last = next((number for number in reversed(range(len(steps))) if steps[number].served_s), -1)
    latest = steps[last].served_s if last >= 0 else None
    due_since = steps[last + 1].at if any(_asks(each) for each in steps[last + 1 :]) else None
    reads, failed = sum(m.reads for m in steps), sum(m.failed for m in steps)
    calls = [
        Series("answered", "good", [m.reads - m.failed for m in steps]),
        Series("failed", "bad", [m.failed for m in steps]),
    ]
    said_latest = ", ".join(
        f"{name} {words.seconds(value)}" for name, value in zip(("p50", "p95", "p99"), latest or (), strict=False)
    )
    return {
        "totals": [(one.name, one.tone, totals[one.name]) for one in came],
        "entries": sum(totals.values()),
        "latest": latest,
        "latest_at": steps[last].at if latest else None,
        "nothing_for": beat.until - due_since if due_since else None,
        "reads": reads,
        "failed": failed,
        "came_chart": charts.bars(
            came, begin, beat.step_s, f"Webhook entries by outcome: {sum(totals.values())} in all"
        ),
        "served_chart": charts.lines(
            served, begin, beat.step_s, f"From webhook to landed; newest: {said_latest or 'none'}"
        ),
        "reads_chart": charts.bars(calls, begin, beat.step_s, f"Reads of MLM: {reads}, of which {failed} failed"),
    }


def _asks(step: Minute) -> bool:
    """Whether something came in this step that waits for our data to land."""
    return any(step.outcomes[each] for each in (Outcome.DISPATCHED, Outcome.ALREADY_ORDERED))
