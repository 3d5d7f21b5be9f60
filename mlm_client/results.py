"""The document inside a result: MLM answers with XML as text inside its SOAP element, and with errors there too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
    words = _words(_said_by_errors(root))
    if words:
        raise wording.error_for(words)
    if bad_status or (status is None and next(root.iter(*_ERRORS), None) is not None):
        raise wording.error_for(_words(_said_by(root)))


def _said_by(element: etree._Element) -> Iterator[str]:
    """What an element says, in its attributes and in all text within it."""
    yield from hardened.attributes(element).values()
    yield from (str(text) for text in element.itertext())


def _said_by_errors(root: etree._Element) -> Iterator[str]:
    """What all error elements say. The text of one inside another is said once: nesting must not multiply it."""
    around = 0
    for event, element in etree.iterwalk(root, events=("start", "end"), tag=_ERRORS):
        if event == "end":
            around -= 1
        else:
            yield from hardened.attributes(element).values() if around else _said_by(element)
            around += 1


def _words(said: Iterable[str]) -> str:
    """The parts as one text, as far as anybody reads it."""
    parts, length = [], 0
    for part in filter(None, (text.strip() for text in said)):
        parts.append(part)
        length += len(part) + 1
        if length > wording.WORDS_READ:
            break
    return " ".join(parts)
