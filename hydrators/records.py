"""Collections: what to ask for, and how their records become rows. Every concern but loan fields and borrowers.

A collection that is not in the answer is an error; only one that is there and empty says that there are no records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from mlm_client.loxml import Answer, Applicant, Question
from mlm_client.values import Unreadable, enum

from .errors import DuplicateRecordId, MissingApplicants, MissingCollection, MissingRecordId
from .names import Names
from .names_tables import Collection, Field, Kind
from .rows import OWNED_BY, Landing, Reader, Row, record_id


def question_of(names: Names, concern: Concern) -> Question:
    """The concern's collections and, where borrowers own the records, the ids that tell who."""
    collections = names.collections_of(concern)
    people = [*names.borrower, *names.co_borrower] if any(_is_owned(each) for each in collections) else []
    return Question(
        applicant_fields=frozenset(field.name for field in people if field.kind is Kind.RECORD_ID),
        loan_collections=frozenset(each.name for each in collections if not each.of_applicant),
        applicant_collections=frozenset(each.name for each in collections if each.of_applicant),
    )


def landing_of(answer: Answer, names: Names, keys: FieldKeys, concern: Concern) -> Landing:
    """The rows of the concern's collections.

    Raises:
        MissingCollection, MissingApplicants, MissingRecordId, DuplicateRecordId: nothing of the answer may land.
    """
    reader = Reader(keys)
    collections = names.collections_of(concern)
    rows: list[Row] = []
    seen: set[str] = set()
    for place in _places(answer, names, collections):
        for number, record in enumerate(place.records):
            known_by = place.field(Kind.RECORD_ID)
            lqb_id = record_id(record.get(known_by.name))
            if lqb_id is None:
                raise MissingRecordId(concern, f"{place.collection.name}.{known_by.name}", number)
            if lqb_id in seen:
                raise DuplicateRecordId(concern, f"{place.collection.name}.{known_by.name}", number)
            seen.add(lqb_id)
            columns = reader.columns(record, place.collection.fields, lqb_id)
            rows.append({"lqb_id": lqb_id} | columns | _owner(place, record, lqb_id, reader))
    return Landing(concern, collections[0].table, tuple(rows), tuple(reader.problems))


@dataclass(frozen=True)
class _Place:
    """One collection in one place of an answer, and who may own what is in it: seat → consumer id."""

    collection: Collection
    records: tuple[Mapping[str, str], ...]
    people: Mapping[str, str | None]

    def field(self, kind: Kind) -> Field:
        found = self.collection.first(kind)
        assert found is not None, f"{self.collection.name} has no field of kind {kind}"  # noqa: S101  a table of ours
        return found


def _places(answer: Answer, names: Names, collections: tuple[Collection, ...]) -> Iterator[_Place]:
    for collection in collections:
        if not collection.of_applicant:
            if collection.name not in answer.collections:
                raise MissingCollection(collection.concern, collection.name)
            yield _Place(collection, answer.collections[collection.name], {})
            continue
        if not answer.applicants:
            raise MissingApplicants(collection.concern)
        for position, applicant in enumerate(answer.applicants):
            if collection.name not in applicant.collections:
                raise MissingCollection(collection.concern, collection.name, position)
            people = _people(applicant, position, names, collection) if _is_owned(collection) else {}
            yield _Place(collection, applicant.collections[collection.name], people)


def _people(applicant: Applicant, position: int, names: Names, collection: Collection) -> dict[str, str | None]:
    """Who sits in the application's seats. The borrower's id must be there if there is anything to own."""
    ids = {}
    for seat, fields in (("borrower", names.borrower), ("co_borrower", names.co_borrower)):
        known_by = next(field for field in fields if field.kind is Kind.RECORD_ID)
        ids[seat] = record_id(applicant.fields.get(known_by.name))
        if seat == "borrower" and ids[seat] is None and applicant.collections[collection.name]:
            raise MissingRecordId(collection.concern, known_by.name, position)
    return ids


def _is_owned(collection: Collection) -> bool:
    return collection.owner is not None or collection.first(Kind.OWNER) is not None


def _owner(place: _Place, record: Mapping[str, str], lqb_id: str, reader: Reader) -> Row:
    """`owner` and whose row it is; of what both own, the borrower's (the contract, `OwnerT` 2)."""
    if not _is_owned(place.collection):
        return {}
    field = place.collection.first(Kind.OWNER)
    owner = place.collection.owner
    if field is not None:
        if field.name not in record:
            return {}
        owner = _owner_named(field, record[field.name], lqb_id, reader)
    seat = "borrower" if owner == "both" else owner
    consumer_id = place.people[seat] if seat else None
    if seat and consumer_id is None:
        reader.problem(field or place.field(Kind.RECORD_ID), lqb_id, "the application has no co-borrower")
    return {"owner": owner, OWNED_BY: consumer_id}


def _owner_named(field: Field, text: str, lqb_id: str, reader: Reader) -> str | None:
    try:
        code = enum(text)
    except Unreadable as unreadable:
        reader.problem(field, lqb_id, str(unreadable))
        return None
    if code is None:
        return None
    owner = (field.meanings or {}).get(code)
    if owner is None:
        reader.problem(field, lqb_id, "unreadable owner: not a number we know")
    return owner
