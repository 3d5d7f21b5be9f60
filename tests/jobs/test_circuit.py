"""The circuit: when it opens, one probe a window over all threads and processes, when it closes, and what it says."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest
import redis
from hands import PATIENCE_S
from structlog.testing import capture_logs

from jobs.broker import connect
from jobs.circuit import OPEN_KEY, CircuitRules, circuit_state
from jobs.errors import MlmAway
from jobs.pacing import Pacer
from mlm_client import errors as mlm
from mlm_client.errors import MlmError

FAST, MANY = 100_000.0, 1_000  # neither rate nor places count here


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect(redis_url)


@pytest.fixture
def pacer(client: redis.Redis) -> Pacer:
    return pacer_on(client)


def pacer_on(client: redis.Redis, **changes: float) -> Pacer:
    """A worker's pacer; windows as they are in the product, which no test waits for."""
    return Pacer(client, limit=MANY, rate=FAST, lease_s=60, circuit=CircuitRules(**changes))  # type: ignore[arg-type]


def call(
    pacer: Pacer, error: MlmError | None = None, file: str = "R1", meanwhile: Callable[[], None] = lambda: None
) -> None:
    """One call to MLM, about a file, that ends with this error or is answered."""
    with pacer.place(prompt=False, deadline_s=0):
        meanwhile()
        if error is not None:
            raise error.during("LoadByRefNumber", file)


def ends(pacer: Pacer, *how: Any, **more: Any) -> str:
    """How such a call ends: by the name of what it raises."""
    try:
        call(pacer, *how, **more)
    except (MlmError, MlmAway) as raised:
        return type(raised).__name__
    return "answered"


def away(pacer: Pacer) -> None:
    """MLM is away until the circuit opens."""
    while circuit_state(pacer._client).state == "closed":
        for file in ("R1", "R2", "R3"):
            ends(pacer, mlm.Outage("down", 502), file)


def window_over(client: redis.Redis) -> None:
    """Let the time pass until the next probe may leave."""
    client.hset(OPEN_KEY, "probe_at", 1)


def window_s(client: redis.Redis) -> float:
    return int(client.hget(OPEN_KEY, "window") or 0) / 1_000_000


AWAY = [
    mlm.Outage("down", 502),
    mlm.TimedOut("too late"),
    mlm.Unreachable("it broke"),
    mlm.UnreadableAnswer("cut short"),
    mlm.Throttled("maintenance page", 503),
]
ANSWERS = [
    mlm.NotFound("no such file"),
    mlm.FileBusy("somebody holds it"),
    mlm.AccessDenied("not ours"),
    mlm.Rejected("no"),
]


def _names(errors: list[MlmError]) -> list[str]:
    return [type(error).__name__ for error in errors]


@pytest.mark.parametrize("error", AWAY, ids=_names(AWAY))
def test_five_failures_in_a_row_on_three_files_open_it(client: redis.Redis, pacer: Pacer, error: MlmError) -> None:
    for file in ("R1", "R1", "R2", "R3"):
        assert ends(pacer, error, file) == type(error).__name__
    assert circuit_state(client).state == "closed"
    assert circuit_state(client).failures == 4

    assert ends(pacer, error, "R3") == "MlmAway"

    found = circuit_state(client)
    assert (found.state, found.failures) == ("open", 5)
    assert found.why == f"{type(error).__name__}: {error}"
    assert found.since is not None
    assert found.next_probe_at is not None
    assert (found.next_probe_at - found.since).total_seconds() == 1


def test_the_failures_of_two_flaky_files_never_open_it(client: redis.Redis, pacer: Pacer) -> None:
    for number in range(40):
        assert ends(pacer, mlm.Outage("down"), f"R{number % 2}") == "Outage"
    assert circuit_state(client).state == "closed"


@pytest.mark.parametrize("answer", [None, *ANSWERS], ids=["content", *_names(ANSWERS)])
def test_an_answer_of_whatever_kind_forgets_the_failures_before_it(
    client: redis.Redis, pacer: Pacer, answer: MlmError | None
) -> None:
    for file in ("R1", "R2", "R3", "R4"):
        ends(pacer, mlm.Outage("down"), file)
    ends(pacer, answer)
    assert circuit_state(client).failures == 0
    assert ends(pacer, mlm.Outage("down"), "R5") == "Outage"
    assert circuit_state(client).state == "closed"


def test_what_ends_a_call_by_our_own_fault_says_nothing_about_mlm(client: redis.Redis, pacer: Pacer) -> None:
    for file in ("R1", "R2", "R3", "R4"):
        ends(pacer, mlm.Outage("down"), file)
    with pytest.raises(ZeroDivisionError), pacer.place(prompt=False, deadline_s=0):
        _ = 1 / 0
    assert circuit_state(client).failures == 4


def test_a_failure_before_anything_was_asked_is_never_a_files(client: redis.Redis, pacer: Pacer) -> None:
    for _ in range(5):
        error = mlm.Unreachable("no connection")
        error.unasked = True
        ends(pacer, error, "R1")
    assert circuit_state(client).state == "open"


