"""The five operations, over real HTTP: what goes out, what comes back, and sharing one client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from lxml import etree
from scripted_mlm import NS, Asked, Say, connected, envelope, token

import mlm_client
from mlm_client import (
    ApplicantEdit,
    MlmClient,
    MlmError,
    Question,
    SaveContent,
    SaveResult,
    SignInAgain,
    SignInFailed,
    TimedOut,
)
from mlm_client.polling import ModifiedFile

ASK = Question(frozenset({"sNoteIR"}))
LOAN = '<LOXmlFormat version="1.0"><loan><field id="sNoteIR">3.875%</field></loan></LOXmlFormat>'


def arguments(asked: Asked) -> dict[str, str]:
    """The operation's parameters as they arrived."""
    call = etree.fromstring(asked.body.encode())[0][0]
    assert call.tag == f"{{{NS}}}{asked.operation}"
    return {etree.QName(child).localname: child.text or "" for child in call}


def test_a_load_by_reference_names_its_parameters_and_carries_the_ticket_in_the_body() -> None:
    with connected() as (mlm, client):
        mlm.says(LOAN)

        answer = client.load_by_ref("R000123", ASK)

        assert answer.fields["sNoteIR"] == "3.875%"
        assert arguments(mlm.calls[0]) == {
            "sTicket": "Bearer t1",
            "sLRefNm": "R000123",
            "sXmlQuery": ASK.to_xml(),
            "format": "0",
        }
        assert mlm.calls[0].headers["SOAPAction"] == f'"{NS}LoadByRefNumber"'
        assert mlm.calls[0].headers["Content-Type"] == "text/xml; charset=utf-8"
        assert "Authorization" not in mlm.calls[0].headers


def test_the_reference_parameter_goes_out_under_the_name_of_the_configuration() -> None:
    with connected(reference_parameter="refNumber") as (mlm, client):
        mlm.says(LOAN)
        client.load_by_ref("R1", ASK)

        assert arguments(mlm.calls[0])["refNumber"] == "R1"
        assert "sLRefNm" not in arguments(mlm.calls[0])


def test_a_load_by_number_asks_by_the_loan_number() -> None:
    with connected() as (mlm, client):
        mlm.says(LOAN)

        assert client.load("2015110096", ASK).fields == {"sNoteIR": "3.875%"}
        assert arguments(mlm.calls[0])["sLNm"] == "2015110096"


def test_reading_the_stamp_asks_for_that_one_field_and_gives_its_text_untouched() -> None:
    with connected(stamp_field="sStamp") as (mlm, client):
        mlm.says('<LOXmlFormat><loan><field id="SSTAMP"> 11/24/2015 11:26:59 </field></loan></LOXmlFormat>')

        assert client.read_stamp("R1") == "11/24/2015 11:26:59"
        assert arguments(mlm.calls[0])["sXmlQuery"] == Question(frozenset({"sStamp"})).to_xml()


@pytest.mark.parametrize("inside", ["", '<field id="sLastModifiedTimestamp"/>', '<field id="other">1</field>'])
def test_a_stamp_that_is_absent_or_blank_is_none(inside: str) -> None:
    with connected() as (mlm, client):
        mlm.says(f"<LOXmlFormat><loan>{inside}</loan></LOXmlFormat>")

        assert client.read_stamp("R1") is None


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('<result status="OK"/>', SaveResult("OK", warning=False)),
        ('<Result Status="Ok"></Result>', SaveResult("Ok", warning=False)),
        ('<result status="OKWithWarning"><warning>x</warning></result>', SaveResult("OKWithWarning", warning=True)),
        ('<result status="OK"><error/></result>', SaveResult("OK", warning=False)),
    ],
)
def test_a_save_succeeds_with_any_status_that_begins_with_ok(result: str, expected: SaveResult) -> None:
    with connected() as (mlm, client):
        mlm.says(result)

        assert client.save("2015110096", SaveContent({"sNoteIR": "4"})) == expected
        assert arguments(mlm.calls[0])["sLNm"] == "2015110096"


def test_what_a_save_sends_arrives_as_written_through_xml_in_xml() -> None:
    content = SaveContent(
        {"sSpAddr": '1 <Ñ> & ]]> "x"\x0b'},
        [ApplicantEdit("991-91-9991", {"aBFirstNm": "Zoë"}, {"aAssetCollection": [{"Val": "1"}, {"Val": "2"}]})],
        {"sCondDataSet": []},
    )
    with connected() as (mlm, client):
        mlm.says('<result status="OK"/>')
        client.save("1", content)

        loan = etree.fromstring(arguments(mlm.calls[0])["sDataContent"])[0]

    assert loan.findtext("field") == '1 <Ñ> & ]]> "x"'
    assert loan.find("applicant").get("id") == "991-91-9991"
    assert [one.text for one in loan.iterfind("applicant/collection/record/field")] == ["1", "2"]
    assert len(loan.find("collection[@id='sCondDataSet']")) == 0


