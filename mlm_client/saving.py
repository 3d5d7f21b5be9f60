"""What a `Save` sends and what comes back of it.

MLM merges: a field that is not sent stays as it is (inferred). Whether a collection that is sent replaces the old one
or is appended to it is unknown; nothing here assumes either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from .errors import UnreadableAnswer
from .hardened import writable
from .loxml import Record
from .results import document, status_of


@dataclass(frozen=True, repr=False)
class ApplicantEdit:
    """New values for one applicant. MLM addresses it by the SSN of its primary borrower (seen)."""

    id: str
    fields: Mapping[str, str] = field(default_factory=dict)
    collections: Mapping[str, Sequence[Record]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ApplicantEdit({len(self.fields)} fields, {len(self.collections)} collections)"


@dataclass(frozen=True, repr=False)
class SaveContent:
    """New values for one file, each as text in a form MLM takes: plain numbers, ISO dates, `True`/`False`."""

    fields: Mapping[str, str] = field(default_factory=dict)
    applicants: Sequence[ApplicantEdit] = ()
    collections: Mapping[str, Sequence[Record]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"SaveContent({len(self.fields)} fields, {len(self.applicants)} applicants, "
            f"{len(self.collections)} collections)"
        )

    def to_xml(self) -> str:
        """The `sDataContent`. Characters that XML cannot carry are left out; everything else arrives as given."""
        applicants = "".join(
            f"<applicant id={_attribute(one.id)}>{_body(one.fields, one.collections)}</applicant>"
            for one in self.applicants
        )
        return (
            '<LOXmlFormat version="1.0"><loan>'
            f"{_fields(self.fields)}{applicants}{_collections(self.collections)}"
            "</loan></LOXmlFormat>"
        )


def _body(fields: Mapping[str, str], collections: Mapping[str, Sequence[Record]]) -> str:
    return _fields(fields) + _collections(collections)


def _fields(fields: Mapping[str, str]) -> str:
    return "".join(f"<field id={_attribute(name)}>{escape(writable(value))}</field>" for name, value in fields.items())


def _collections(collections: Mapping[str, Sequence[Record]]) -> str:
    return "".join(
        f"<collection id={_attribute(name)}>"
        + "".join(f"<record>{_fields(record)}</record>" for record in records)
        + "</collection>"
        for name, records in collections.items()
    )


def _attribute(text: str) -> str:
    return quoteattr(writable(text))


@dataclass(frozen=True)
class SaveResult:
    """MLM took the save. `status` is its word (`OK`, `OKWithWarning`); a warning is a success (seen)."""

    status: str
    warning: bool


def read_save(result: str | None) -> SaveResult:
    """The result of a `Save`; anything but a status that begins with OK, in any letter case, is raised."""
    status = status_of(document(result))
    if status is None:
        raise UnreadableAnswer("the result of the save has no status")
    return SaveResult(status, warning=status.lower() != "ok")
