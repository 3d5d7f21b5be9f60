"""LOXmlFormat: what a query asks for, the answer to it, and what a save's content says.

The query decides what is in an answer, and in which order. Queries are compiled once and kept: a hydrator asks the
same one all day. XML that comes in is read hardened: no DTD, no entities, no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from xml.sax.saxutils import quoteattr

from lxml import etree

from mlm_client.sandbox.fields import (
    APPLICANT_FIELDS,
    COLLECTIONS,
    READ_ONLY,
    STAMP,
    canonical,
    loan_kind,
    show,
)
from mlm_client.sandbox.files import Applicant, Content, Record, Version
from mlm_client.sandbox.knobs import Knobs
from mlm_client.sandbox.stamps import stamp_text

#: Id in `omit_ids` that leaves every applicant out.
ALL_APPLICANTS = "applicant"

Names = tuple[tuple[str, str], ...]
Wanted = tuple[str, str, str]
WantedRecords = tuple[str, str, tuple[Wanted, ...]]


class Refused(ValueError):
    """MLM refuses the query or the content; the text is the message in its answer."""


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query. Fields are (id on the wire, our id, kind), collections (wire, ours, record fields)."""

    loan_fields: tuple[Wanted, ...]
    loan_collections: tuple[WantedRecords, ...]
    applicant_fields: tuple[Wanted, ...]
    applicant_collections: tuple[WantedRecords, ...]
    asks_applicants: bool
    applicant_ids: frozenset[str]
    unknown: tuple[str, ...]
    ids: tuple[str, ...]


def read_xml(text: str) -> etree._Element:
    """Parse text hardened; raises Refused for what is no XML or has a DTD."""
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, UnicodeEncodeError):
        raise Refused("Data at the root level is invalid.") from None
    if root.getroottree().docinfo.doctype:
        raise Refused("For security reasons DTD is prohibited in this XML document.")
    return root


def wire_names(knobs: Knobs) -> Names:
    """The renamed ids, in a form that can key a cache."""
    return tuple(sorted(knobs.names.items())) if knobs.names else ()


@lru_cache(maxsize=512)
def compile_query(text: str, names: Names) -> Query:
    """Compile `sXmlQuery`. Ids nobody knows are listed, not refused. Raises Refused."""
    ours = {theirs: mine for mine, theirs in names}
    theirs = dict(names)
    loan: dict[str, Wanted] = {}
    applicant: dict[str, Wanted] = {}
    collections: tuple[dict[str, WantedRecords], dict[str, WantedRecords]] = {}, {}
    unknown: list[str] = []
    ids: list[str] = []
    root = read_xml(text)
    for element in root.iter("field", "collection"):
        wire = element.get("id", "")
        name = ours.get(wire, wire)
        ids.append(name)
        under_applicant = any(True for _ in element.iterancestors("applicant"))
        if element.tag == "collection":
            told = COLLECTIONS.get(name)
            if told is None or told.of_applicant is not under_applicant:
                unknown.append(wire)
                continue
            wanted = tuple((theirs.get(each, each), each, kind) for each, kind in told.fields.items())
            collections[under_applicant][name] = (wire, name, wanted)
            continue
        kind = APPLICANT_FIELDS.get(name) if under_applicant else loan_kind(name)
        if kind is None:
            unknown.append(wire)
        else:
            (applicant if under_applicant else loan)[name] = (wire, name, kind)
    asked = list(root.iter("applicant"))
    addressed = {_digits(each.get("id") or "") for each in asked}
    return Query(
        loan_fields=tuple(loan.values()),
        loan_collections=tuple(collections[False].values()),
        applicant_fields=tuple(applicant.values()),
        applicant_collections=tuple(collections[True].values()),
        asks_applicants=bool(asked),
        applicant_ids=frozenset() if "" in addressed else frozenset(addressed),
        unknown=tuple(unknown),
        ids=tuple(ids),
    )


def answer(version: Version, query: Query, knobs: Knobs, omit: frozenset[str] = frozenset()) -> str:
    """The LOXml document for one file: what was asked and is known, but `omit`."""
    content = version.content
    out = ['<LOXmlFormat version="1.0"><loan>']
    loan = content.fields
    if any(kind == STAMP for _, _, kind in query.loan_fields):
        loan = {**loan, "sLastModifiedTimestamp": stamp_text(version.stamp, knobs)}
    _fields(out, query.loan_fields, loan, knobs, omit)
    if query.asks_applicants and ALL_APPLICANTS not in omit:
        for applicant in content.applicants:
            if not query.applicant_ids or applicant.fields["aBSsn"] in query.applicant_ids:
                out.append(f"<applicant id={quoteattr(show('ssn', applicant.fields['aBSsn'], knobs))}>")
                _fields(out, query.applicant_fields, applicant.fields, knobs, omit)
                _collections(out, query.applicant_collections, applicant.collections, knobs, omit)
                out.append("</applicant>")
    _collections(out, query.loan_collections, content.collections, knobs, omit)
    out.append("</loan></LOXmlFormat>")
    return "".join(out)


