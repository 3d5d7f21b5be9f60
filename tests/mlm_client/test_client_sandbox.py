"""The client against the sandbox, each of the sandbox's doubts about MLM turned on in its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mlm_client import (
    ApplicantEdit,
    FileBusy,
    MlmClient,
    MlmConfig,
    MlmError,
    NotFound,
    Outage,
    Question,
    Rejected,
    SaveContent,
    SignInAgain,
    SignInFailed,
    Throttled,
    TimedOut,
    Unreachable,
    UnreadableAnswer,
    values,
)
from mlm_client.sandbox import SandboxServer

REF = "R000001"
ASK = Question(
    frozenset({"sLNm", "sLAmtCalc", "sNoteIR"}),
    frozenset({"aBFirstNm", "aBSsn"}),
    frozenset({"sCondDataSet"}),
    frozenset({"aAssetCollection"}),
)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(files=4, seed=5) as mlm:
        yield mlm


@pytest.fixture
def mlm(server: SandboxServer) -> Iterator[SandboxServer]:
    backup = server.store.back_up()
    yield server
    server.dials.reset()
    server.store.roll_back(backup)
    server.calls.clear()


def config(mlm: SandboxServer, **changes: Any) -> MlmConfig:
    return MlmConfig(mlm.loan_service_url, mlm.token_url, mlm.client_id, mlm.client_secret, **changes)


@pytest.fixture
def client(mlm: SandboxServer) -> Iterator[MlmClient]:
    one = MlmClient(config(mlm, read_s=1.0))
    yield one
    one.close()


@pytest.mark.parametrize(
    "knobs",
    [
        {"result_escapes": 2},
        {"result_prolog": "utf-8"},
        {"result_prolog": "utf-16"},
        {"result_escapes": 2, "result_prolog": "utf-16"},
        {"text_suffix_raw": "&#x1F;", "blank_form": "self_closed"},
    ],
    ids=str,
)
def test_the_same_file_is_read_the_same_whatever_form_its_answer_has(
    mlm: SandboxServer, client: MlmClient, knobs: dict[str, Any]
) -> None:
    plain = client.load_by_ref(REF, ASK)
    mlm.dials.patch(**knobs)

    assert client.load_by_ref(REF, ASK) == plain
    assert plain.applicants
    assert plain.collections["sCondDataSet"]


@pytest.mark.parametrize("form", ["text", "result_error", "error_element", "fault", "fault11", "fault12", "401"])
def test_a_revoked_ticket_is_replaced_in_whatever_form_mlm_refuses_it(
    mlm: SandboxServer, client: MlmClient, form: str
) -> None:
    mlm.dials.patch(ticket_form=form)
    client.read_stamp(REF)
    mlm.tickets.revoke()

    assert client.read_stamp(REF)

    mlm.dials.patch(ticket_refuse_share=1.0)
    with pytest.raises(SignInAgain):
        client.read_stamp(REF)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("html502", Outage),
        ("html503", Throttled),
        ("429", Throttled),
        ("html200", UnreadableAnswer),
        ("not_xml", UnreadableAnswer),
        ("empty", UnreadableAnswer),
        ("text", Outage),
        ("result_error", Outage),
        ("error_element", Outage),
        ("fault11", Outage),
        ("fault12", Outage),
        ("not_found", NotFound),
        ("reset", Unreachable),
        ("half", Unreachable),
        ("hang", TimedOut),
    ],
)
def test_each_form_in_which_the_sandbox_fails_has_its_name(mlm: SandboxServer, form: str, kind: type[MlmError]) -> None:
    client = MlmClient(config(mlm, read_s=0.2 if form == "hang" else 2.0))
    client.read_stamp(REF)
    mlm.dials.patch(fault_forms=(form,), fault_next=1)

    with pytest.raises(MlmError) as caught:
        client.read_stamp(REF)

    assert type(caught.value) is kind
    assert client.read_stamp(REF)
    client.close()


def test_a_file_that_is_not_there_is_not_found_by_reference_and_by_number(client: MlmClient) -> None:
    with pytest.raises(NotFound):
        client.load_by_ref("R999999", ASK)
    with pytest.raises(NotFound):
        client.load("2099999999", ASK)


def test_a_loan_number_is_asked_for_its_reference(mlm: SandboxServer, client: MlmClient) -> None:
    assert client.reference_of(mlm.store.newest(REF).content.number) == REF
    with pytest.raises(NotFound):
        client.reference_of("2099999999")


def test_an_unknown_field_id_is_no_missing_file(mlm: SandboxServer, client: MlmClient) -> None:
    mlm.dials.patch(unknown_ids="error")

    with pytest.raises(Rejected):
        client.load_by_ref(REF, Question(frozenset({"sNoSuchField"})))


def test_a_refused_secret_stops(mlm: SandboxServer) -> None:
    client = MlmClient(MlmConfig(mlm.loan_service_url, mlm.token_url, mlm.client_id, "wrong"))

    with pytest.raises(SignInFailed):
        client.read_stamp(REF)

    client.close()


def test_signing_in_alone_asks_mlm_for_nothing_else_and_once(mlm: SandboxServer, client: MlmClient) -> None:
    client.sign_in()
    client.sign_in()
    assert (mlm.calls.sign_ins, mlm.calls.total) == (1, 0)
    with pytest.raises(SignInFailed) as refused:
        MlmClient(MlmConfig(mlm.loan_service_url, mlm.token_url, mlm.client_id, "wrong")).sign_in()
    assert refused.value.unasked


def test_a_save_lands_moves_the_stamp_and_is_on_the_list_until_it_is_cleared(
    mlm: SandboxServer, client: MlmClient
) -> None:
    before = client.load_by_ref(REF, ASK)
    number, stamp = before.fields["sLNm"], client.read_stamp(REF)
    client.clear_modified(number, "app")
    ssn = before.applicants[0].fields["aBSsn"]

    saved = client.save(number, SaveContent({"sNoteIR": "4.125"}, [ApplicantEdit(ssn, {"aBFirstNm": "Zoë & <Co>"})]))

    after = client.load(number, ASK)
    assert (saved.status, saved.warning) == ("OK", False)
    assert values.percent(after.fields["sNoteIR"]) == values.percent("4.125")
    assert after.applicants[0].fields["aBFirstNm"] == "Zoë & <Co>"
    assert client.read_stamp(REF) != stamp
    assert number in [file.name for file in client.list_modified("app")]
    client.clear_modified(number, "app")
    assert number not in [file.name for file in client.list_modified("app")]


@pytest.mark.parametrize(("status", "warning"), [("Ok", False), ("OKWithWarning", True)])
def test_a_save_with_another_good_status_is_a_success(
    mlm: SandboxServer, client: MlmClient, status: str, warning: bool
) -> None:
    mlm.dials.patch(save_status=status)
    number = client.load_by_ref(REF, ASK).fields["sLNm"]

    saved = client.save(number, SaveContent({"sNoteIR": "4"}))

    assert (saved.status, saved.warning) == (status, warning)


def test_a_file_that_somebody_holds_is_busy(mlm: SandboxServer, client: MlmClient) -> None:
    mlm.dials.patch(fault_forms=("result_error",), fault_next=1, fault_text="Loan is currently locked by another user.")

    with pytest.raises(FileBusy):
        client.save("1", SaveContent())


def test_the_reference_parameter_follows_the_lenders_name(mlm: SandboxServer) -> None:
    mlm.dials.patch(reference_parameter="refNumber")
    client = MlmClient(config(mlm, reference_parameter="refNumber"))

    assert client.read_stamp(REF)
    client.close()
