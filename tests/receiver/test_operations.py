"""What operators ask of the receiver, and what it writes down of what it refused."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from databases import FIELD_KEYS
from running_receiver import OPEN, PORTAL_TOKEN, Receiver, engine_to_nowhere, receiver
from starlette.routing import Route

from freshness.ledger.deliveries import Refusal
from freshness.rules import Rules
from freshness.settings import load
from receiver.app import make_app
from receiver.openapi import document
from receiver.refusals import BURST, RATE_PER_S, Refusals
from receiver.senders import SENDERS
from receiver.server import serve

REFUSED = Refusal(path="/x", address="203.0.113.9", status=401, reason="no token")


def test_a_process_that_answers_is_alive_even_without_its_database() -> None:
    with receiver(engine_to_nowhere()) as served:
        assert served.get("/healthz").json() == {"status": "ok"}


def test_ready_is_who_can_take_a_batch(engine: sa.Engine, redis_url: str) -> None:
    with receiver(engine, redis_url=redis_url) as served:
        answer = served.get("/readyz", token=None)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "postgresql": "ok", "redis": "ok"})


def test_redis_is_reported_and_never_required(engine: sa.Engine) -> None:
    with receiver(engine, redis_url="redis://127.0.0.1:1/0") as served:
        answer = served.get("/readyz")
        assert (answer.status_code, answer.json()["redis"]) == (200, "away")


def test_without_postgresql_nobody_is_ready() -> None:
    with receiver(engine_to_nowhere()) as served:
        answer = served.get("/readyz")
        assert (answer.status_code, answer.json()["postgresql"]) == (503, "away")


def test_without_its_tables_nobody_is_ready(empty_database_url: str) -> None:
    from migrations.upgrade import driver_url

    engine = sa.create_engine(driver_url(empty_database_url))
    with receiver(engine) as served:
        answer = served.get("/readyz")
    engine.dispose()
    assert (answer.status_code, answer.json()["postgresql"]) == (503, "not migrated")


def test_the_server_does_not_name_itself(served: Receiver) -> None:
    assert "server" not in served.get("/healthz").headers


def test_a_head_without_end_is_cut_off(served: Receiver) -> None:
    with socket.create_connection(served.url.removeprefix("http://").split(":"), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with pytest.raises(OSError):  # noqa: PT011 - broken pipe or reset, whichever comes first
            connection.sendall(b"a" * 100_000_000)


def test_an_address_that_is_taken_is_an_error_of_its_own(served: Receiver) -> None:
    app = make_app(settings=load(OPEN), rules=Rules(), engine=served.engine, bell=lambda rings: None)
    with pytest.raises(OSError, match="in use"):
        serve(app, "127.0.0.1", int(served.url.rpartition(":")[2]))


def test_a_process_that_is_asked_to_stop_ends_well_with_a_stream_open() -> None:
    script = (
        "from running_receiver import *; from receiver.server import serve; s = load(OPEN); "
        "app = make_app(settings=s, rules=rules_of(s), engine=engine_to_nowhere(), bell=lambda rings: None); "
        "serve(app, '127.0.0.1', 0, 30)"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = re.search(r"port=(\d+)", re.sub(r"\x1b\[\d*m", "", process.stdout.readline()))[1]
            url = f"http://127.0.0.1:{port}/api/v1/events?last_event_id=5"
            with httpx.stream("GET", url, headers={"Authorization": f"Bearer {PORTAL_TOKEN}"}, timeout=10) as stream:
                assert next(stream.iter_raw()).startswith(b"id: 5")
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
        finally:
            process.kill()


OPEN_TO_SENDERS = {
    "FIELD_KEYS": FIELD_KEYS,
    "MMI_SECRET": "s",
    "MAXWELL_TOKEN": "s",
    "COLLATERALXP_TOKEN": "s",
    "SHOWMOJO_TOKEN": "s",
}


def test_openapi_names_every_route_and_no_other(engine: sa.Engine) -> None:
    settings = load(OPEN | OPEN_TO_SENDERS)
    app = make_app(settings=settings, rules=Rules(), engine=engine, bell=lambda rings: None)
    routes = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    described = {
        (path, method)
        for path, item in document([declare(settings) for declare in SENDERS])["paths"].items()
        for method in item
    }
    assert described == routes


def test_openapi_says_429_wherever_somebody_may_be_refused() -> None:
    told = [set(each["responses"]) for path in document()["paths"].values() for each in path.values()]
    assert [codes for codes in told if ("401" in codes) != ("429" in codes)] == []


def test_openapi_is_served_and_every_reference_in_it_leads_somewhere(served: Receiver) -> None:
    said = served.get("/openapi.json", token=None).json()
    assert said["openapi"].startswith("3.1")
    references = set(_references(said))
    assert references
    for reference in references:
        place: Any = said
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


def test_a_flood_of_refusals_costs_the_database_a_burst_and_then_a_few_a_second(engine: sa.Engine) -> None:
    now = [0.0]
    refusals = Refusals(engine, clock=lambda: now[0])

    def written() -> int:
        with engine.connect() as conn:
            return int(conn.exec_driver_sql("SELECT coalesce(sum(count), 0) FROM refused_deliveries").scalar_one())

    for _ in range(BURST + 50):
        asyncio.run(refusals.leave(REFUSED))
    assert written() == BURST
    now[0] += 1.0
    for _ in range(50):
        asyncio.run(refusals.leave(REFUSED))
    assert written() == BURST + RATE_PER_S


def test_a_refusal_that_cannot_be_written_is_logged_and_not_tried_again_at_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    refusals = Refusals(engine_to_nowhere(), clock=lambda: 0.0)
    for _ in range(5):
        asyncio.run(refusals.leave(REFUSED))
    assert capfd.readouterr().out.count("receiver.refusal_not_written") == 1
