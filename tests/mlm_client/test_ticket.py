"""Signing in: once for all threads, early, never in a storm; over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import parse_qs

import pytest
from scripted_mlm import Asked, Say, ScriptedMlm, running, token

from mlm_client import MlmError, Outage, SignInFailed, Throttled, UnreadableAnswer
from mlm_client.exchange import Exchange, Timeouts, pool
from mlm_client.ticket import Tickets

REFUSED = Say('{"error":"invalid_client","error_description":"the-secret is wrong"}', 401, "application/json")


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def signing_in() -> Iterator[tuple[ScriptedMlm, Tickets, Clock]]:
    clock = Clock()
    times = Timeouts(2.0, 2.0, 60.0)
    with running() as mlm, pool(times) as http:
        yield mlm, Tickets(Exchange(http, times, clock), f"{mlm.url}/oauth/token", "the client", "the&secret"), clock


def ask(tickets: Tickets, clock: Clock) -> str:
    return tickets.current(clock() + 60).text


def test_the_credentials_go_as_a_form_and_the_token_comes_back_as_a_bearer() -> None:
    with signing_in() as (mlm, tickets, clock):
        assert ask(tickets, clock) == "Bearer t1"

        asked = mlm.sign_ins[0]
        assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert parse_qs(asked.body) == {
            "grant_type": ["client_credentials"],
            "client_id": ["the client"],
            "client_secret": ["the&secret"],
        }


@pytest.mark.parametrize(
    ("life", "good_for"),
    [(14_400, 14_100), (1_000, 900), ("1000", 900), (10, 9), (None, 810), (-5, 810), ("soon", 810), (10**12, 810)],
)
def test_a_ticket_is_kept_until_five_minutes_or_a_tenth_of_its_life_before_its_end(life: object, good_for: int) -> None:
    with signing_in() as (mlm, tickets, clock):
        mlm.on_sign_in = lambda asked: token(f"t{len(mlm.sign_ins)}", life)
        ask(tickets, clock)

        clock.now += good_for - 0.1
        before = ask(tickets, clock)
        clock.now += 0.2
        after = ask(tickets, clock)

        assert (before, after) == ("Bearer t1", "Bearer t2")


def test_a_ticket_ages_from_when_it_was_asked_for() -> None:
    with signing_in() as (mlm, tickets, clock):

        def slow(asked: Asked) -> Say:
            clock.now += 50
            return token(f"t{len(mlm.sign_ins)}", 100)

        mlm.on_sign_in = slow
        ask(tickets, clock)
        clock.now += 41

        assert ask(tickets, clock) == "Bearer t2"


def test_sixteen_threads_without_a_ticket_sign_in_once() -> None:
    with signing_in() as (mlm, tickets, clock), ThreadPoolExecutor(16) as threads:
        together = threading.Barrier(16)

        def one(_: int) -> str:
            together.wait()
            return ask(tickets, clock)

        assert set(threads.map(one, range(16))) == {"Bearer t1"}
        assert len(mlm.sign_ins) == 1


def test_sixteen_threads_with_a_wrong_secret_try_it_once() -> None:
    with signing_in() as (mlm, tickets, clock), ThreadPoolExecutor(16) as threads:
        mlm.on_sign_in = lambda asked: REFUSED
        together = threading.Barrier(16)

        def one(_: int) -> type[BaseException] | None:
            together.wait()
            try:
                ask(tickets, clock)
            except MlmError as error:
                return type(error)
            return None

        assert set(threads.map(one, range(16))) == {SignInFailed}
        assert len(mlm.sign_ins) == 1


def test_while_one_thread_renews_early_the_others_go_on_with_the_old_ticket() -> None:
    renewing, go_on = threading.Event(), threading.Event()
    with signing_in() as (mlm, tickets, clock), ThreadPoolExecutor(1) as other:
        ask(tickets, clock)
        clock.now += 14_200

        def held(asked: Asked) -> Say:
            renewing.set()
            go_on.wait(5)
            return token("new")

        mlm.on_sign_in = held
        renewal = other.submit(ask, tickets, clock)
        renewing.wait(5)
        meanwhile = ask(tickets, clock)
        go_on.set()

        assert (meanwhile, renewal.result(5), ask(tickets, clock)) == ("Bearer t1", "Bearer new", "Bearer new")


@pytest.mark.parametrize("answer", [Say("", 502, None), REFUSED, Say("no json")])
def test_an_early_renewal_that_fails_leaves_the_old_ticket_until_it_is_spent(answer: Say) -> None:
    with signing_in() as (mlm, tickets, clock):
        ask(tickets, clock)
        mlm.on_sign_in = lambda asked: answer

        clock.now += 14_200
        assert [ask(tickets, clock), ask(tickets, clock)] == ["Bearer t1"] * 2
        assert len(mlm.sign_ins) == 2
        clock.now += 200
        with pytest.raises(MlmError):
            ask(tickets, clock)


def test_a_refused_sign_in_is_tried_again_after_half_a_minute_and_then_twice_as_late() -> None:
    with signing_in() as (mlm, tickets, clock):
        mlm.on_sign_in = lambda asked: REFUSED
        tried = []
        for _ in range(130):
            with pytest.raises(SignInFailed):
                ask(tickets, clock)
            tried.append(len(mlm.sign_ins))
            clock.now += 1

        assert [tried.index(n) for n in (1, 2, 3)] == [0, 30, 90]
        mlm.on_sign_in = lambda asked: token("good")
        clock.now += 600
        assert ask(tickets, clock) == "Bearer good"


def test_a_token_service_that_is_down_is_tried_again_a_second_later() -> None:
    with signing_in() as (mlm, tickets, clock):
        mlm.on_sign_in = lambda asked: Say("", 502, None)
        for _ in range(3):
            with pytest.raises(Outage):
                ask(tickets, clock)
        assert len(mlm.sign_ins) == 1

        mlm.on_sign_in = lambda asked: token("good")
        clock.now += 1
        assert ask(tickets, clock) == "Bearer good"


def test_a_ticket_that_mlm_refused_is_replaced_once_whoever_says_so() -> None:
    with signing_in() as (mlm, tickets, clock):
        first = tickets.current(clock() + 60)
        tickets.refused(first)
        second = tickets.current(clock() + 60)
        clock.now += 5
        tickets.refused(first)

        assert tickets.current(clock() + 60) is second
        assert len(mlm.sign_ins) == 2


def test_mlm_refusing_every_ticket_makes_one_sign_in_a_second_and_no_storm() -> None:
    with signing_in() as (mlm, tickets, clock):
        for _ in range(100):
            tickets.refused(tickets.current(clock() + 60))
            clock.now += 0.1

        assert len(mlm.sign_ins) <= 11


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (REFUSED, SignInFailed),
        (Say('{"error":"invalid_client"}', 400, "application/json"), SignInFailed),
        (Say("<html>", 401, "text/html"), SignInFailed),
        (Say('{"error":"invalid_client"}', 200, "application/json"), SignInFailed),
        (Say("", 429, None), Throttled),
        (Say("<html>", 503, "text/html"), Throttled),
        (Say("<html>", 500, "text/html"), Outage),
        (Say("<html>", 404, "text/html"), Outage),
        (Say("", 302, None, {"Location": "/login"}), Outage),
        (Say("<html>", 200, "text/html"), UnreadableAnswer),
        (Say("", 200), UnreadableAnswer),
        (Say("[]", 200), UnreadableAnswer),
        (Say("[" * 100_000, 200), UnreadableAnswer),
        (Say('{"access_token":""}', 200), UnreadableAnswer),
        (Say('{"access_token":7}', 200), UnreadableAnswer),
        (Say('{"access_token":"a\\u0000b"}', 200), UnreadableAnswer),
    ],
)
def test_each_answer_of_the_token_service_has_its_name_and_leaks_no_secret(answer: Say, kind: type[MlmError]) -> None:
    with signing_in() as (mlm, tickets, clock):
        mlm.on_sign_in = lambda asked: answer

        with pytest.raises(MlmError) as caught:
            ask(tickets, clock)

        assert type(caught.value) is kind
        assert "secret " not in str(caught.value).replace("client id and secret ", "")
        assert caught.value.__context__ is None


def test_a_ticket_shows_no_token() -> None:
    with signing_in() as (_, tickets, clock):
        assert "t1" not in repr(tickets.current(clock() + 60))