def test_tickets_that_are_refused_again_and_again_are_never_a_files(client: redis.Redis, pacer: Pacer) -> None:
    for _ in range(5):
        ends(pacer, mlm.SignInAgain("refused"), "R1")
    assert circuit_state(client).state == "open"


def test_a_429_opens_it_at_once(client: redis.Redis, pacer: Pacer) -> None:
    assert ends(pacer, mlm.Throttled("fewer", 429)) == "MlmAway"
    assert circuit_state(client).state == "open"
    assert window_s(client) == 1


@pytest.mark.parametrize(("asked_s", "window"), [(20.0, 20.0), (0.0, 1.0), (86_400.0, 300.0)])
def test_retry_after_is_honoured_up_to_five_minutes(
    client: redis.Redis, pacer: Pacer, asked_s: float, window: float
) -> None:
    ends(pacer, mlm.Throttled("fewer", 429, asked_s))
    assert window_s(client) == window


def test_one_503_with_retry_after_does_not_open_it_since_it_may_be_one_files(client: redis.Redis, pacer: Pacer) -> None:
    assert ends(pacer, mlm.Throttled("maintenance", 503, 60.0)) == "Throttled"
    assert circuit_state(client).state == "closed"
    for file in ("R1", "R2", "R3", "R4"):
        ends(pacer, mlm.Throttled("maintenance", 503, 60.0), file)
    assert window_s(client) == 60


