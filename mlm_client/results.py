"""The document inside a result: MLM answers with XML as text inside its SOAP element, and with errors there too."""

from __future__ import annotations

from lxml import etree

from . import hardened, wording
from .errors import UnreadableAnswer

_ERRORS = ("{*}error", "{*}Error", "{*}ERROR")
_RESULTS = ("{*}result", "{*}Result", "{*}RESULT")


def document(result: str | None) -> etree._Element:
    """The root of the document in a result string; an error in it is raised as what it means.

    Takes it escaped once (seen) or twice (seen, QuickPricer), with or without a prolog. Error forms: plain text,
    `<result status="Error">`, an `<error>` anywhere, letter case aside (seen for Save and Create, inferred for
    Load). An empty result is `UnreadableAnswer`.
    """
    text = (result or "").strip("\ufeff \t\r\n")
    if text.startswith("&lt;"):
        text = (hardened.parse(f"<text>{text}</text>").text or "").strip("\ufeff \t\r\n")
    if not text:
        raise UnreadableAnswer("the result is empty")
    if not text.startswith("<"):
        raise wording.error_for(text)
    root = hardened.parse(text)
    _raise_error_in(root)
    return root


def status_of(root: etree._Element) -> str | None:
    """The `status` of the result element as MLM spells it, None where there is none."""
    for element in root.iter(*_RESULTS):
        status = hardened.attributes(element).get("status")
        if status is not None:
            return status.strip()
    return None


def _raise_error_in(root: etree._Element) -> None:
    status = status_of(root)
    bad_status = status is not None and not status.lower().startswith("ok")
    errors = list(root.iter(*_ERRORS))
    words = " ".join(_words(element) for element in errors).strip()
    if words:
        raise wording.error_for(words)
    if bad_status or (errors and status is None):
        raise wording.error_for(_words(root))


def _words(element: etree._Element) -> str:
    """All that an error element says, in its text or in its attributes."""
    said = [*(str(value) for value in element.attrib.values()), *(str(text) for text in element.itertext())]
    return " ".join(part.strip() for part in said if part.strip())
