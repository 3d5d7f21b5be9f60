"""What a portal's pages hear, over a real stream."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
import sqlalchemy as sa
from running_receiver import PORTAL_TOKEN, Receiver, receiver

BEARER = {"Authorization": f"Bearer {PORTAL_TOKEN}"}
EVENTS = "/api/v1/events"


class Heard:
    """An open stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks = self._read()

    def _read(self) -> Iterator[dict[str, str]]:
        block: dict[str, str] = {}
        for line in self.response.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                block[name] = value
            elif line == "":
                yield block
                block = {}

    def block(self) -> dict[str, str]:
        """The next block of lines, whatever it is; a stream that says nothing for 10 s fails the test."""
        return next(self._blocks)

    def event(self) -> tuple[int, str, Any]:
        block = next(block for block in self._blocks if "event" in block)
        return int(block["id"]), block["event"], json.loads(block["data"])

    def about(self) -> tuple[str, str]:
        _, kind, data = self.event()
        return kind, data["ref"]


@contextlib.contextmanager
def listening(served: Receiver, query: str = "", headers: dict[str, str] | None = None) -> Iterator[Heard]:
    """A stream that has begun: its first lines are here."""
    signed = BEARER if headers is None else headers
    with httpx.stream("GET", f"{served.url}{EVENTS}{query}", headers=signed, timeout=10) as response:
        heard = Heard(response)
        if response.status_code == 200:
            assert heard.block()["retry"] == "2000"
        yield heard


def test_an_event_has_its_number_its_kind_and_the_same_json_as_the_channel(served: Receiver) -> None:
    with redis.Redis.from_url(served.redis_url).pubsub(ignore_subscribe_messages=True) as channel:
        channel.subscribe("mlm:files")
        channel.get_message(timeout=5)  # subscribed
        with listening(served) as heard:
            (number,) = served.announce("R1", "hydrated")
            event_id, kind, data = heard.event()
        said = json.loads(channel.get_message(timeout=5)["data"])
    assert (event_id, kind, data) == (number, "hydrated", said)
    assert (data["kind"], data["ref"], set(data)) == ("hydrated", "R1", {"kind", "ref", "at"})
    assert heard.response.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_a_new_stream_begins_with_what_comes_after_it(served: Receiver) -> None:
    served.announce("R-before", "fresh")
    with listening(served) as heard:
        served.announce("R-after", "fresh")
        assert heard.about() == ("fresh", "R-after")


def test_a_stream_tells_its_place_at_once_so_that_a_cut_before_the_first_event_loses_none(served: Receiver) -> None:
    (number,) = served.announce("R1", "fresh")
    with httpx.stream("GET", served.url + EVENTS, headers=BEARER, timeout=10) as response:
        assert Heard(response).block()["id"] == str(number)


def test_all_streams_of_a_process_share_one_subscription(served: Receiver) -> None:
    with redis.Redis.from_url(served.redis_url) as client, listening(served) as one:
        before = client.pubsub_numsub("mlm:files")
        with listening(served) as other:
            assert client.pubsub_numsub("mlm:files") == before
            served.announce("R1", "fetching", "hydrated")
            assert [one.about(), one.about()] == [("fetching", "R1"), ("hydrated", "R1")]
            assert [other.about(), other.about()] == [("fetching", "R1"), ("hydrated", "R1")]


def test_a_stream_of_one_file_hears_of_no_other(served: Receiver) -> None:
    with listening(served, "?ref=R2") as heard:
        served.announce("R1", "fresh")
        served.announce("R2", "fresh")
        assert heard.about() == ("fresh", "R2")


@pytest.mark.parametrize("way", ["header", "query"])
def test_a_stream_resumes_behind_the_number_that_was_heard_last(served: Receiver, way: str) -> None:
    first, *_ = served.announce("R1", "fetching", "hydrated", "fresh")
    query = f"?last_event_id={first}" if way == "query" else ""
    headers = {**BEARER, "Last-Event-ID": str(first)} if way == "header" else BEARER
    with listening(served, query, headers) as heard:
        assert [heard.about(), heard.about()] == [("hydrated", "R1"), ("fresh", "R1")]


def test_a_long_absence_is_made_up_for_page_by_page_and_runs_on_without_a_gap(served: Receiver) -> None:
    first, *rest = served.announce("R1", *["fetching"] * 1000), *served.announce("R1", *["fresh"] * 300)
    numbers = [*first[1:], *rest]
    with listening(served, headers={**BEARER, "Last-Event-ID": str(first[0])}) as heard:
        assert [heard.event()[0] for _ in numbers] == numbers
        later = served.announce("R1", "purged")
        assert [heard.event()[0]] == later


