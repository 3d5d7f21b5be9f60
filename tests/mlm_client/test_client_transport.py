"""How the client holds the wire: caps, deadlines, logs, and what it leaves alone."""

from __future__ import annotations

import gzip
import io
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import zeep
from scripted_mlm import Say, connected, envelope

from mlm_client import Outage, Question, TimedOut, TooLarge, UnreadableAnswer
from mlm_client.exchange import Exchange, Timeouts, pool
from mlm_client.soap import wsdl


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_over_the_cap_is_refused_by_its_length_before_it_is_read() -> None:
    with connected() as (mlm, _):
        mlm.says(Say(b"<a/>", length=5_000))
        exchange = Exchange(pool(TIMES), TIMES, Clock(), max_bytes=4_999)

        with pytest.raises(TooLarge):
            exchange.post(f"{mlm.url}/x", b"", {}, 200.0)


def test_an_answer_without_a_length_is_cut_off_at_the_cap_while_it_streams() -> None:
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield b"x" * 65_536

    with connected() as (mlm, _):
        mlm.says(Say(pieces=endless()))
        exchange = Exchange(pool(TIMES), TIMES, Clock(), max_bytes=1_000_000)

        with pytest.raises(TooLarge):
            exchange.post(f"{mlm.url}/x", b"", {}, 200.0)


def test_the_cap_counts_what_a_compressed_answer_unpacks_to() -> None:
    with connected() as (mlm, _):
        mlm.says(Say(gzip.compress(b"x" * 2_000_000), headers={"Content-Encoding": "gzip"}))
        exchange = Exchange(pool(TIMES), TIMES, Clock(), max_bytes=1_000_000)

        with pytest.raises(TooLarge):
            exchange.post(f"{mlm.url}/x", b"", {}, 200.0)


def test_a_compressed_answer_is_read() -> None:
    with connected() as (mlm, client):
        body = envelope("LoadByRefNumber", '<LOXmlFormat><loan><field id="s">1</field></loan></LOXmlFormat>')
        mlm.says(Say(gzip.compress(body.encode()), headers={"Content-Encoding": "gzip"}))

        assert client.load_by_ref("R1", Question()).fields == {"s": "1"}


def test_an_answer_compressed_twice_is_refused_before_anything_is_unpacked() -> None:
    with connected() as (mlm, client):
        body = envelope("LoadByRefNumber", "<LOXmlFormat><loan/></LOXmlFormat>").encode()
        mlm.says(Say(gzip.compress(gzip.compress(body)), headers={"Content-Encoding": "gzip, gzip"}))

        with pytest.raises(UnreadableAnswer, match="compressed in a way"):
            client.load_by_ref("R1", Question())


def test_a_text_over_ten_megabytes_is_too_large_and_not_unreadable() -> None:
    with connected() as (mlm, client):
        mlm.says("x" * 10_500_000)

        with pytest.raises(TooLarge):
            client.load_by_ref("R1", Question())


def test_an_answer_that_drips_is_over_at_the_deadline_of_the_whole_call() -> None:
    clock = Clock()

    def drip() -> Iterator[bytes]:
        for _ in range(1_000):
            clock.now += 10
            yield b"<"

    with connected() as (mlm, _):
        mlm.says(Say(pieces=drip()))

        with pytest.raises(TimedOut, match="whole call"):
            Exchange(pool(TIMES), TIMES, clock).post(f"{mlm.url}/x", b"", {}, 160.0)


def test_a_call_with_no_time_left_sends_nothing() -> None:
    with connected() as (mlm, _):
        with pytest.raises(TimedOut, match="no time"):
            Exchange(pool(TIMES), TIMES, Clock()).post(f"{mlm.url}/x", b"", {}, 100.0)

        assert mlm.calls == []


def test_no_redirect_takes_the_ticket_elsewhere() -> None:
    with connected() as (mlm, client):
        mlm.says(Say("", 307, None, {"Location": f"{mlm.url}/elsewhere"}))

        with pytest.raises(Outage):
            client.read_stamp("R1")

        assert [call.path for call in mlm.calls] == ["/los/webservice/Loan.asmx"]


def test_a_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")

    with connected() as (_, client):
        assert client.read_stamp("R1") is None


def test_the_logger_that_shows_whole_envelopes_is_off_even_under_debug() -> None:
    code = (
        "import logging, mlm_client; logging.basicConfig(level=logging.DEBUG);"
        "print(logging.getLogger('zeep.transports').isEnabledFor(logging.INFO))"
    )

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "False\n"


def test_a_call_logs_neither_envelopes_nor_ticket_nor_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with connected() as (mlm, client):
        mlm.says('<LOXmlFormat><loan><field id="aBFirstNm">Alice</field></loan></LOXmlFormat>')
        client.load_by_ref("R1", Question())

    assert caplog.records
    assert not any(word in caplog.text for word in ("Alice", "Bearer", "the-secret", "sXmlQuery"))


def test_the_wsdl_that_ships_has_five_operations_in_both_soap_versions_and_no_documents() -> None:
    document = zeep.wsdl.Document(io.BytesIO(wsdl()), zeep.Transport())

    operations = {str(name).rpartition("}")[2]: sorted(one.all()) for name, one in document.bindings.items()}

    five = ["ClearModifiedLoanByNameByAppCode", "ListModifiedLoansByAppCode", "Load", "LoadByRefNumber", "Save"]
    assert operations == {"LoanSoap": five, "LoanSoap12": five}


def test_a_name_for_the_reference_parameter_that_is_no_xml_name_is_refused() -> None:
    with pytest.raises(ValueError, match="XML name"):
        wsdl('x"/><evil')


TIMES = Timeouts(2.0, 2.0, 60.0)