def test_while_it_is_open_a_call_is_refused_at_once_and_takes_nothing(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    client.delete("mlm:pace:due")
    for prompt in (True, False):
        with pytest.raises(MlmAway), pacer.place(prompt=prompt, deadline_s=60):
            pass
    assert client.exists("mlm:pace:due", "mlm:pace:bulk", "mlm:pace:prompt", "mlm:pace:waits") == 0
    assert pacer.is_away()


def test_a_process_hears_of_it_with_its_next_call(client: redis.Redis, pacer: Pacer) -> None:
    other = pacer_on(client)
    away(pacer)
    assert not other.is_away()
    assert ends(other) == "MlmAway"
    assert other.is_away()


def test_when_the_window_is_over_one_call_leaves_and_none_beside_it(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    window_over(client)
    assert circuit_state(client).state == "half-open"
    with pacer.place(prompt=False, deadline_s=0):
        assert circuit_state(client).state == "half-open"
        assert ends(pacer) == "MlmAway"
        window_over(client)  # a probe that takes longer than the window
        assert ends(pacer_on(client)) == "MlmAway"


@pytest.mark.parametrize("answer", [None, *ANSWERS], ids=["content", *_names(ANSWERS)])
def test_a_probe_that_is_answered_closes_it(client: redis.Redis, pacer: Pacer, answer: MlmError | None) -> None:
    away(pacer)
    window_over(client)
    ends(pacer, answer)
    assert circuit_state(client).state == "closed"
    assert not pacer.is_away()
    assert ends(pacer) == "answered"


def test_after_it_has_closed_it_takes_as_many_failures_again(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    window_over(client)
    call(pacer)
    assert [ends(pacer, mlm.Outage("down"), f"R{n}") for n in range(5)] == ["Outage"] * 4 + ["MlmAway"]
    assert window_s(client) == 1


def test_each_probe_that_fails_doubles_the_window_up_to_half_a_minute(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    since = circuit_state(client).since
    windows = [window_s(client)]
    for _ in range(6):
        window_over(client)
        assert ends(pacer, mlm.Outage("down")) == "MlmAway"
        windows.append(window_s(client))
    assert windows == [1, 2, 4, 8, 16, 30, 30]
    assert circuit_state(client).failures == 5 + 6
    assert circuit_state(client).since == since


def test_a_probe_that_ended_by_our_own_fault_leaves_the_window_as_it_was(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    window_over(client)
    with pytest.raises(ZeroDivisionError), pacer.place(prompt=False, deadline_s=0):
        _ = 1 / 0
    assert circuit_state(client).state == "open"
    assert window_s(client) == 1
    window_over(client)
    assert ends(pacer) == "answered"


def test_a_probe_whose_worker_was_killed_is_made_again(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    window_over(client)
    killed = pacer.place(prompt=False, deadline_s=0)
    killed.__enter__()
    client.delete("mlm:pace:bulk")  # its lease has ended
    assert ends(pacer) == "MlmAway"
    window_over(client)
    assert ends(pacer) == "answered"
    assert circuit_state(client).state == "closed"


@pytest.fixture
def under_way(client: redis.Redis, pacer: Pacer) -> Iterator[ExitStack]:
    """A call that left before MLM went away and comes back when the circuit has opened."""
    with ExitStack() as stack:
        stack.enter_context(pacer.place(prompt=False, deadline_s=0))
        away(pacer_on(client))
        yield stack


def test_an_answer_to_a_call_from_before_it_opened_does_not_close_it(client: redis.Redis, under_way: ExitStack) -> None:
    under_way.close()
    assert circuit_state(client).state == "open"


def test_a_failure_that_finds_it_open_is_not_held_against_the_work_nor_the_window(
    client: redis.Redis, pacer: Pacer
) -> None:
    assert ends(pacer, mlm.Outage("down"), meanwhile=lambda: away(pacer_on(client))) == "MlmAway"
    assert (window_s(client), circuit_state(client).failures) == (1, 5)


def test_a_refused_sign_in_opens_it_at_once_and_says_so(client: redis.Redis, pacer: Pacer) -> None:
    with capture_logs() as logs:
        assert ends(pacer, mlm.SignInFailed("MLM refuses the client id and secret", 401)) == "SignInFailed"
    (said,) = logs
    assert (said["log_level"], said["event"]) == ("error", "circuit.refused")
    found = circuit_state(client)
    assert found.state == "open"
    assert "refuses the client id and secret" in (found.why or "")
    assert ends(pacer) == "MlmAway"


def test_a_refused_sign_in_is_tried_again_after_a_minute_doubling_to_ten(client: redis.Redis, pacer: Pacer) -> None:
    refused = mlm.SignInFailed("refused", 401)
    ends(pacer, refused)
    windows = [window_s(client)]
    for _ in range(5):
        window_over(client)
        assert ends(pacer, refused) == "SignInFailed"
        windows.append(window_s(client))
    assert windows == [60, 120, 240, 480, 600, 600]


def test_a_refused_sign_in_stops_the_probes_of_an_outage(client: redis.Redis, pacer: Pacer) -> None:
    ends(pacer, mlm.SignInFailed("refused", 401), meanwhile=lambda: away(pacer_on(client)))
    assert window_s(client) == 60


def test_an_outage_says_so_once_and_when_it_is_over(client: redis.Redis, pacer: Pacer) -> None:
    with capture_logs() as logs:
        away(pacer)
        for _ in range(3):
            ends(pacer)
        window_over(client)
        ends(pacer, mlm.Outage("still down"))
        window_over(client)
        call(pacer)
    assert [(said["event"], said.get("opened")) for said in logs] == [
        ("circuit.away", True),
        ("circuit.away", False),
        ("circuit.closed", None),
    ]


def test_failures_further_apart_than_its_memory_do_not_add_up(client: redis.Redis) -> None:
    pacer = pacer_on(client, memory_s=0.05)
    for file in ("R1", "R2", "R3", "R4"):
        ends(pacer, mlm.Outage("down"), file)
    ends_at = time.monotonic() + PATIENCE_S
    while circuit_state(client).failures:
        assert time.monotonic() < ends_at
    assert ends(pacer, mlm.Outage("down"), "R5") == "Outage"
    assert circuit_state(client).failures == 1


def test_a_flushed_redis_closes_it_and_the_next_failures_open_it(client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    client.flushdb()
    assert circuit_state(client).state == "closed"
    assert ends(pacer) == "answered"
    away(pacer)
    assert circuit_state(client).state == "open"


def _try_at_once(redis_url: str, threads: int, others: int) -> None:
    """Threads of one process that all try to call at once; whoever is let through waits until all others were not."""
    client = redis.Redis.from_url(redis_url)

    def one() -> None:
        pacer = pacer_on(client)
        client.rpush("test:ready", 1)
        client.blpop(["test:go"], timeout=PATIENCE_S)
        try:
            with pacer.place(prompt=False, deadline_s=PATIENCE_S):
                client.incr("test:through")
                for _ in range(others):
                    client.blpop(["test:refused"], timeout=PATIENCE_S)
        except MlmAway:
            client.rpush("test:refused", 1)

    each = [threading.Thread(target=one) for _ in range(threads)]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join(60)


def test_of_the_threads_of_two_processes_one_is_the_probe(redis_url: str, client: redis.Redis, pacer: Pacer) -> None:
    away(pacer)
    window_over(client)
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_try_at_once, args=(redis_url, 6, 11)) for _ in range(2)]
    for each in processes:
        each.start()
    for _ in range(12):
        assert client.blpop(["test:ready"], timeout=60)
    client.rpush("test:go", *range(12))
    for each in processes:
        each.join(60)

    assert int(client.get("test:through") or 0) == 1
    assert circuit_state(client).state == "closed"


def _probe(redis_url: str, probes: int) -> None:
    """Call without a pause an MLM that is away, and write down when each call that was let through began."""
    client = connect(redis_url)
    pacer = pacer_on(client, first_s=0.02, longest_s=0.16)
    while client.llen("test:began") < probes:
        try:
            with pacer.place(prompt=False, deadline_s=0):
                seconds, micros = client.time()
                client.rpush("test:began", seconds * 1_000_000 + micros)
                raise mlm.Outage("down")
        except MlmAway:
            pass


def test_over_two_processes_no_window_sees_more_than_one_probe(redis_url: str, client: redis.Redis) -> None:
    away(pacer_on(client, first_s=0.02))
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_probe, args=(redis_url, 7)) for _ in range(2)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)

    began = [int(at) for at in client.lrange("test:began", 0, -1)]
    apart_s = [(later - sooner) / 1_000_000 for sooner, later in pairwise(began)]
    assert len(apart_s) >= 6
    for gap_s, window in zip(apart_s, (0.04, 0.08, 0.16, 0.16, 0.16, 0.16), strict=False):
        assert gap_s >= window
