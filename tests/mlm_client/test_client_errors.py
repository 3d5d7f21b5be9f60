"""Every way in which MLM can fail to answer becomes one named error, over real HTTP, without a word of the answer."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Iterator

import pytest
from scripted_mlm import Say, ScriptedMlm, connected, envelope, fault11, fault12

from mlm_client import (
    AccessDenied,
    FileBusy,
    GiveUp,
    MlmClient,
    MlmError,
    NotFound,
    Outage,
    Question,
    Rejected,
    Retry,
    SaveContent,
    SignInAgain,
    Throttled,
    TimedOut,
    TooLarge,
    Unreachable,
    UnreadableAnswer,
    UnsafeAnswer,
)

SECRET = "Alice Firstimer 991-91-9991"
PAGE = f"<!DOCTYPE html><html><body><h1>Service Unavailable</h1>{SECRET}</body></html>"
WHOLE = envelope("LoadByRefNumber", "<LOXmlFormat><loan/></LOXmlFormat>")
ASK = Question(loan_fields=frozenset({"sNoteIR"}))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ScriptedMlm, MlmClient]]:
    with connected() as both:
        yield both


def html(status: int) -> Say:
    return Say(PAGE, status, "text/html")


def soap(body: str, status: int = 200) -> Say:
    return Say(body, status)


FORMS = [
    ("a 500 page", html(500), Outage),
    ("a 502 page", html(502), Outage),
    ("a 503 page", html(503), Throttled),
    ("a 503 in plain text", Say(SECRET, 503, "text/plain"), Throttled),
    ("an empty 503", Say("", 503, None), Throttled),
    ("a 504 page", html(504), Outage),
    ("a 429", Say("", 429, "text/plain"), Throttled),
    ("a page with status 200", html(200), UnreadableAnswer),
    ("a 404 page, which is no word about a file", html(404), Outage),
    ("a redirect to a maintenance page", Say("", 302, None, {"Location": "/down.html"}), Outage),
    ("a 401", html(401), SignInAgain),
    ("a 403", html(403), AccessDenied),
    ("a 413", html(413), TooLarge),
    ("a 400", html(400), Rejected),
    ("a 405", html(405), Rejected),
    ("nothing, status 200", Say("", 200), UnreadableAnswer),
    ("nothing, status 204", Say("", 204, None, length=0), UnreadableAnswer),
    ("an empty result", "", UnreadableAnswer),
    ("a blank result", "  \n ", UnreadableAnswer),
    ("no result element", soap(envelope("LoadByRefNumber", "x").replace("Result", "Other")), UnreadableAnswer),
    ("another operation's answer", soap(envelope("Load", "<LOXmlFormat><loan/></LOXmlFormat>")), UnreadableAnswer),
    ("an envelope cut short", soap(envelope("LoadByRefNumber", f"<loan>{SECRET}")[:-40]), UnreadableAnswer),
    ("an envelope without a body", soap("<e:Envelope xmlns:e='x'/>"), UnreadableAnswer),
    ("XML of another kind", soap(f"<something>{SECRET}</something>"), UnreadableAnswer),
    ("a body without an envelope", soap(WHOLE.replace("soap:Envelope", "soap:Other")), UnreadableAnswer),
    ("XML of another kind, status 500", soap(f"<something>{SECRET}</something>", 500), Outage),
    ("a result cut short", f"<LOXmlFormat><loan><field id='aBSsn'>{SECRET}", UnreadableAnswer),
    ("a result without a loan", "<LOXmlFormat version='1.0'/>", UnreadableAnswer),
    ("two loans", "<LOXmlFormat><loan/><loan/></LOXmlFormat>", UnreadableAnswer),
    ("plain text, not found", f"Loan {SECRET} was not found.", NotFound),
    ("result error, not found", f'<result status="Error"><error>Loan not found: {SECRET}</error></result>', NotFound),
    ("result error in capitals", "<RESULT STATUS='ERROR'><ERROR>File not found</ERROR></RESULT>", NotFound),
    ("result error in its own text", "<result status='error'>The loan does not exist</result>", NotFound),
    ("result error in an attribute", "<result status='Error' message='No such loan'/>", NotFound),
    ("Error element, not found", "<Error>Lead not found</Error>", NotFound),
    ("an error deep inside", "<LOXmlFormat><x><error>Loan not found</error></x></LOXmlFormat>", NotFound),
    ("fault 1.1, not found", fault11(f"Server was unable to process request. ---> Loan {SECRET} not found"), NotFound),
    ("fault 1.2, not found", fault12(f"Loan {SECRET} was not found"), NotFound),
    ("fault 1.1 with status 200", Say(fault11("Loan not found").body), NotFound),
    ("plain text, ticket", "Invalid ticket", SignInAgain),
    ("result error, ticket", '<result status="Error"><error>Your ticket has expired</error></result>', SignInAgain),
    ("fault 1.1, ticket", fault11(f"System.Exception: Invalid sTicket {SECRET}\n   at A.B(field f)"), SignInAgain),
    ("fault 1.2, ticket", fault12("Authentication token expired", "soap:Sender"), SignInAgain),
    ("plain text, access", f"Access to loan {SECRET} is denied", AccessDenied),
    ("plain text, permission", "You do not have permission to read this loan", AccessDenied),
    ("not found or no access is no word that it is gone", "Loan not found, or you have no access", AccessDenied),
    ("locked", '<result status="Error"><error>Loan is locked by jdoe</error></result>', FileBusy),
    ("try again", "<Error>System error. Please try again later.</Error>", Outage),
    ("too many", "<Error>Too many requests</Error>", Throttled),
    ("a fault of MLM's own", fault11(f"Object reference not set. {SECRET}\n   at Loan.Load()"), Outage),
    ("a fault of MLM's own, 1.2", fault12(SECRET), Outage),
    ("a fault of ours", fault11(f"did not recognize SOAPAction {SECRET}", "soap:Client"), Rejected),
    ("a fault of ours, 1.2", fault12(SECRET, "soap:Sender"), Rejected),
    ("words we do not know", f"Qwertz {SECRET}", Rejected),
    ("an error we do not know", f"<Error>Qwertz {SECRET}</Error>", Rejected),
    ("an error without words", '<result status="Error"/>', Rejected),
    ("an empty error element", "<Error/>", Rejected),
    ("another thing not found", "<Error>Field sFooBar not found</Error>", Rejected),
    ("a server's missing file", "<Error>Could not find file 'C:\\inetpub\\x.config'</Error>", Rejected),
    ("a DOCTYPE outside", soap('<!DOCTYPE e [<!ENTITY a "b">]><e>&a;</e>'), UnsafeAnswer),
    ("a DOCTYPE inside", '<!DOCTYPE e [<!ENTITY a "b">]><LOXmlFormat><loan/></LOXmlFormat>', UnsafeAnswer),
    ("a DOCTYPE behind a comment", "<?xml version='1.0'?><!-- x --><!DOCTYPE e SYSTEM 'http://x/'><e/>", UnsafeAnswer),
    ("an entity without DOCTYPE", "<LOXmlFormat><loan>&who;</loan></LOXmlFormat>", UnreadableAnswer),
    ("a nested bomb", "<a>" * 400 + "</a>" * 400, TooLarge),
    ("a nested bomb below the parser's own limit", f"{'<a>' * 200}<loan/>{'</a>' * 200}", TooLarge),
    ("an answer that does not decompress", Say("x", headers={"Content-Encoding": "gzip"}), UnreadableAnswer),
    ("a connection that ends in the middle", Say("<a", length=4000), Unreachable),
]


@pytest.mark.parametrize(("said", "kind"), [(say, kind) for _, say, kind in FORMS], ids=[n for n, _, _ in FORMS])
def test_each_form_of_failure_is_one_named_error_without_a_word_of_the_answer(
    pair: tuple[ScriptedMlm, MlmClient], said: Say | str, kind: type[MlmError]
) -> None:
    mlm, client = pair
    mlm.says(said)

    with pytest.raises(MlmError) as caught:
        client.load_by_ref("R000123", ASK)

    assert type(caught.value) is kind
    assert str(caught.value).startswith("LoadByRefNumber 'R000123': ")
    if isinstance(said, Say):
        assert caught.value.status in (said.status, None)
    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert not any(part in told for part in (*SECRET.split(), "Bearer t", "the-secret"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_the_kinds_a_caller_acts_on_do_not_overlap() -> None:
    kinds = (Retry, SignInAgain, NotFound, GiveUp)

    for error in {kind for _, _, kind in FORMS}:
        assert sum(issubclass(error, kind) for kind in kinds) == 1


def test_a_save_that_ends_badly_is_no_success_and_carries_the_number() -> None:
    with connected() as (mlm, client):
        mlm.says('<result status="Error"><error>Loan is locked by jdoe</error></result>')

        with pytest.raises(FileBusy, match=r"^Save '2015110096': somebody in MLM holds the file$"):
            client.save("2015110096", SaveContent({"sNoteIR": "3"}))


def test_a_save_whose_result_has_no_status_is_unreadable() -> None:
    with connected() as (mlm, client):
        mlm.says("<LOXmlFormat/>")

        with pytest.raises(UnreadableAnswer):
            client.save("1", SaveContent())


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with socket.socket() as free, connected() as (mlm, _):
        free.bind(("127.0.0.1", 0))
        client = MlmClient(mlm.config(loan_service_url=f"http://127.0.0.1:{free.getsockname()[1]}/Loan.asmx"))

        with pytest.raises(Unreachable, match="no connection"):
            client.read_stamp("R1")


def test_a_token_service_that_does_not_answer_is_named_with_the_call_it_stopped() -> None:
    with connected() as (mlm, client):
        mlm.on_sign_in = lambda asked: html(502)

        with pytest.raises(Outage, match=r"^LoadByRefNumber 'R1': the token service does not answer \(HTTP 502\)$"):
            client.read_stamp("R1")


def test_an_argument_that_xml_cannot_carry_is_refused_before_anything_is_sent() -> None:
    with connected() as (mlm, client):
        with pytest.raises(Rejected, match="characters"):
            client.load_by_ref("R\x0b1", ASK)

        assert mlm.calls == []


def test_an_answer_that_stops_coming_times_out() -> None:
    with connected(read_s=0.15) as (mlm, client):
        mlm.says(Say("<a", length=4000, pieces=_stalled()))

        with pytest.raises(TimedOut, match="in time"):
            client.read_stamp("R1")


def _stalled() -> Iterator[bytes]:
    import threading

    threading.Event().wait(0.5)
    yield b"<"


DATED = {"Date": "Tue, 06 Jan 2026 10:00:00 GMT", "Retry-After": "Tue, 06 Jan 2026 10:02:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "120"}, 120.0),
        (DATED, 120.0),
        (DATED | {"Retry-After": "Tue, 06 Jan 2026 09:00:00 GMT"}, 0.0),
        (DATED | {"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_mlm_asks_us_to_wait_comes_with_the_error(
    pair: tuple[ScriptedMlm, MlmClient], status: int, headers: dict[str, str], wait_s: float | None
) -> None:
    mlm, client = pair
    mlm.says(Say("", status, None, headers=headers))

    with pytest.raises(Throttled) as caught:
        client.load_by_ref("R000123", ASK)

    assert caught.value.retry_after_s == wait_s


def test_an_error_before_anything_was_asked_about_a_file_says_so() -> None:
    with connected() as (mlm, _):
        nowhere = MlmClient(mlm.config(loan_service_url="http://127.0.0.1:1/Loan.asmx"))
        with pytest.raises(Unreachable) as unreachable:
            nowhere.load_by_ref("R000123", ASK)

        unsigned = MlmClient(mlm.config())
        mlm.on_sign_in = lambda asked: html(500)
        with pytest.raises(Outage) as no_sign_in:
            unsigned.load_by_ref("R000123", ASK)

    assert unreachable.value.unasked
    assert no_sign_in.value.unasked


@pytest.mark.parametrize("said", [html(500), html(503), Say("<a", length=4000)])
def test_an_error_after_a_file_was_asked_for_may_be_the_files(pair: tuple[ScriptedMlm, MlmClient], said: Say) -> None:
    mlm, client = pair
    mlm.says(said)

    with pytest.raises(Retry) as caught:
        client.load_by_ref("R000123", ASK)

    assert not caught.value.unasked
