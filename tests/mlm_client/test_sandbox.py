"""The sandbox as MLM's SOAP service: what a query gets, what a save does, how each knob shows on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
import zeep
from lxml import etree
from sandbox_caller import NS, SOAP11, SOAP12, STAMP, Caller, asked, query

from mlm_client.sandbox import Dials, KnobError, Knobs, Sandbox, SandboxServer, edit
from mlm_client.sandbox.fields import COLLECTIONS
from mlm_client.sandbox.making import Maker, file_set
from mlm_client.sandbox.stamps import truncated

REF = "R000001"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(files=6, seed=3) as mlm:
        yield mlm


@pytest.fixture
def caller(server: SandboxServer) -> Iterator[Caller]:
    """A caller of the shared sandbox, its files and knobs as at the start."""
    backup = server.store.back_up()
    yield Caller(server)
    server.dials.reset()
    server.store.roll_back(backup)
    server.calls.clear()


def test_made_files_hold_what_real_ones_hold_and_nobody_real() -> None:
    files = file_set(Maker(seed=1), 200)
    assert len({content.ref for content in files}) == len({content.number for content in files}) == 200
    assert {content.number.startswith("LEAD") for content in files if content.is_lead} == {True}
    assert 0 < sum(content.is_lead for content in files) < 100
    ids = [
        record["RecordId"]
        for content in files
        for held in (content.collections, *(each.collections for each in content.applicants))
        for records in held.values()
        for record in records
    ]
    assert len(ids) == len(set(ids)) > 200 * 20
    applicants = [applicant for content in files for applicant in content.applicants]
    ssns = [each.fields[name] for each in applicants for name in ("aBSsn", "aCSsn") if name in each.fields]
    assert all(re.fullmatch(r"9\d{8}", ssn) for ssn in ssns)
    for applicant in applicants:
        held = applicant.collections
        debts = {debt["RecordId"] for debt in held["aLiaCollection"]}
        jobs = {job["RecordId"] for name in ("aBEmpCollection", "aCEmpCollection") for job in held[name]}
        assert {each for owned in held["aReCollection"] for each in owned["LiaRecordIds"].split(",") if each} <= debts
        assert {income["EmpRecordId"] for income in held["aIncomeCollection"]} <= jobs


def test_a_made_file_is_the_same_for_the_same_seed() -> None:
    assert file_set(Maker(seed=5), 3) == file_set(Maker(seed=5), 3) != file_set(Maker(seed=6), 3)


@pytest.mark.parametrize(
    ("soap", "namespace", "media"), [("1.1", SOAP11, "text/xml"), ("1.2", SOAP12, "application/soap+xml")]
)
def test_an_answer_speaks_the_version_of_soap_that_it_was_asked_in(
    caller: Caller, soap: str, namespace: str, media: str
) -> None:
    answer = caller.load(REF, soap=soap)
    assert answer.http.headers["content-type"].startswith(media)
    assert etree.QName(etree.fromstring(answer.http.content)).namespace == namespace
    assert answer.field("sLastModifiedTimestamp")


def test_the_query_decides_what_is_in_the_answer(caller: Caller) -> None:
    answer = caller.load(REF, query(asked("sNoteIR"), asked("aBLastNm") + '<collection id="aAssetCollection"/>'))
    loan = answer.document.find("loan")
    assert [each.get("id") for each in loan.iterfind("field")] == ["sNoteIR"]
    assert loan.find("collection") is None
    content = caller.mlm.store.newest(REF).content
    applicants = loan.findall("applicant")
    assert [each.findtext("field") for each in applicants] == [a.fields["aBLastNm"] for a in content.applicants]
    assert [[each.get("id") for each in a.iterfind("collection")] for a in applicants] == [
        ["aAssetCollection"] for _ in content.applicants
    ]
    records = answer.records("aAssetCollection")
    assert [record["RecordId"] for record in records] == [
        record["RecordId"] for a in content.applicants for record in a.collections["aAssetCollection"]
    ]
    assert set(records[0]) == set(COLLECTIONS["aAssetCollection"].fields)


def test_a_query_that_names_an_applicant_by_ssn_gets_that_one_alone(caller: Caller) -> None:
    store = caller.mlm.store
    edit(store, caller.mlm.maker, REF, {"applicant": {"op": "add", "fields": {"aBSsn": "900-88-7777"}}})
    text = query(f'<applicant id="900-88-7777">{asked("aBSsn")}</applicant>')
    assert [each.text for each in caller.load(REF, text).document.iter("field")] == ["900-88-7777"]


def test_a_collection_without_records_is_there_and_empty(caller: Caller) -> None:
    caller.mlm.store.save(REF, lambda content: content.collections["sCondDataSet"].clear())
    found = caller.load(REF, query('<collection id="sCondDataSet"/>')).document.find(".//collection")
    assert found is not None
    assert len(found) == 0


def test_texts_with_markup_and_letters_of_other_languages_arrive_whole(caller: Caller) -> None:
    text = "Ñandú & <Søn> ]]> “x”"
    edit(caller.mlm.store, caller.mlm.maker, REF, {"fields": {"sSpAddr": text}})
    assert caller.load(REF, query(asked("sSpAddr"))).field("sSpAddr") == text


def test_a_load_by_number_finds_the_same_file(caller: Caller) -> None:
    number = caller.mlm.store.newest(REF).content.number
    answer = caller.call("Load", sLNm=number, sXmlQuery=query(asked("sLRefNm")), format="0")
    assert answer.field("sLRefNm") == REF


@pytest.mark.parametrize("gone", ["R999999", REF])
def test_a_file_that_is_not_there_or_was_deleted_is_not_found(caller: Caller, gone: str) -> None:
    if gone == REF:
        caller.mlm.store.delete(REF)
    answer = caller.load(gone)
    assert answer.http.status_code == 200
    assert answer.document.get("status") == "Error"
    assert answer.document.findtext("error") == "Loan not found"


def test_a_save_changes_fields_applicants_and_records_in_one_stamp(caller: Caller) -> None:
    store = caller.mlm.store
    before = store.newest(REF)
    applicant = before.content.applicants[0]
    asset = applicant.collections["aAssetCollection"][0]
    ssn = applicant.fields["aBSsn"]
    answer = caller.save(
        before.content.number,
        '<field id="sNoteIR">4.25%</field><field id="sEstCloseD">12/1/2026</field>'
        f'<applicant id="{ssn[:3]}-{ssn[3:5]}-{ssn[5:]}"><field id="aBSsn">900-11-2222</field>'
        '<field id="aBLastNm">Peña &amp; Söhne</field>'
        f'<collection id="aAssetCollection"><record><field id="RecordId">{asset["RecordId"]}</field>'
        '<field id="Val">$1,234.50</field></record><record><field id="ComNm">New Bank</field></record></collection>'
        "</applicant>",
    )
    assert answer.result == '<result status="OK"/>'
    after = store.newest(REF)
    assert after.number == before.number + 1
    assert after.content.fields["sNoteIR"] == "4.250"
    assert after.content.fields["sEstCloseD"] == "2026-12-01"
    saved = after.content.applicants[0]
    assert (saved.fields["aBSsn"], saved.fields["aBLastNm"]) == ("900112222", "Peña & Söhne")
    changed, *_, added = saved.collections["aAssetCollection"]
    assert changed == {**asset, "Val": "1234.50"}
    assert added["ComNm"] == "New Bank"
    assert added["RecordId"] not in {each["RecordId"] for each in applicant.collections["aAssetCollection"]}
    assert before.content.applicants[0].collections["aAssetCollection"][0] == asset, "an old version never changes"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<field id="sNoteIR">much</field>', "sNoteIR"),
        ('<applicant id="900-00-0000"><field id="aBLastNm">X</field></applicant>', "Applicant not found"),
        ("<field", "root level"),
    ],
)
def test_a_save_that_is_refused_saves_nothing(caller: Caller, content: str, message: str) -> None:
    before = caller.mlm.store.newest(REF)
    answer = caller.save(before.content.number, content)
    assert answer.document.get("status") == "Error"
    assert message in (answer.document.findtext("error") or "")
    assert caller.mlm.store.newest(REF) is before


def test_an_unknown_id_is_left_out_or_refused_as_the_knob_says(caller: Caller) -> None:
    text, number = query(asked("sNoSuch", "sNoteIR")), caller.mlm.store.newest(REF).content.number
    assert caller.load(REF, text).field("sNoSuch") is None
    assert caller.save(number, '<field id="sNoSuch">1</field>').document.get("status") == "OKWithWarning"
    caller.mlm.dials.patch(unknown_ids="error")
    assert "sNoSuch" in (caller.load(REF, text).document.findtext("error") or "")
    assert caller.save(number, '<field id="sNoSuch">1</field>').document.get("status") == "Error"


def test_a_save_of_the_amount_moves_what_hangs_on_it_in_the_same_save(caller: Caller) -> None:
    before = caller.mlm.store.newest(REF)
    caller.save(before.content.number, '<field id="sLAmtCalc">100000</field>')
    after = caller.mlm.store.newest(REF)
    assert after.number == before.number + 1
    assert {"sLtvR", "sProThisMPmt", "sQualTopR", "sQualBottomR"} <= {
        name for name, value in after.content.fields.items() if before.content.fields[name] != value
    }


def test_with_a_recompute_lag_the_dependents_come_in_a_save_of_their_own(caller: Caller) -> None:
    store = caller.mlm.store
    caller.mlm.dials.patch(recompute_lag_ms=3_600_000)
    before = store.newest(REF)
    caller.save(before.content.number, '<field id="sLAmtCalc">100000</field>')
    saved = store.newest(REF)
    assert saved.content.fields["sLAmtCalc"] == "100000.00"
    assert saved.content.fields["sLtvR"] == before.content.fields["sLtvR"]
    store.run_pending(all_now=True)
    later = store.newest(REF)
    assert later.number == saved.number + 1
    assert later.content.fields["sLtvR"] != saved.content.fields["sLtvR"]


def test_credit_ordered_by_a_save_comes_by_itself_later(caller: Caller) -> None:
    store = caller.mlm.store
    heard: list[int] = []
    store.listeners.append(lambda change: heard.append(change.version.number))
    before = store.newest(REF)
    ssn = before.content.applicants[0].fields["aBSsn"]
    caller.mlm.dials.patch(credit_lag_ms=3_600_000)
    assert caller.save(before.content.number, f'<applicant id="{ssn}"><credit requestType="NEW"/></applicant>').result
    assert len(heard) == 1
    store.run_pending(all_now=True)
    assert len(heard) == 2
    debts = [each.content.applicants[0].collections["aLiaCollection"] for each in (before, store.newest(REF))]
    assert len(debts[1]) == len(debts[0]) + 1


def test_stamps_never_go_back_and_saves_in_one_tick_share_theirs(caller: Caller) -> None:
    caller.mlm.dials.patch(stamp_resolution_s=86400)
    first, second = (caller.mlm.store.save(REF, lambda content: None) for _ in range(2))
    assert first.number != second.number
    caller.mlm.dials.patch(stamp_resolution_s=1e-7)
    stamps = [caller.mlm.store.save(REF, lambda content: None).stamp for _ in range(50)]
    assert stamps == sorted(stamps)
    assert stamps[0] > first.stamp == second.stamp


def test_a_host_clock_that_goes_back_does_not_take_stamps_with_it() -> None:
    now = [1_800_000_000.0]
    mlm = Sandbox(files=1, now_s=lambda: now[0])
    before = mlm.store.save(REF, lambda content: None)
    now[0] -= 60
    assert mlm.store.save(REF, lambda content: None).stamp == before.stamp


def test_a_clock_set_back_makes_stamps_go_back(caller: Caller) -> None:
    before = caller.mlm.store.save(REF, lambda content: None)
    caller.mlm.dials.patch(clock_offset_s=-3600)
    assert caller.mlm.store.save(REF, lambda content: None).stamp < before.stamp


def test_a_resolution_of_a_three_hundredth_rounds_as_sql_server_does() -> None:
    assert [truncated(ms * 10_000, 1 / 300) // 10_000 for ms in (0, 2, 3, 4, 6, 7, 9, 10)] == [0, 0, 0, 3, 3, 7, 7, 10]


@pytest.mark.parametrize(
    ("form", "digits", "shown", "pattern"),
    [
        ("iso", 3, False, "%Y-%m-%dT%H:%M:%S.%f"),
        ("iso", 0, True, "%Y-%m-%dT%H:%M:%S%z"),
        ("iso", 6, True, "%Y-%m-%dT%H:%M:%S.%f%z"),
        ("us", 0, False, "%m/%d/%Y %H:%M:%S"),
        ("us_ampm", 0, False, "%m/%d/%Y %I:%M:%S %p"),
        ("us_ampm", 3, False, "%m/%d/%Y %I:%M:%S.%f %p"),
    ],
)
def test_a_stamp_reads_in_the_form_and_zone_of_the_knobs(
    caller: Caller, form: str, digits: int, shown: bool, pattern: str
) -> None:
    zone = "Asia/Kolkata"
    caller.mlm.dials.patch(stamp_form=form, stamp_fraction_digits=digits, stamp_zone_shown=shown, stamp_zone=zone)
    text = caller.load(REF).field("sLastModifiedTimestamp") or ""
    at = datetime.strptime(text, pattern)
    at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo(zone))
    assert abs(at.timestamp() - caller.mlm.store.newest(REF).stamp / 1e7) < (1 if not digits else 0.001)


def test_a_stamp_can_be_digits_seven_of_a_fraction_blank_or_nonsense(caller: Caller) -> None:
    ticks = caller.mlm.store.newest(REF).stamp
    expected = {"epoch_s": str(ticks // 10**7), "epoch_ms": str(ticks // 10**4), "blank": "", "garbled": "yesterday"}
    for form, text in expected.items():
        caller.mlm.dials.patch(stamp_form=form)
        assert caller.load(REF).field("sLastModifiedTimestamp") == text
    caller.mlm.dials.patch(stamp_form="iso", stamp_fraction_digits=7)
    assert re.fullmatch(r"[^.]+\.\d{7}", caller.load(REF).field("sLastModifiedTimestamp") or "")


def test_values_read_in_the_forms_of_the_knobs(caller: Caller) -> None:
    order = {
        "fields": {
            "sLAmtCalc": "400000",
            "sAggregateAdjRsrv": "-1234.5",
            "sEstCloseD": "2026-12-05",
        },
        "applicant": {"index": 0, "fields": {"aBSsn": "991-91-9991", "aBDecBankrupt": "Yes"}},
    }
    edit(caller.mlm.store, caller.mlm.maker, REF, order)
    text = query(
        asked("sLAmtCalc", "sAggregateAdjRsrv", "sNoteIR", "sEstCloseD", "sU1LStatN"), asked("aBSsn", "aBDecBankrupt")
    )
    rate = caller.mlm.store.newest(REF).content.fields["sNoteIR"]

    def values() -> list[str | None]:
        answer = caller.load(REF, text)
        names = ("sLAmtCalc", "sAggregateAdjRsrv", "sNoteIR", "sEstCloseD", "aBSsn", "aBDecBankrupt", "sU1LStatN")
        return [answer.field(name) for name in names]

    assert values() == ["$400,000.00", "($1,234.50)", f"{rate}%", "12/05/2026", "991-91-9991", "True", ""]
    caller.mlm.dials.patch(
        money_form="plain",
        rate_form="plain",
        date_form="short",
        ssn_form="masked",
        bool_form="Yes",
        blank_form="omitted",
    )
    assert values() == ["400000.00", "-1234.50", rate, "12/5/2026", "***-**-9991", "Yes", None]


def test_a_result_can_be_escaped_twice_and_carry_a_prolog_that_lies(caller: Caller) -> None:
    caller.mlm.dials.patch(result_escapes=2, result_prolog="utf-16")
    result = caller.load(REF).result or ""
    assert result.startswith('&lt;?xml version="1.0" encoding="utf-16"?&gt;&lt;LOXmlFormat')


def test_the_reference_parameter_goes_by_another_name(caller: Caller) -> None:
    caller.mlm.dials.patch(reference_parameter="refNumber")
    assert caller.load(REF).document.get("status") == "Error"
    answer = caller.call("LoadByRefNumber", refNumber=REF, sXmlQuery=query(asked("sLRefNm")), format="0")
    assert answer.field("sLRefNm") == REF


def test_a_lender_with_other_names_is_asked_and_answers_in_them(caller: Caller) -> None:
    caller.mlm.dials.patch(names={"sNoteIR": "sRate", "aAssetCollection": "Assets", "Val": "Value"})
    answer = caller.load(REF, query(asked("sRate"), '<collection id="Assets"/>'))
    content = caller.mlm.store.newest(REF).content
    assert answer.field("sRate") == f"{content.fields['sNoteIR']}%"
    assert all("Value" in record and "Val" not in record for record in answer.records("Assets"))
    assert caller.save(content.number, '<field id="sRate">5</field>').result == '<result status="OK"/>'
    assert caller.mlm.store.newest(REF).content.fields["sNoteIR"] == "5.000"


def test_what_was_asked_for_can_be_left_out_of_an_answer_once(caller: Caller) -> None:
    text = query(STAMP, '<collection id="aAssetCollection"/>')
    caller.mlm.dials.patch(omit_ids=["aAssetCollection"], omit_next=1)
    assert caller.load(REF, text).document.find(".//applicant") is not None
    assert caller.mlm.dials.now.omit_next == 0
    assert caller.load(REF, text).records("aAssetCollection")
    caller.mlm.dials.patch(omit_ids=["applicant"], omit_share=1)
    assert caller.load(REF, text).document.find(".//applicant") is None


def test_raw_markup_behind_a_text_makes_the_answer_unreadable(caller: Caller) -> None:
    caller.mlm.dials.patch(text_suffix_raw="&#x1F;")
    result = caller.load(REF, query('<collection id="sCondDataSet"/>')).result or ""
    with pytest.raises(etree.XMLSyntaxError):
        etree.fromstring(result)


def test_a_lagging_replica_answers_one_version_behind_stamp_and_content(caller: Caller) -> None:
    before = caller.load(REF, query(STAMP + asked("sSpAddr"))).result
    edit(caller.mlm.store, caller.mlm.maker, REF, {"fields": {"sSpAddr": "1 New St"}})
    caller.mlm.dials.patch(replica_next=1)
    assert caller.load(REF, query(STAMP + asked("sSpAddr"))).result == before
    assert caller.load(REF, query(asked("sSpAddr"))).field("sSpAddr") == "1 New St"
    assert [call.behind for call in caller.mlm.calls.newest(ref=REF)][-2:] == [True, False]


@pytest.mark.parametrize(
    ("form", "status", "piece"),
    [
        ("text", 200, "Sorry &amp;amp; wait"),
        ("result_error", 200, 'status="Error"'),
        ("error_element", 200, "&lt;Error&gt;"),
        ("empty", 200, "<LoadByRefNumberResult></LoadByRefNumberResult>"),
        ("fault", 500, "<faultstring>"),
        ("fault12", 500, "<soap:Reason>"),
        ("html502", 502, "Bad Gateway"),
        ("html503", 503, "maintenance"),
        ("html200", 200, "<html>"),
        ("429", 429, "Too many"),
        ("not_xml", 200, "<soap:Body"),
    ],
)
def test_the_next_call_is_struck_with_the_form_asked_for_and_the_one_after_is_good(
    caller: Caller, form: str, status: int, piece: str
) -> None:
    caller.mlm.dials.patch(fault_forms=[form], fault_next=1, fault_text="Sorry & wait", retry_after_s=7)
    if form == "not_xml":
        with pytest.raises(etree.XMLSyntaxError):
            caller.load(REF)
    else:
        answer = caller.load(REF)
        assert answer.http.status_code == status
        assert piece.replace("&amp;amp;", "&amp;") in answer.http.text
        assert (answer.http.headers.get("retry-after") == "7") is (status in (429, 503))
    assert caller.load(REF).field("sLastModifiedTimestamp")
    assert [call.outcome for call in caller.mlm.calls.newest()][-2:] == [form, "ok"]


@pytest.mark.parametrize(
    ("form", "error"),
    [("hang", httpx.ReadTimeout), ("reset", httpx.ReadError), ("half", httpx.RemoteProtocolError)],
)
def test_a_connection_hangs_is_reset_or_breaks_in_the_middle(caller: Caller, form: str, error: type[Exception]) -> None:
    caller.mlm.dials.patch(fault_forms=[form], fault_next=1)
    caller.http.timeout = httpx.Timeout(0.2)
    with pytest.raises(error):
        caller.load(REF)
    assert caller.load(REF).field("sLastModifiedTimestamp")


def test_a_fault_can_be_kept_to_one_operation_and_a_struck_save_can_take_effect(caller: Caller) -> None:
    caller.mlm.dials.patch(fault_forms=["html503"], fault_next=2, fault_operation="Save")
    before = caller.mlm.store.newest(REF)
    assert caller.load(REF).field("sLastModifiedTimestamp")
    assert caller.save(before.content.number, '<field id="sSpAddr">A</field>').http.status_code == 503
    assert caller.mlm.store.newest(REF) is before
    caller.mlm.dials.patch(fault_effect=True)
    assert caller.save(before.content.number, '<field id="sSpAddr">B</field>').http.status_code == 503
    assert caller.mlm.store.newest(REF).content.fields["sSpAddr"] == "B"


def test_an_outage_takes_every_address_of_mlm_but_not_the_api(caller: Caller) -> None:
    caller.mlm.dials.patch(outage="html502")
    assert caller.load(REF).http.status_code == caller.sign_in().status_code == 502
    assert caller.api("GET", "/api/health")["status"] == "ok"
    assert caller.mlm.calls.counters()["by_outcome"]["outage"] == 2


def test_signing_in_wants_the_right_secret_and_can_be_refused(caller: Caller) -> None:
    assert caller.sign_in().json()["expires_in"] == 14400
    assert caller.sign_in("wrong").json() == {"error": "invalid_client"}
    caller.mlm.dials.patch(sign_in_refuse_next=1)
    assert [caller.sign_in().status_code for _ in range(2)] == [401, 200]


@pytest.mark.parametrize(
    ("form", "status", "piece"), [("result_error", 200, "ticket"), ("fault", 500, "Fault"), ("401", 401, "")]
)
def test_a_ticket_that_is_unknown_ended_or_refused_is_answered_as_the_knob_says(
    caller: Caller, form: str, status: int, piece: str
) -> None:
    caller.mlm.dials.patch(ticket_form=form)
    for ticket in ("", "Bearer nonsense", caller.ticket.removeprefix("Bearer ")):
        answer = caller.load(REF, ticket=ticket)
        assert answer.http.status_code == status
        assert piece in answer.http.text
    assert caller.load(REF).http.status_code == 200
    caller.mlm.dials.patch(ticket_refuse_next=1)
    assert caller.load(REF).http.text == answer.http.text
    caller.mlm.tickets.revoke()
    assert caller.load(REF).http.text == answer.http.text


def test_a_token_ends_with_its_life(caller: Caller) -> None:
    caller.mlm.dials.patch(token_life_s=0)
    ended = f"Bearer {caller.sign_in().json()['access_token']}"
    assert caller.load(REF, ticket=ended).document.get("status") == "Error"


def test_a_dtd_in_a_request_or_a_query_is_refused(caller: Caller) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY x "y">]>'
    headers = {"Content-Type": "text/xml", "SOAPAction": f'"{NS}Load"'}
    body = f'{bomb}<s:Envelope xmlns:s="{SOAP11}"><s:Body/></s:Envelope>'
    assert caller.http.post(caller.mlm.loan_service_url, content=body, headers=headers).status_code == 500
    assert caller.load(REF, f"{bomb}<LOXmlFormat>&x;</LOXmlFormat>").document.get("status") == "Error"


def test_soap_11_without_its_action_is_not_recognised(caller: Caller) -> None:
    body = f'<s:Envelope xmlns:s="{SOAP11}"><s:Body><Load xmlns="{NS}"/></s:Body></s:Envelope>'
    answer = caller.http.post(caller.mlm.loan_service_url, content=body, headers={"Content-Type": "text/xml"})
    assert answer.status_code == 500
    assert "SOAPAction" in answer.text


def test_the_wsdl_at_the_address_is_one_that_a_soap_library_can_use(caller: Caller) -> None:
    client = zeep.Client(f"{caller.mlm.loan_service_url}?wsdl")
    text = client.service.LoadByRefNumber(caller.ticket, REF, query(asked("sLRefNm")), 0)
    assert etree.fromstring(text).findtext("loan/field") == REF


def test_the_poll_list_names_what_changed_until_it_is_cleared(caller: Caller) -> None:
    store, app = caller.mlm.store, "app-1"

    def listed(app_code: str = app) -> dict[str, dict[str, str]]:
        document = caller.call("ListModifiedLoansByAppCode", appCode=app_code).document
        return {each.get("name"): dict(each.attrib) for each in document.iter("loan")}

    for number in listed():
        caller.call("ClearModifiedLoanByNameByAppCode", sLNm=number, appCode=app)
    assert listed() == {}
    number = store.newest(REF).content.number
    edit(store, caller.mlm.maker, REF, {"fields": {"sLNm": f"{number}X"}})
    store.delete("R000002")
    entry = listed()[f"{number}X"]
    assert (entry["old_name"], entry["valid"]) == (number, "True")
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", entry["LastModifiedD"])
    assert listed()[store.newest("R000002").content.number]["valid"] == "False"
    assert listed() == listed(), "listed again until cleared"
    caller.call("ClearModifiedLoanByNameByAppCode", sLNm=f"{number}X", appCode=app)
    assert set(listed()) == {store.newest("R000002").content.number}
    assert f"{number}X" in listed("another app"), "each app clears for itself"
    edit(store, caller.mlm.maker, REF, {"fields": {"sSpAddr": "2 New St"}})
    assert listed()[f"{number}X"]["old_name"] == "", "a renumbering is told once"


def test_the_edocs_service_only_counts_who_calls_it(caller: Caller) -> None:
    assert caller.http.post(caller.mlm.edocs_url, content=b"<x/>").status_code == 500
    assert caller.mlm.calls.counters()["edocs"] == 1


def test_every_knob_says_what_it_does_and_takes_its_own_default() -> None:
    told = Knobs.describe()
    assert all(each["doc"] for each in told.values())
    assert Knobs().patched({name: each["default"] for name, each in told.items()}) == Knobs()


@pytest.mark.parametrize(
    "bad",
    [
        {"no_such": 1}, {"fault_share": 2}, {"fault_next": 1.5}, {"fault_forms": ["sulk"]}, {"fault_forms": "text"},
        {"stamp_zone": "Moon/Base"}, {"webhook_held": 1}, {"webhook_keys": {"event": 1}}, {"latency_ms": -1},
        {"stamp_form": "roman"}, {"webhook_batch_size": 0},
    ],
)  # fmt: skip
def test_a_bad_value_of_a_knob_is_named_and_turns_nothing(bad: dict[str, object]) -> None:
    dials = Dials()
    with pytest.raises(KnobError, match=next(iter(bad))):
        dials.patch(webhook_root="single", **bad)
    assert dials.now == Knobs()


def test_knobs_turned_for_a_block_are_as_before_it_afterwards_and_no_others() -> None:
    dials = Dials(Knobs(latency_ms=20.0))
    with dials.turned(latency_ms=300.0, outage="html503"):
        assert dials.now == Knobs(latency_ms=300.0, outage="html503")
        dials.patch(fault_next=2)
    assert dials.now == Knobs(latency_ms=20.0, fault_next=2)
