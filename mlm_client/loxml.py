"""LOXml, MLM's own form for a loan's data: the question we ask and the answer that comes back.

A field, record or collection that is *not in the answer* has no key; a collection that is there and empty has the
key with `()`. Only the second may ever delete rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from xml.sax.saxutils import quoteattr

from lxml import etree

from .errors import TooLarge, UnreadableAnswer
from .hardened import attributes, local_name
from .results import document

V = TypeVar("V")

_NONE: frozenset[str] = frozenset()
_MAX_DEPTH = 64


class Named(Mapping[str, V]):
    """A read-only mapping whose names match in any letter case and are listed as MLM spells them.

    MLM's services differ in case (seen), and a lender's custom fields do too. `repr` shows names and no values:
    the values are people's data.
    """

    __slots__ = ("_items",)

    def __init__(self, pairs: Iterable[tuple[str, V]] = ()) -> None:
        self._items: dict[str, tuple[str, V]] = {name.lower(): (name, value) for name, value in pairs}

    def __getitem__(self, name: str) -> V:
        return self._items[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


#: One record of a collection: field id → text, as MLM wrote it.
Record = Mapping[str, str]


@dataclass(frozen=True)
class Question:
    """What to ask for: field and collection ids of the loan and of each of its applicants. `|` asks for both."""

    loan_fields: frozenset[str] = _NONE
    applicant_fields: frozenset[str] = _NONE
    loan_collections: frozenset[str] = _NONE
    applicant_collections: frozenset[str] = _NONE

    def __or__(self, other: Question) -> Question:
        return Question(
            self.loan_fields | other.loan_fields,
            self.applicant_fields | other.applicant_fields,
            self.loan_collections | other.loan_collections,
            self.applicant_collections | other.applicant_collections,
        )

    def to_xml(self) -> str:
        """The `sXmlQuery`. Equal questions make equal text. An applicant without id asks for every one."""
        applicant = _empty("field", self.applicant_fields) + _empty("collection", self.applicant_collections)
        return (
            '<LOXmlFormat version="1.0"><loan>'
            + _empty("field", self.loan_fields)
            + (f"<applicant>{applicant}</applicant>" if applicant else "")
            + _empty("collection", self.loan_collections)
            + "</loan></LOXmlFormat>"
        )


def _empty(tag: str, ids: frozenset[str]) -> str:
    return "".join(f"<{tag} id={quoteattr(name)}/>" for name in sorted(ids))


@dataclass(frozen=True, repr=False)
class Applicant:
    """One application: a borrower (`aB…`) and, married, a co-borrower (`aC…`). `id` may be an SSN."""

    id: str | None
    fields: Mapping[str, str] = field(default_factory=Named)
    collections: Mapping[str, tuple[Record, ...]] = field(default_factory=Named)

    def __repr__(self) -> str:
        return f"Applicant({len(self.fields)} fields, {_sizes(self.collections)})"


@dataclass(frozen=True, repr=False)
class Answer:
    """What MLM said of one file. Names match in any letter case; values are text as MLM wrote it (see `values`)."""

    fields: Mapping[str, str] = field(default_factory=Named)
    applicants: tuple[Applicant, ...] = ()
    collections: Mapping[str, tuple[Record, ...]] = field(default_factory=Named)

    def __repr__(self) -> str:
        return f"Answer({len(self.fields)} fields, {len(self.applicants)} applicants, {_sizes(self.collections)})"


def _sizes(collections: Mapping[str, tuple[Record, ...]]) -> str:
    return "collections: " + (", ".join(f"{name} {len(rows)}" for name, rows in collections.items()) or "none")


def read_answer(result: str | None) -> Answer:
    """The answer in the result string of `Load` or `LoadByRefNumber`; an error in it is raised.

    Elements count by their local name in any letter case, wherever they stand. An answer that holds
    neither a loan nor a field is `UnreadableAnswer`, and so is one that holds two loans: it cannot be about one file.
    """
    root = document(result)
    found = _Found()
    _collect(root, found, found, 0)
    if found.loans > 1:
        raise UnreadableAnswer("the answer holds more than one loan")
    if not (found.loans or found.fields or found.collections or found.applicants):
        raise UnreadableAnswer("the answer holds no loan")
    return Answer(
        Named(found.fields),
        tuple(Applicant(a.id, Named(a.fields), _frozen(a.collections)) for a in found.applicants),
        _frozen(found.collections),
    )


class _Found:
    """What has been read so far of the loan, or of one applicant."""

    __slots__ = ("applicants", "collections", "fields", "id", "loans")

    def __init__(self, id: str | None = None) -> None:
        self.id = id
        self.loans = 0
        self.fields: list[tuple[str, str]] = []
        self.collections: list[tuple[str, list[Record]]] = []
        self.applicants: list[_Found] = []


def _collect(element: etree._Element, owner: _Found, loan: _Found, depth: int) -> None:
    """Put what stands under `element` where it belongs; elements of other names are only looked through."""
    if depth > _MAX_DEPTH:
        raise TooLarge("the answer is too deep")
    for child in element if depth else (element,):
        kind = local_name(child)
        if kind == "field":
            _add_field(child, owner.fields)
        elif kind == "collection":
            name = attributes(child).get("id")
            if name:
                owner.collections.append((name, _records(child, depth + 1)))
        elif kind == "applicant":
            applicant = _Found(attributes(child).get("id"))
            loan.applicants.append(applicant)
            _collect(child, applicant, loan, depth + 1)
        else:
            loan.loans += kind == "loan"
            _collect(child, owner, loan, depth + 1)


def _records(element: etree._Element, depth: int) -> list[Record]:
    """The records under a collection. A collection inside a record is none of its fields."""
    if depth > _MAX_DEPTH:
        raise TooLarge("the answer is too deep")
    records: list[Record] = []
    for child in element:
        if local_name(child) == "record":
            fields: list[tuple[str, str]] = []
            _add_fields_under(child, fields, depth + 1)
            records.append(Named(fields))
        else:
            records.extend(_records(child, depth + 1))
    return records


def _add_fields_under(element: etree._Element, fields: list[tuple[str, str]], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise TooLarge("the answer is too deep")
    for child in element:
        kind = local_name(child)
        if kind == "field":
            _add_field(child, fields)
        elif kind != "collection":
            _add_fields_under(child, fields, depth + 1)


def _add_field(element: etree._Element, fields: list[tuple[str, str]]) -> None:
    name = element.get("id") or attributes(element).get("id")
    if name:
        text = element.text if len(element) == 0 else "".join(str(part) for part in element.itertext())
        fields.append((name, text or ""))


def _frozen(collections: list[tuple[str, list[Record]]]) -> Named[tuple[Record, ...]]:
    """The collections by name; one that is there twice is one collection with the records of both."""
    whole: dict[str, tuple[str, list[Record]]] = {}
    for name, records in collections:
        whole.setdefault(name.lower(), (name, []))[1].extend(records)
    return Named((name, tuple(records)) for name, records in whole.values())
