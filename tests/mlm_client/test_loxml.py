"""Questions and answers in LOXml: what is asked, what is there, what is not there, and in how many forms."""

from __future__ import annotations

from contextlib import suppress
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from mlm_client import (
    Answer,
    Applicant,
    ApplicantEdit,
    MlmError,
    Named,
    Question,
    SaveContent,
    UnreadableAnswer,
    read_answer,
)

LOAN = (
    '<LOXmlFormat version="1.0"><loan><field id="sLAmtCalc">$400,000.00</field><field id="sNoteIR"/>'
    '<applicant id="991-91-9991"><field id="aBFirstNm">Zoë &amp; Co</field>'
    '<collection id="aAssetCollection"><record><field id="RecordId">a1</field><field id="Val">$1.00</field></record>'
    '<record><field id="RecordId">a2</field></record></collection><collection id="aLiaCollection"/></applicant>'
    '<applicant id="991-91-9992"><field id="aBFirstNm">Bob</field></applicant>'
    '<collection id="sCondDataSet"><record><field id="CondDesc">W-2</field></record></collection>'
    "</loan></LOXmlFormat>"
)


def test_an_answer_is_read_whole() -> None:
    answer = read_answer(LOAN)

    first = Applicant(
        "991-91-9991",
        {"aBFirstNm": "Zoë & Co"},
        {"aAssetCollection": ({"RecordId": "a1", "Val": "$1.00"}, {"RecordId": "a2"}), "aLiaCollection": ()},
    )
    assert answer == Answer(
        {"sLAmtCalc": "$400,000.00", "sNoteIR": ""},
        (first, Applicant("991-91-9992", {"aBFirstNm": "Bob"}, {})),
        {"sCondDataSet": ({"CondDesc": "W-2"},)},
    )


def test_what_is_there_and_empty_has_a_key_and_what_is_not_in_the_answer_has_none() -> None:
    answer = read_answer(LOAN)

    assert answer.fields["sNoteIR"] == ""
    assert "sTerm" not in answer.fields
    assert answer.applicants[0].collections["aLiaCollection"] == ()
    assert "aLiaCollection" not in answer.applicants[1].collections
    assert "aReCollection" not in answer.collections