@pytest.mark.parametrize("last", ["999999999", "not-a-number", "9" * 40, "-1"])
def test_a_number_that_was_never_given_gets_a_reset_and_goes_on_from_the_newest(served: Receiver, last: str) -> None:
    (newest,) = served.announce("R1", "fresh")
    with listening(served, headers={**BEARER, "Last-Event-ID": last}) as heard:
        assert heard.event() == (newest, "reset", {"kind": "reset"})
        served.announce("R2", "fresh")
        assert heard.about() == ("fresh", "R2")


def test_a_number_older_than_what_is_kept_gets_a_reset(engine: sa.Engine) -> None:
    with receiver(engine) as served:
        first, _, newest = served.announce("R1", "fetching", "hydrated", "fresh")
        with engine.begin() as conn:
            conn.exec_driver_sql("DELETE FROM file_events WHERE number < %(newest)s", {"newest": newest})
        with listening(served, headers={**BEARER, "Last-Event-ID": str(first)}) as heard:
            assert heard.event()[:2] == (newest, "reset")


def test_a_number_from_the_future_gets_a_reset_while_other_streams_are_open(served: Receiver) -> None:
    with listening(served) as other:
        served.announce("R1", "fresh")
        other.about()
        with listening(served, headers={**BEARER, "Last-Event-ID": "999999999"}) as heard:
            assert heard.event()[1] == "reset"


def test_a_ticket_signs_in_one_stream_once(served: Receiver) -> None:
    issued = served.portal("/events/tickets")
    assert (issued.status_code, issued.json()["expires_in"]) == (201, 60)
    query = f"?ticket={issued.json()['ticket']}"
    with listening(served, query, headers={}) as heard:
        served.announce("R1", "fresh")
        assert heard.about() == ("fresh", "R1")
    assert httpx.get(f"{served.url}{EVENTS}{query}").status_code == 401


def test_a_ticket_runs_out_after_a_minute(served: Receiver) -> None:
    ticket = served.portal("/events/tickets").json()["ticket"]
    with served.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE event_tickets SET expires_at = expires_at - interval '61 s'")
    assert httpx.get(f"{served.url}{EVENTS}?ticket={ticket}").status_code == 401


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=made-up", "?ticket=%00", "?ticket=" + "x" * 5000])
def test_neither_bearer_nor_ticket_hears_nothing(served: Receiver, query: str) -> None:
    answer = httpx.get(f"{served.url}{EVENTS}{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_a_reference_that_no_file_can_have_is_named(served: Receiver) -> None:
    answer = served.get(f"{EVENTS}?ref=R%00")
    assert (answer.status_code, answer.json()["field"]) == (422, "ref")


def test_a_look_at_the_head_alone_opens_no_stream(served: Receiver) -> None:
    assert httpx.head(served.url + EVENTS, headers=BEARER, timeout=10).status_code == 200


def test_open_streams_do_not_hold_up_a_server_that_stops(engine: sa.Engine) -> None:
    with contextlib.ExitStack() as stack:
        with receiver(engine) as served:
            heard = stack.enter_context(listening(served))
        with pytest.raises(StopIteration):  # ended whole, not cut
            heard.block()


def test_clients_that_have_gone_hold_nothing(engine: sa.Engine) -> None:
    """With the last of them gone the hub rests, and a new one is served as the first was."""
    with receiver(engine) as served:
        for _ in range(3):
            with listening(served):
                pass
        with listening(served) as heard:
            served.announce("R1", "fresh")
            assert heard.about() == ("fresh", "R1")


def test_many_streams_at_once_each_hear_everything(served: Receiver) -> None:
    """More streams than there are threads and connections: none holds one."""
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(listening(served)) for _ in range(40)]
        served.announce("R1", "fresh")
        assert [stream.about() for stream in streams] == [("fresh", "R1")] * 40


def test_without_redis_a_stream_hears_all_the_same(engine: sa.Engine) -> None:
    with receiver(engine, redis_url="redis://127.0.0.1:1/0") as served, listening(served) as heard:
        served.redis_url = None
        served.announce("R1", "fresh")
        assert heard.about() == ("fresh", "R1")


def test_events_written_while_streams_open_and_close_are_heard_by_each_in_order(served: Receiver) -> None:
    """Whenever a stream begins or resumes, what it hears is without gap or repetition."""
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set() and len(written) < 400:
            written.extend(served.announce("R1", "fetching", "fresh"))

    (last,) = served.announce("R1", "purged")
    writer = threading.Thread(target=write)
    writer.start()
    heard: list[int] = []
    try:
        for _ in range(5):
            with listening(served, headers={**BEARER, "Last-Event-ID": str(last)}) as stream:
                heard += [stream.event()[0] for _ in range(20)]
            last = heard[-1]
    finally:
        stop.set()
        writer.join()
    assert heard == written[: len(heard)]
