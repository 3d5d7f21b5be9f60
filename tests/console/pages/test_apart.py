"""The console in a process of its own, behind the address of a receiver that is a real process too."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa
from a_console import OPERATOR, PASSWORD, TOKEN, USERS, Person
from from_outside import until
from receiver_process import WITHIN_S, Process, receiver_process

from console.pages.__main__ import AUTOGROUP, PRIORITY

MODULE = "console.pages"
ENTRY = [{"eventType": "Modified", "referenceNumber": "R-unknown", "values": {}}]


@pytest.fixture
def receiver(database_url: str) -> Iterator[Process]:
    with receiver_process({"DATABASE_URL": database_url, "CONSOLE_USERS": USERS}) as running:
        yield running


@pytest.fixture
def person(receiver: Process) -> Iterator[Person]:
    with httpx.Client(base_url=f"http://127.0.0.1:{receiver.port}", timeout=WITHIN_S, trust_env=False) as web:
        yield Person(web)


def serving(receiver: Process) -> list[int]:
    """The console's processes of this receiver. By their parent, and by what they were called with."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            called = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == receiver.forked.pid and MODULE.encode() in called:
            found.append(int(stat.parent.name))
    return found


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_is_started_with_the_first_page_and_not_before(receiver: Process, person: Person) -> None:
    assert receiver.post(ENTRY).status_code == 200
    assert serving(receiver) == []
    assert person.sign_in(OPERATOR).status_code == 303
    assert len(serving(receiver)) == 1


def test_what_receives_goes_first(receiver: Process, person: Person) -> None:
    person.page("/sign-in")
    (pid,) = serving(receiver)
    assert os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, receiver.forked.pid) == PRIORITY


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="processors are not shared by session here")
def test_what_receives_goes_first_where_processors_are_shared_by_session(receiver: Process, person: Person) -> None:
    person.page("/sign-in")
    (pid,) = serving(receiver)
    group, _, nice = Path(f"/proc/{pid}/autogroup").read_text().strip().partition(" nice ")
    assert int(nice) == PRIORITY
    assert group not in Path(f"/proc/{receiver.forked.pid}/autogroup").read_text()


def test_deliveries_are_taken_while_it_stands_still(receiver: Process, person: Person) -> None:
    person.page("/sign-in")
    (pid,) = serving(receiver)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert [receiver.post(ENTRY).status_code for _ in range(8)] == [200] * 8
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_that_is_killed_begins_anew(receiver: Process, person: Person) -> None:
    assert person.sign_in(OPERATOR).status_code == 303
    (pid,) = serving(receiver)
    os.kill(pid, signal.SIGKILL)
    until(lambda: is_gone(pid))
    assert person.get("/actions").status_code == 200
    assert serving(receiver) != [pid]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_receiver_however_that_ends(receiver: Process, person: Person, signum: signal.Signals) -> None:
    person.page("/sign-in")
    (pid,) = serving(receiver)
    receiver.end(signum)
    until(lambda: is_gone(pid))


def test_an_address_that_a_stranger_claims_is_not_believed(
    receiver: Process, person: Person, engine: sa.Engine
) -> None:
    claims = {"x-freshness-caller": "203.0.113.9", "x-forwarded-for": "203.0.113.9"}
    assert person.sign_in(OPERATOR, "wrong", **claims).status_code == 401
    with engine.begin() as conn:
        assert conn.exec_driver_sql("SELECT address FROM console_attempts").scalars().all() == ["127.0.0.1"]


def test_a_form_without_a_length_arrives_whole(person: Person) -> None:
    token = TOKEN.findall(person.page("/sign-in"))[0]
    fields = urlencode({"name": OPERATOR, "password": PASSWORD, "token": token}).encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = person.web.post("/console/sign-in", content=iter([fields[:20], fields[20:]]), headers=form)
    assert answer.status_code == 303


def test_an_address_that_no_browser_sends_is_refused(receiver: Process) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=WITHIN_S) as raw:
        raw.sendall(b"GET /console/\xff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 400"


def test_with_nobody_configured_there_is_none(database_url: str) -> None:
    with receiver_process({"DATABASE_URL": database_url}) as receiver:
        address = f"http://127.0.0.1:{receiver.port}/console/sign-in"
        assert httpx.get(address, trust_env=False).status_code == 404
        assert serving(receiver) == []