FORMS = {
    "escaped twice": escape(LOAN),
    "with a prolog": '<?xml version="1.0" encoding="utf-8"?>' + LOAN,
    "with .NET's utf-16 prolog": '\n<?xml version="1.0" encoding="utf-16"?>\n' + LOAN,
    "with a byte order mark": "\ufeff" + LOAN,
    "with a prolog, escaped twice": escape('<?xml version="1.0" encoding="utf-16"?>' + LOAN),
    "with a comment": "<!-- <!DOCTYPE x> -->" + LOAN.replace("<loan>", "<loan><!-- x -->"),
    "in a namespace": LOAN.replace("<LOXmlFormat", '<LOXmlFormat xmlns="http://x/"'),
    "inside a result": f'<result status="OK">{LOAN}</result>',
    "deeper": LOAN.replace("<loan>", "<loan><data><part>").replace("</loan>", "</part></data></loan>"),
    "element names in capitals": LOAN.replace("field", "FIELD").replace("record", "Record").replace("loan>", "Loan>"),
    "attribute names in capitals": LOAN.replace(' id="', ' ID="'),
    "in CDATA": LOAN.replace("Zoë &amp; Co", "<![CDATA[Zoë & Co]]>"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_the_same_answer_is_read_the_same_in_any_form(form: str) -> None:
    assert read_answer(form) == read_answer(LOAN)


def test_names_match_in_any_letter_case_and_are_listed_as_mlm_spells_them() -> None:
    answer = read_answer(LOAN.replace("sLAmtCalc", "SLAMTCALC").replace("sCondDataSet", "SCondDataset"))

    assert answer.fields["sLAmtCalc"] == "$400,000.00"
    assert "slamtcalc" in answer.fields
    assert list(answer.fields) == ["SLAMTCALC", "sNoteIR"]
    assert answer.collections["sCondDataSet"][0]["conddesc"] == "W-2"


def test_a_flat_answer_without_a_loan_element_is_read() -> None:
    assert read_answer('<LOXmlFormat><field id="sNoteIR">1</field></LOXmlFormat>').fields == {"sNoteIR": "1"}


def test_an_empty_loan_is_an_answer_that_holds_nothing() -> None:
    assert read_answer("<LOXmlFormat><loan/></LOXmlFormat>") == Answer({}, (), {})


def test_a_collection_that_is_there_twice_is_one_with_the_records_of_both() -> None:
    one = '<collection id="c"><record><field id="a">1</field></record></collection>'

    two = one.replace(">1<", ">2<").replace('c"', 'C"')

    answer = read_answer(f"<LOXmlFormat><loan>{one}{two}</loan></LOXmlFormat>")

    assert answer.collections == {"c": ({"a": "1"}, {"a": "2"})}


def test_a_field_of_a_record_is_no_field_of_its_loan_nor_of_an_outer_record() -> None:
    inner = '<collection id="inner"><record><field id="Val">2</field></record></collection>'
    answer = read_answer(
        '<LOXmlFormat><loan><collection id="outer"><record><field id="Val">1</field>'
        f"{inner}</record></collection></loan></LOXmlFormat>"
    )

    assert answer == Answer({}, (), {"outer": ({"Val": "1"},)})


@pytest.mark.parametrize("sign", ["&#xB;", "&#x1F;", "&#0;", "&#11;", "&#xD800;", "&#xFFFF;", "&#x110000;", "\x0b"])
def test_a_control_character_costs_itself_and_not_the_file(sign: str) -> None:
    answer = read_answer(LOAN.replace("Bob", f"B{sign}ob &#x41;&#10;"))

    assert answer.applicants[1].fields["aBFirstNm"] == "Bob A\n"


def test_no_representation_shows_a_value() -> None:
    answer = read_answer(LOAN)
    edit = ApplicantEdit("991-91-9991", {"aBFirstNm": "Zoë"})

    shown = repr(
        [answer, answer.fields, answer.applicants, answer.collections, edit, SaveContent({"a": "Zoë"}, [edit])]
    )

    assert not any(value in shown for value in ("400,000", "Zoë", "Bob", "991-91", "W-2", "a1"))
    assert "sLAmtCalc" in shown


def test_a_question_asks_for_fields_and_empty_collections_at_their_place() -> None:
    question = Question(
        frozenset({"sNoteIR", "sLAmtCalc"}), frozenset({"aBSsn"}), frozenset({"sCondDataSet"}), frozenset({"aLia"})
    )

    assert question.to_xml() == (
        '<LOXmlFormat version="1.0"><loan><field id="sLAmtCalc"/><field id="sNoteIR"/>'
        '<applicant><field id="aBSsn"/><collection id="aLia"/></applicant><collection id="sCondDataSet"/>'
        "</loan></LOXmlFormat>"
    )


def test_a_question_without_applicants_asks_for_none() -> None:
    assert "applicant" not in Question(frozenset({"sNoteIR"})).to_xml()


NAMES = st.frozensets(st.text("abcXYZ<&\"'", min_size=1, max_size=4), max_size=4)
QUESTIONS = st.builds(Question, NAMES, NAMES, NAMES, NAMES)


@settings(max_examples=50, deadline=None)
@given(QUESTIONS, QUESTIONS)
def test_a_union_of_questions_asks_for_what_both_ask_whichever_comes_first(one: Question, other: Question) -> None:
    both = one | other

    assert both.to_xml() == (other | one).to_xml()
    assert (both | one) == both
    root = etree.fromstring(both.to_xml())
    assert {e.get("id") for e in root.iterfind("loan/field")} == one.loan_fields | other.loan_fields
    assert {e.get("id") for e in root.iterfind("loan/applicant/collection")} == (
        one.applicant_collections | other.applicant_collections
    )


VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12)
RECORDS = st.dictionaries(st.sampled_from(["Val", "Addr", "RecordId"]), VALUES)
COLLECTIONS = st.dictionaries(st.sampled_from(["aAsset", "aLia"]), st.lists(RECORDS, max_size=3))


@settings(max_examples=50, deadline=None)
@given(RECORDS, RECORDS, COLLECTIONS, COLLECTIONS, st.booleans())
def test_what_a_save_writes_a_load_reads(
    fields: dict[str, str],
    edits: dict[str, str],
    lists: dict[str, list[dict[str, str]]],
    own_lists: dict[str, list[dict[str, str]]],
    twice: bool,
) -> None:
    written = SaveContent(fields, [ApplicantEdit("1 & 2", edits, own_lists)], lists).to_xml()

    read = read_answer(escape(written) if twice else written)

    assert read.fields == fields
    assert read.applicants[0] == Applicant("1 & 2", edits, {k: tuple(v) for k, v in own_lists.items()})
    assert read.collections == {name: tuple(records) for name, records in lists.items()}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200) | st.text("<>/&;!?[]aCDATDOYPEloanfield= \"'", max_size=60))
def test_any_text_at_all_is_an_answer_or_a_named_error(text: str) -> None:
    with suppress(MlmError):
        assert isinstance(read_answer(text), Answer)


def test_cutting_an_answer_short_anywhere_is_never_an_answer() -> None:
    for length in range(1, len(LOAN)):
        with pytest.raises(UnreadableAnswer):
            read_answer(LOAN[:length])


def test_named_values_are_read_only() -> None:
    with pytest.raises(TypeError):
        Named([("a", "1")])["a"] = "2"  # type: ignore[index]
