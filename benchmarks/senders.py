"""Receiving from the other senders, against MLM's webhook: entries accepted, landed and committed, one a request.

Each sender is sent events of known subjects in one shuffled order again and again: every other one is news and lands in
its row, the others say what was said last, or are older. MLM's entries are half news too, which place an order; they
come before the senders' and after them, and a round is held against both. Proofs are as strong as each sender's are:
MMI's bodies are signed, Maxwell's too. The receivers stay, from the first turn to the last.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from freshness.settings import load
from jobs.house import make_engine
from receiver.reception import reception_of

from . import ground
from .ground import execute
from .load import Outcome, closed, request
from .parties import Ours
from .receive import CONNECTIONS, FILES, Rounds
from .stage import in_the_end
from .table import Mark, Measured, Row

NAME = "senders"

SUBJECTS = 10_000
#: The same is said again so many subjects later: by then it was taken.
BEHIND = 100
WARM_S, SECONDS = 1, 3
MOST_A_S = 6_000
SECRET = "benchmark"

_FORGET = "TRUNCATE mlm_webhook_receipts, refresh_orders, sender_bodies, appraisal_events"
_LANDED = "SELECT outcome, count(*) FROM mlm_webhook_receipts GROUP BY 1"

_SETTINGS = {
    "MMI_SECRET": SECRET,
    "MAXWELL_HMAC_SECRET": SECRET,
    "COLLATERALXP_TOKEN": SECRET,
    "SHOWMOJO_TOKEN": SECRET,
}


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """MLM and the senders in turn, round by round."""
    seen = Rounds()
    with ground.ground() as here:
        ours = Ours(here, FILES)
        ours.environment.update(_SETTINGS)
        say("making every sender's subjects known …")
        _make_known(ours)
        with ours.receiver():
            before = _mlm(ours).per_s
            for number in range(rounds):
                for name in EVENTS:
                    seen.add(f"{name} /s", _sender(ours, name, number).per_s)
                after = _mlm(ours).per_s
                seen.add("mlm /s", (before + after) / 2)
                before = after
                told = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in seen.values.items())
                say(f"round {number + 1} of {rounds}: {told}")
        versions = ground.versions(here.servers)
    mlm = seen.series("mlm /s", "MLM's webhook")
    under = f"{CONNECTIONS} connections, one entry a request, half of them news"
    rows = [
        Row(name, f"entries of {name}", "entries/s", seen.series(f"{name} /s", name), mlm, Mark(0.7, True), under)
        for name in EVENTS
    ]
    return Measured(rows, versions)


def _mlm(ours: Ours) -> Outcome:
    _forget(ours)
    outcome = _send(ours, ours.requests(ours.port, 1, _enough()))
    ours.check(outcome.answered, outcome.sent)
    return outcome


def _make_known(ours: Ours) -> None:
    """Every subject has been told of once, through the reception itself."""
    settings = load(ours.environment)
    reception, engine = reception_of(settings), make_engine(ours.url, 1, "benchmark")
    now = dt.datetime.now(dt.UTC)
    for name, event in EVENTS.items():
        for first in range(0, SUBJECTS, 500):
            bodies = [json.dumps(event(subject, 0)).encode() for subject in range(first, first + 500)]
            with engine.begin() as conn:
                reception.receive(conn, [reception.opened(name, body, now) for body in bodies])
    engine.dispose()


def _sender(ours: Ours, name: str, round_number: int) -> Outcome:
    """What our receiver makes of one sender's load, its receipts counted.

    Raises:
        RuntimeError: not every entry has its receipt, or not about half of them were applied.
    """
    _forget(ours)
    outcome = _send(ours, islice(_requests(name, ours.port, 10 * round_number), _enough()))
    in_the_end(lambda: sum(_landed(ours).values()), outcome.sent)
    counts = _landed(ours)
    applied = counts.get("applied", 0)
    if not outcome.accounts_for(sum(counts.values())) or not 0.45 < applied / outcome.answered < 0.55:
        raise RuntimeError(f"{outcome.answered} entries of {name} were answered, and left {counts}")
    return outcome


def _landed(ours: Ours) -> dict[str, int]:
    return dict(execute(ours.url, _LANDED))


def _forget(ours: Ours) -> None:
    execute(ours.url, _FORGET)
    ours.make_fresh()


def _send(ours: Ours, requests: Iterator[bytes]) -> Outcome:
    return closed(requests, ours.port, ours.file, connections=CONNECTIONS, seconds=SECONDS, warm_s=WARM_S)


def _enough() -> int:
    return int(MOST_A_S * (WARM_S + SECONDS))


def _requests(name: str, port: int, told: int) -> Iterator[bytes]:
    path = f"/api/v1/senders/{name}/webhook"
    for subject, turn in _news(told):
        body = json.dumps(EVENTS[name](subject, turn)).encode()
        yield request(port, path, _proof(name, body), body)


def _proof(name: str, body: bytes) -> Mapping[str, str]:
    header = {"mmi": "x-mmi-signature", "maxwell": "x-maxwell-signature"}.get(name)
    if header is None:
        return {"authorization": f"Bearer {SECRET}"}
    return {header: hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}


def _news(told: int) -> Iterator[tuple[int, int]]:
    """Without end: a subject, and which of its news it is told, after so many; each twice, some requests apart."""
    order = list(range(SUBJECTS))
    random.Random(1).shuffle(order)
    turn = told
    while True:
        turn += 1
        for place, subject in enumerate(order):
            yield subject, turn
            if place >= BEHIND:
                yield order[place - BEHIND], turn


def _day(turn: int) -> dt.date:
    return dt.date(2024, 1, 1) + dt.timedelta(days=turn)


def _mmi(subject: int, turn: int) -> dict[str, Any]:
    return {
        "nmls": str(subject), "type": "Mortgage", "timestamp": f"{_day(turn)} 14:07:42",
        "first_name": "Robert", "last_name": "Linder", "company": "A Mortgage, Inc.", "email": "rl@example.com",
        "state": "TX",
        "lo_ytd_volume": str(1_000_000 + turn), "lo_ytd_transactions": "56", "lo_rolling_volume": "23865111",
    }  # fmt: skip


def _maxwell(subject: int, turn: int) -> dict[str, Any]:
    return {
        "event": "application.updated" if turn else "application.created", "loanFileId": f"lf-{subject}",
        "borrowerEmail": f"b{subject}@example.com", "loanNumber": f"2026{subject:06d}",
        "application": {"firstName": "Ann", "lastName": "Smith", "loanAmount": 300_000 + turn, "purpose": "Purchase"},
    }  # fmt: skip


def _collateralxp(subject: int, turn: int) -> dict[str, Any]:
    return {
        "event": "ordering::workflow::assignment_workflow::inspection_completed",
        "data": {
            "inspection_completed_at": f"{_day(turn)}T15:02:08.000-03:00", "order_id": f"order-{subject}",
            "client_id": "c", "lender_id": "l", "created_at": "2023-04-01T15:19:21.752-03:00",
            "company_name": "Abc Bank",
            "contacts": {"borrower": {"name": "Adam Borrower", "email": "b@example.com", "phone": "(133) 999-0000"}},
        },
    }  # fmt: skip


def _showmojo(subject: int, turn: int) -> dict[str, Any]:
    return {
        "event": {
            "id": str(1000 + turn), "action": "confirm", "actor": "prospect", "created_at": "2026-11-20T09:00:00-08:00",
            "showing": {
                "uid": f"showing-{subject}", "showtime": "2026-11-21T15:00:00-08:00", "name": "Pat Prospect",
                "showing_time_zone": "Pacific Time (US & Canada)", "phone": "555-010-0199", "email": "pat@example.com",
                "listing_uid": "listing-1", "is_self_show": False, "confirmed_at": None,
            },
        }
    }  # fmt: skip


EVENTS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "mmi": _mmi,
    "maxwell": _maxwell,
    "collateralxp": _collateralxp,
    "showmojo": _showmojo,
}