def test_the_list_of_modified_files_drops_names_and_numbers_of_people() -> None:
    listed = (
        '<LoanList><loan name="2015110096" old_name="" valid="True" aBNm="Alice Firstimer" aBSsn="991-91-9991" '
        'sSpAddr="3726 Poplar St" LastModifiedD="11/24/2015 11:26:59" sStatusT="0" />'
        '<Loan NAME="LEAD7" Old_Name="LEAD6" valid="False"/><loan name=""/></LoanList>'
    )
    with connected() as (mlm, client):
        mlm.says(listed)

        files = client.list_modified("the-app-code")

        assert files == [
            ModifiedFile("2015110096", None, True, "11/24/2015 11:26:59"),
            ModifiedFile("LEAD7", "LEAD6", False, None),
        ]
        assert "Alice" not in repr(files)
        assert arguments(mlm.calls[0])["appCode"] == "the-app-code"


def test_an_empty_list_of_modified_files_is_no_error() -> None:
    with connected() as (mlm, client):
        mlm.says('<result status="OK"/>')

        assert client.list_modified("a") == []


@pytest.mark.parametrize("result", ["", "OK", "<result status='OK'/>", "&lt;result status='OK'/&gt;"])
def test_a_clear_says_nothing_useful_and_that_is_fine(result: str) -> None:
    with connected() as (mlm, client):
        mlm.says(result)
        client.clear_modified("2015110096", "the-app-code")

        assert arguments(mlm.calls[0]) == {"sTicket": "Bearer t1", "sLNm": "2015110096", "appCode": "the-app-code"}


@pytest.mark.parametrize("result", ["Invalid ticket", "<Error>Ticket expired</Error>"])
def test_a_clear_that_is_refused_is_an_error(result: str) -> None:
    with connected() as (mlm, client):
        mlm.says(result)

        with pytest.raises(SignInAgain):
            client.clear_modified("1", "a")


def test_a_refused_ticket_is_renewed_and_the_call_made_once_more() -> None:
    with connected() as (mlm, client):
        mlm.on_call = lambda asked: LOAN if "Bearer t2" in asked.body else "Invalid ticket"

        assert client.load_by_ref("R1", ASK).fields == {"sNoteIR": "3.875%"}
        assert (len(mlm.calls), len(mlm.sign_ins)) == (2, 2)


def test_a_ticket_that_is_refused_again_goes_up_after_two_calls() -> None:
    with connected() as (mlm, client):
        mlm.says(Say("", 401, None))

        with pytest.raises(SignInAgain, match=r"LoadByRefNumber 'R1': MLM refused the ticket \(HTTP 401\)"):
            client.load_by_ref("R1", ASK)

        assert (len(mlm.calls), len(mlm.sign_ins)) == (2, 2)


@pytest.mark.parametrize("answer", [Say("", 503, None), Say("<x>", 200), "Qwertz"])
def test_nothing_but_a_refused_ticket_is_tried_again(answer: Say | str) -> None:
    with connected() as (mlm, client):
        mlm.says(answer)

        with pytest.raises(mlm_client.MlmError):
            client.load_by_ref("R1", ASK)

        assert len(mlm.calls) == 1


def test_credentials_that_are_refused_stop_the_call_before_it_is_made() -> None:
    with connected() as (mlm, client):
        mlm.on_sign_in = lambda asked: Say('{"error":"invalid_client"}', 401, "application/json")

        with pytest.raises(SignInFailed, match=r"Save '1': MLM refuses the client id and secret \(HTTP 401\)"):
            client.save("1", SaveContent())

        assert mlm.calls == []


def test_a_call_takes_one_turn_for_signing_in_for_itself_and_for_its_second_try() -> None:
    said: list[str] = []

    @contextmanager
    def turn(operation: str) -> Iterator[None]:
        said.append(f"{operation} begins")
        yield
        said.append(f"{operation} ends")

    def sign_in(asked: Asked) -> Say:
        said.append("signs in")
        return token(f"t{len(mlm.sign_ins)}")

    def call(asked: Asked) -> str:
        said.append("is called")
        return LOAN if "Bearer t2" in asked.body else "Invalid ticket"

    with connected() as (mlm, _):
        client = MlmClient(mlm.config(), before_call=turn)
        mlm.on_sign_in, mlm.on_call = sign_in, call
        client.load_by_ref("R1", ASK)
        client.close()

    twice = ["signs in", "is called"] * 2
    assert said == ["LoadByRefNumber begins", *twice, "LoadByRefNumber ends"]


