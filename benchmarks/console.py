"""The console: every page and filter over ten million receipts and a million files, and what looking costs receiving.

The receiver as it runs, its console in a process of its own, on the database that `volume` is measured on; some files
are stale, given up, unstamped and gone besides, so that no page has less to show than on a bad day. Each page is asked
for again and again, one request at a time; the time counts until the last byte of the answer is here. Then entries come
at half of the receiver's rate, and every other four seconds people are at the console; a round in which other machines
had more than a little of the processors is measured again.
"""

from __future__ import annotations

import itertools
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx

from freshness.passwords import hashed

from . import ground, quarter
from .generator import turn_of
from .ground import execute
from .load import Outcome
from .quarter import FILES, MOST_ONES_A_S, RECEIPTS, WARM_S, Full, take
from .scale import scaled
from .seen import Seen, share
from .stolen import Watch
from .table import Figure, Mark, Measured, Row

NAME = "console"

MOST_MS = 300.0
TIMES = 6
#: So long the overview serves what it has seen: a figure counts only if it was computed.
LIVE_S = 2.1
#: People who keep the overview or the queues open, which ask again every 3 to 5 s; and pages that others go to.
PAGES_A_S = 2.0
#: How long nobody looks, and then somebody does, within one run: what else the machine does falls on both alike.
TURN_S, TURNS = 4.0, 8
#: A round in which others had more of the processors than this is measured again, once.
MOST_STOLEN = 0.05
#: Requests are rendered first, for about so long.
RENDERED_S = 1.0

STALE, DEAD, FLAGGED, REFUSED, ACTED = (scaled(count) for count in (20_000, 500, 5_000, 20_000, 5_000))
PASSWORD = "of the benchmark"
_TOKEN = re.compile(r'name="token" value="([^"]+)"')
_PLACE = re.compile(r"/console/receipts/(\d+\.\d+)")

_SCENE = (
    f"UPDATE file_freshness SET ordered = ordered + 1 WHERE id <= {STALE}",
    f"INSERT INTO refresh_orders (file_id, number, placed_at, due_at, cause) "
    f"SELECT id, ordered, mlm_now() - id * interval '1 s', mlm_now(), 'webhook, newer' "
    f"FROM file_freshness WHERE id <= {STALE} ON CONFLICT DO NOTHING",
    f"UPDATE file_concerns c SET attempts = 8, tried_order = f.ordered, first_error_at = mlm_now(), "
    f"last_error_at = mlm_now(), last_error = 'Unreadable: the answer for ' || f.ref || ' ends too soon' "
    f"FROM file_freshness f WHERE f.id = c.file_id AND f.id <= {DEAD} AND c.concern = 'assets'",
    f"UPDATE file_freshness SET unstamped = true WHERE id BETWEEN {STALE} + 1 AND {STALE + FLAGGED}",
    f"UPDATE file_freshness SET deleted_at = mlm_now() "
    f"WHERE id BETWEEN {STALE + FLAGGED} + 1 AND {STALE + 2 * FLAGGED}",
    f"UPDATE file_freshness SET confirm_at = mlm_now(), unconfirmed_since = mlm_now() "
    f"WHERE id BETWEEN {STALE + 2 * FLAGGED} + 1 AND {STALE + 3 * FLAGGED}",
    f"INSERT INTO refused_deliveries (minute, path, address, status, reason, count) "
    f"SELECT date_trunc('minute', mlm_now()), '/x', '203.0.113.9', 401, 'no token', 1 "
    f"FROM generate_series(1, {REFUSED})",
    f"INSERT INTO console_actions (who, what, on_what, wanted, reached, result) "
    f"SELECT 'ann', 'refresh', 'R000017', 1, 1, 'order 7' FROM generate_series(1, {ACTED})",
    "ANALYZE file_freshness, file_concerns, refresh_orders, refused_deliveries, console_actions",
)
_AS_BEFORE = (
    "UPDATE file_concerns SET attempts = 0, tried_order = 0, first_error_at = NULL, last_error_at = NULL, "
    "last_error = NULL WHERE attempts > 0",
    "UPDATE file_freshness SET unstamped = false WHERE unstamped",
    "UPDATE file_freshness SET deleted_at = NULL WHERE deleted_at IS NOT NULL",
    "UPDATE file_freshness SET confirm_at = NULL, unconfirmed_since = NULL WHERE confirm_at IS NOT NULL",
    "TRUNCATE refused_deliveries, console_actions",
)


