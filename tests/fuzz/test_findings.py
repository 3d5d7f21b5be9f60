"""What fuzzing and inputs at the size limit have found, so that it stays found: see docs/fuzzing.md."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import Engine

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from hydrators import HYDRATORS, land_loan_fields, load_names
from mlm_client import Answer, NotFound, TooLarge, UnreadableAnswer, read_answer
from mlm_client.errors import UnsafeAnswer
from mlm_client.exchange import Exchange, Timeouts
from mlm_client.hardened import MOST_ATTRIBUTES, MOST_MARKS, parse
from mlm_client.polling import read_modified
from mlm_client.results import document
from mlm_client.ticket import ASSUMED_LIFE_S, MAX_BYTES, Ticket, Tickets

KEYS = FieldKeys((bytes(range(32)),))
ENTITY = '<!DOCTYPE a [<!ENTITY x "expanded">]><a b="&x;"/>'


def ticket_of(content: bytes) -> Ticket:
    """The ticket in an answer of the token service, asked for at the second 0."""
    http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, content=content)))
    exchange = Exchange(http, Timeouts(1, 1, 1), clock=lambda: 0.0)
    return Tickets(exchange, "http://127.0.0.1/token", "client", "secret").current(1.0)


@pytest.mark.parametrize("before", ["<!--><a>-->", "<!---><a>-->"])
def test_a_doctype_is_seen_behind_a_comment_that_seems_to_end_where_it_begins(before: str) -> None:
    with pytest.raises(UnsafeAnswer):
        parse(before + ENTITY)


def test_an_element_of_very_many_attributes_is_too_large_because_reading_them_costs_their_square() -> None:
    attributes = " ".join(f'a{number}=""' for number in range(MOST_ATTRIBUTES))
    assert len(read_modified(f'<x><loan name="L" {attributes[:-6]}/></x>')) == 1
    with pytest.raises(TooLarge):
        read_modified(f'<x><loan name="L" {attributes}/></x>')


@pytest.mark.parametrize("one_more", ["<a/>", "=", "&#65;"])
def test_an_answer_of_very_many_small_elements_is_too_large_before_it_is_parsed(one_more: str) -> None:
    fields = '<field id="f"/>' * ((MOST_MARKS - 2) // 2)
    assert read_answer(f"<loan>{fields}</loan>").fields == {"f": ""}
    with pytest.raises(TooLarge):
        read_answer(f"<loan>{fields}{one_more}</loan>")


@pytest.mark.parametrize(
    "error",
    [
        '<error code="loan"><error>not found</error></error>',
        '<error><error message="the loan was not found"/></error>',
        f"<error>the loan was not found{'<error>' * 200}{'x' * 100_000}{'</error>' * 200}</error>",
    ],
)
def test_what_an_error_says_counts_at_any_depth_of_errors_within_errors(error: str) -> None:
    with pytest.raises(NotFound):
        document(f"<a>{error}</a>")


def test_a_loan_number_of_any_length_lands_or_is_a_problem(engine: Engine) -> None:
    """PostgreSQL indexes the number, and refuses to index more than 2,704 bytes: the file would never land."""
    number = "".join(map(chr, range(0x4E00, 0x4E00 + 4_000)))
    landing = HYDRATORS[Concern.LOAN_FIELDS].rows(Answer({"sLNm": number, "sTerm": "360"}), load_names(None), KEYS)
    with engine.begin() as conn:
        land_loan_fields(conn, "loan", "R1", landing)
    assert [problem.field for problem in landing.problems] == ["sLNm"]


def test_a_ticket_whose_life_is_beyond_any_number_is_good_for_the_life_assumed() -> None:
    ticket = ticket_of(b'{"access_token":"t","expires_in":1' + b"0" * 400 + b"}")
    assert ticket.expires_at == ASSUMED_LIFE_S


def test_an_answer_of_the_token_service_that_is_no_ticket_by_its_size_is_not_read() -> None:
    with pytest.raises(UnreadableAnswer):
        ticket_of(b'{"access_token":"t","scope":[' + b"[]," * (MAX_BYTES // 3) + b"[]]}")