@pytest.mark.parametrize("answer", [Say("", 503, None), "<Error>Loan not found</Error>", "Invalid ticket"])
def test_the_turn_sees_the_error_that_the_call_ends_with_and_what_was_asked(answer: Say | str) -> None:
    seen: list[MlmError] = []

    @contextmanager
    def turn(operation: str) -> Iterator[None]:
        try:
            yield
        except MlmError as error:
            seen.append(error)
            raise

    with connected() as (mlm, _):
        client = MlmClient(mlm.config(), before_call=turn)
        mlm.says(answer)
        with pytest.raises(MlmError) as caught:
            client.load_by_ref("R1", ASK)
        client.close()

    assert seen == [caught.value]
    assert (seen[0].operation, seen[0].ref) == ("LoadByRefNumber", "R1")


def test_what_the_turn_raises_passes_through_untouched_and_nothing_is_sent() -> None:
    class NoPlace(ValueError):
        pass

    @contextmanager
    def turn(operation: str) -> Iterator[None]:
        raise NoPlace
        yield

    with connected() as (mlm, _):
        client = MlmClient(mlm.config(), before_call=turn)

        with pytest.raises(NoPlace):
            client.load_by_ref("R1", ASK)

        assert mlm.calls == []
        client.close()


def test_waiting_for_a_turn_takes_none_of_the_time_a_call_may_take_but_signing_in_does() -> None:
    now = [0.0]

    @contextmanager
    def long_wait(operation: str) -> Iterator[None]:
        now[0] += 1_000
        yield

    with connected() as (mlm, _):
        client = MlmClient(mlm.config(), clock=lambda: now[0], before_call=long_wait)
        mlm.says(LOAN)
        client.load_by_ref("R1", ASK)
        client.close()

        def slow(asked: Asked) -> Say:
            now[0] += 61
            return token("late")

        mlm.on_sign_in = slow
        slow_client = MlmClient(mlm.config(), clock=lambda: now[0])
        with pytest.raises(TimedOut):
            slow_client.load_by_ref("R1", ASK)
        slow_client.close()


def test_sixteen_threads_on_one_client_get_each_their_own_answer_from_one_sign_in() -> None:
    def echo(asked: Asked) -> str:
        ref = arguments(asked)["sLRefNm"]
        return f'<LOXmlFormat><loan><field id="ref">{ref}</field></loan></LOXmlFormat>'

    together = threading.Barrier(16)

    def ask(client: MlmClient, worker: int) -> list[bool]:
        together.wait()
        refs = [f"R{worker}-{turn}" for turn in range(15)]
        return [client.load_by_ref(ref, ASK).fields["ref"] == ref for ref in refs]

    with connected() as (mlm, client), ThreadPoolExecutor(16) as threads:
        mlm.on_call = echo
        right = [one for ask_all in threads.map(lambda w: ask(client, w), range(16)) for one in ask_all]

        assert right == [True] * 240
        assert len(mlm.sign_ins) == 1


def test_nothing_is_opened_before_the_first_call_and_a_closed_client_opens_again() -> None:
    with connected() as (mlm, client):
        assert mlm.sign_ins == []
        mlm.says(LOAN)
        client.load_by_ref("R1", ASK)
        client.close()
        client.load_by_ref("R1", ASK)

        assert len(mlm.sign_ins) == 2


def test_an_answer_in_soap_1_2_is_read_as_well() -> None:
    with connected() as (mlm, client):
        mlm.on_call = lambda asked: Say(
            envelope(asked.operation, LOAN, "http://www.w3.org/2003/05/soap-envelope"),
            content_type="application/soap+xml; charset=utf-8",
        )

        assert client.load_by_ref("R1", ASK).fields == {"sNoteIR": "3.875%"}


def test_the_word_fault_in_a_loans_data_is_data() -> None:
    with connected() as (mlm, client):
        mlm.says('<LOXmlFormat><loan><field id="note">Fault &lt;Fault&gt;</field></loan></LOXmlFormat>')

        assert client.load_by_ref("R1", ASK).fields["note"] == "Fault <Fault>"


def test_the_secret_is_in_no_representation() -> None:
    with connected() as (mlm, client):
        client.load_by_ref("R1", ASK)

        assert "the-secret" not in repr(mlm.config()) + repr(client) + repr(vars(client))


def test_what_the_package_exports_is_what_it_lists_and_no_document_can_be_fetched() -> None:
    assert sorted(mlm_client.__all__) == list(mlm_client.__all__)
    assert all(hasattr(mlm_client, name) for name in mlm_client.__all__)
    operations = {name for name in vars(MlmClient) if not name.startswith("_")}
    assert operations == {
        "load_by_ref", "load", "reference_of", "read_stamp", "save", "list_modified", "clear_modified", "sign_in",
        "close",
    }  # fmt: skip