def run(rounds: int, say: Callable[[str], None]) -> Measured:
    """Each page round by round; then receiving, alone and looked at."""
    seen = Seen()
    full = quarter.looked_at(say)
    full.environment["CONSOLE_USERS"] = f"ann:operator:{hashed(PASSWORD)}"
    with full.receiver() as port:
        for statement in _SCENE:
            execute(full.url, statement)
        with _signed_in(port) as web:
            pages = _pages(full, web)
            for number in range(rounds):
                slowest = max(_times(web, pages, seen), key=lambda each: each[1])
                say(f"round {number + 1} of {rounds}: slowest: {slowest[0]}, p95 {slowest[1]:.0f} ms")
        for statement in _AS_BEFORE:
            execute(full.url, statement)
        rate = take(full, 1, MOST_ONES_A_S).per_s / 2
        for number in range(rounds):
            stolen, outcome, took_ms = _least_stolen(lambda: _beside(full, rate, port, pages), say)
            alone, looked = outcome.turns_ms
            figures = {"alone": alone["p99"], "looked": looked["p99"], "p50_alone": alone["p50"]}
            figures |= {"p50_looked": looked["p50"], "page_under_load": share(took_ms, 0.95), "stolen": stolen * 100}
            say(f"round {number + 1} of {rounds}: {seen.add(**figures)}")
    return Measured(_rows(seen, pages, rate), ground.versions(full.here.servers), _figures(seen, pages))