def _fields(out: list[str], wanted: tuple[Wanted, ...], values: Record, knobs: Knobs, omit: frozenset[str]) -> None:
    for wire, name, kind in wanted:
        if omit and name in omit:
            continue
        text = show(kind, values.get(name, ""), knobs)
        if knobs.text_suffix_raw and name in ("Desc", "CondDesc"):
            text += knobs.text_suffix_raw
        if text or knobs.blank_form == "empty":
            out.append(f'<field id="{wire}">{text}</field>')
        elif knobs.blank_form == "self_closed":
            out.append(f'<field id="{wire}"/>')


def _collections(
    out: list[str],
    wanted: tuple[WantedRecords, ...],
    held: dict[str, list[Record]],
    knobs: Knobs,
    omit: frozenset[str],
) -> None:
    for wire, name, fields in wanted:
        if name in omit:
            continue
        out.append(f'<collection id="{wire}">')
        for record in held[name]:
            out.append("<record>")
            _fields(out, fields, record, knobs, omit)
            out.append("</record>")
        out.append("</collection>")


@dataclass(slots=True)
class Saving:
    """What a save's content asks for: the changes in order, SSNs of the applicants addressed, unknown ids, credit."""

    changes: list[Callable[[Content, dict[str, Applicant]], None]] = field(default_factory=list)
    applicants: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    credit_for: list[str] = field(default_factory=list)

    def apply(self, content: Content) -> None:
        """Make the changes. Raises Refused, and the content is then to be thrown away."""
        found = {ssn: applicant_of(content, ssn) for ssn in self.applicants}
        for change in self.changes:
            change(content, found)


def read_save(text: str, names: Names, new_id: Callable[[], str]) -> Saving:
    """Read `sDataContent`: fields, applicants by SSN, records upserted by RecordId. Raises Refused."""
    ours = {theirs: mine for mine, theirs in names}
    saving = Saving()
    loan = next(iter(read_xml(text).iter("loan")), None)
    if loan is None:
        raise Refused("No loan element in content.")
    for child in loan:
        if child.tag == "field":
            _read_field(saving, child, ours, None)
        elif child.tag == "collection":
            _read_collection(saving, child, ours, None, new_id)
        elif child.tag == "applicant":
            ssn = _digits(child.get("id") or "")
            saving.applicants.append(ssn)
            for each in child:
                if each.tag == "field":
                    _read_field(saving, each, ours, ssn)
                elif each.tag == "collection":
                    _read_collection(saving, each, ours, ssn, new_id)
                elif each.tag == "credit":
                    saving.credit_for.append(ssn)
    return saving


def _read_field(saving: Saving, element: etree._Element, ours: dict[str, str], ssn: str | None) -> None:
    wire = element.get("id", "")
    name = ours.get(wire, wire)
    kind = loan_kind(name) if ssn is None else APPLICANT_FIELDS.get(name)
    if kind is None:
        saving.unknown.append(wire)
        return
    if name in READ_ONLY:
        return
    value = _canonical(kind, name, element.text)

    def change(content: Content, found: dict[str, Applicant]) -> None:
        (content if ssn is None else found[ssn]).fields[name] = value

    saving.changes.append(change)


def _read_collection(
    saving: Saving, element: etree._Element, ours: dict[str, str], ssn: str | None, new_id: Callable[[], str]
) -> None:
    wire = element.get("id", "")
    name = ours.get(wire, wire)
    told = COLLECTIONS.get(name)
    if told is None or told.of_applicant is (ssn is None):
        saving.unknown.append(wire)
        return
    for row in element.iter("record"):
        record: Record = {}
        for each in row.iter("field"):
            wire = each.get("id", "")
            kind = told.fields.get(ours.get(wire, wire))
            if kind is None:
                saving.unknown.append(wire)
            else:
                record[ours.get(wire, wire)] = _canonical(kind, wire, each.text)
        record["RecordId"] = record.get("RecordId") or new_id()

        def change(content: Content, found: dict[str, Applicant], record: Record = record) -> None:
            records = (content if ssn is None else found[ssn]).collections[name]
            for held in records:
                if held["RecordId"].lower() == record["RecordId"].lower():
                    held.update({**record, "RecordId": held["RecordId"]})
                    return
            records.append({**dict.fromkeys(COLLECTIONS[name].fields, ""), **record})

        saving.changes.append(change)


def _canonical(kind: str, name: str, text: str | None) -> str:
    try:
        return canonical(kind, text or "")
    except ValueError:
        raise Refused(f"Invalid value for field {name}.") from None


def applicant_of(content: Content, ssn: str) -> Applicant:
    """The applicant whose primary borrower has this SSN; a save that names none means the first."""
    for applicant in content.applicants:
        if ssn in ("", applicant.fields["aBSsn"]):
            return applicant
    raise Refused("Applicant not found.")


def _digits(ssn: str) -> str:
    return ssn.replace("-", "").strip()