@contextmanager
def _signed_in(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as web:
        token = _TOKEN.findall(web.get("/console/sign-in").text)[0]
        answer = web.post("/console/sign-in", data={"name": "ann", "password": PASSWORD, "token": token})
        if answer.status_code != 303:
            raise RuntimeError(f"signing in was answered {answer.status_code}")
        yield web


def _pages(full: Full, web: httpx.Client) -> Mapping[str, str]:
    """Every page and every filter, by what the table calls it."""
    middle = full.weeks[len(full.weeks) // 2].begins
    receipts = "/console/receipts"
    old = web.get(receipts, params={"until": middle.isoformat()}).text
    place = _PLACE.findall(old)[-1]
    asked = {
        "webhooks, of a file": "search=R000017",
        "webhooks, of a loan number": "search=2026000017",
        "webhooks, of a number that nobody has": "search=NOBODY",
        "webhooks, dispatched": "outcome=dispatched",
        "webhooks, own echo": "outcome=own_echo",
        "webhooks, unknown file": "outcome=unknown_file",
        "webhooks, of another sender": "sender=mmi",
        "webhooks, Modified": "event=Modified",
        "webhooks, of an event that none bears": "event=Rare",
        "webhooks, within 24 hours": "span=24h",
        "webhooks, within 30 days, own echo": "span=30d&outcome=own_echo",
        "webhooks, took longer than an hour": "slower=3600",
        "webhooks, our data changed": "changed=yes",
        "webhooks, still waiting": "unserved=1",
        "webhooks, all filters": "search=R000017&outcome=held&event=Modified&span=30d&slower=1&changed=no",
        "webhooks, from the middle on": f"after={place}",
        "webhooks, from the middle on, of an event that none bears": f"after={place}&event=Rare",
    }
    states = ("stale", "given up", "unconfirmed", "unstamped", "deleted", "all")
    return {
        "overview, 1 hour": "/console/",
        "overview, 6 hours": "/console/?window=6h",
        "overview, 24 hours": "/console/?window=24h",
        "webhooks": receipts,
        **{name: f"{receipts}?{query}" for name, query in asked.items()},
        "one webhook": f"{receipts}/{place}",
        "replay of all": f"{receipts}/replay",
        "replay of an event that none bears": f"{receipts}/replay?event=Rare",
        "replay of a file": f"{receipts}/replay?search=R000017",
        "refused deliveries": "/console/refused",
        "refused deliveries, of a route that none was for": "/console/refused?path=nowhere",
        **{f"files, {state}": f"/console/files?state={state.replace(' ', '+')}" for state in states},
        "files, from the middle on": f"/console/files?state=all&after=R{FILES // 2:06}",
        "one file": "/console/files/R000017",
        "search, a part of a reference": "/console/search?q=R0001",
        "search, a loan number": "/console/search?q=2026000017",
        "queues": "/console/queues",
        "queues, dry run of a redrive of all": "/console/queues/redrive",
        "queues, dry run of a redrive": "/console/queues/redrive?concern=assets",
        "queues, bells": "/console/queues/bells/loan-sync",
        "who did what": "/console/actions",
    }


def _times(web: httpx.Client, pages: Mapping[str, str], seen: Seen) -> Iterator[tuple[str, float]]:
    """The p95 of each page in milliseconds. They are asked for in turn, as people do; what the overview has seen it
    serves for a while, so it is asked again only when that is over."""
    took_ms: dict[str, list[float]] = {name: [] for name in pages}
    computed_at = {name: time.monotonic() for name in pages if name.startswith("overview")}
    for turn in range(1 + TIMES):
        for name, path in pages.items():
            if turn and time.monotonic() - computed_at.get(name, 0.0) < LIVE_S:
                continue
            began = time.perf_counter()
            answer = web.get(path, follow_redirects=True)
            if answer.status_code != 200:
                raise RuntimeError(f"{path} was answered {answer.status_code}")
            if name in computed_at:
                computed_at[name] = time.monotonic()
            if turn:  # the first one warms caches
                took_ms[name].append((time.perf_counter() - began) * 1e3)
    for name, each in took_ms.items():
        seen.add(**{name: share(each, 0.95)})
        yield name, share(each, 0.95)


Beside = tuple[float, Outcome, list[float]]


def _least_stolen(measure: Callable[[], Beside], say: Callable[[str], None]) -> Beside:
    """One round; if other machines had more than a little of the processors it is measured again, and the one of which
    they had least counts: whatever else it shows, it is not looked at here."""
    first = measure()
    if first[0] <= MOST_STOLEN:
        return first
    say(f"others had {first[0]:.0%} of the processors: again")
    return min(first, measure(), key=lambda each: each[0])


def _beside(full: Full, rate: float, port: int, pages: Mapping[str, str]) -> Beside:
    """Receiving, alone and looked at in turn; what part of the processors' time was stolen; how long pages took."""
    took_ms: list[float] = []
    watch = Watch()
    outcome = full.paced(rate, lambda: _look(port, pages, took_ms), TURNS * TURN_S, TURN_S)
    return watch.stolen(), outcome, took_ms


def _look(port: int, pages: Mapping[str, str], took_ms: list[float]) -> None:
    """Be at the console every other turn until entries are about to stop: page after page, so many a second."""
    due = time.perf_counter()
    ends = due + RENDERED_S + WARM_S + TURNS * TURN_S
    with _signed_in(port) as web:
        for path in itertools.cycle(pages.values()):
            due += 1 / PAGES_A_S
            while turn_of(due, TURN_S) == 0:
                due += 1 / PAGES_A_S
            if due > ends:
                break
            time.sleep(max(0.0, due - time.perf_counter()))
            asked = time.perf_counter()
            web.get(path, follow_redirects=True).raise_for_status()
            took_ms.append((time.perf_counter() - asked) * 1e3)


def _rows(seen: Seen, pages: Mapping[str, str], rate: float) -> list[Row]:
    slowest = max(pages, key=lambda name: statistics.median(seen.values[name]))
    there = f"{RECEIPTS:,} receipts, {FILES:,} files, {STALE:,} of them stale"
    under = f"{len(pages)} pages and filters, {TIMES} times each, one request at a time; {there}"
    paced = f"open loop, {rate:,.0f} requests/s of one entry; {PAGES_A_S:g} pages a second, of all of them in turn"
    return [
        Row(
            "page", f"p95 of the slowest page ({slowest})", "ms", seen.series(slowest), None,
            Mark(MOST_MS, False, "ms"), under,
        ),
        Row(
            "looked", "p99 of receiving while somebody looks", "ms", seen.series("looked"),
            seen.series("alone", "nobody at the console"), Mark(1.2, False), paced,
        ),
    ]  # fmt: skip


def _figures(seen: Seen, pages: Mapping[str, str]) -> list[Figure]:
    beside = {
        "page_under_load": "p95 of pages while entries come at that rate",
        "p50_alone": "p50 of receiving, nobody at the console",
        "p50_looked": "p50 of receiving while somebody looks",
    }
    return [
        *(Figure(f"p95: {name}", "ms", seen.series(name)) for name in pages),
        *(Figure(what, "ms", seen.series(name)) for name, what in beside.items()),
        Figure("processors' time that other machines had meanwhile (steal)", "%", seen.series("stolen")),
    ]
