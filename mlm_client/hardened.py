"""Reading XML that somebody else wrote: capped first, no DTD, no entities, no network, shallow.

libxml2's own limits stay on (`huge_tree=False`): a text or attribute over 10 MB and a depth over 256 are
`TooLarge` (measured: error 114 for all three). What they leave open is bounded here: many small elements cost thirty
times their bytes, and many attributes on one element the square of their number (both measured).
"""

from __future__ import annotations

import re

from lxml import etree

from .errors import MlmError, TooLarge, UnreadableAnswer, UnsafeAnswer

#: Bytes of one answer, outer or inner. A file with every collection is some hundred kilobytes.
MAX_BYTES = 32 * 1024 * 1024

#: `<`, `=` and `&#` in one document, so elements, attributes and character references: 400 MB at most (measured). A
#: large file has some ten thousand.
MOST_MARKS = 500_000

#: Attributes of one element that we read. An entry of the modified list has some twenty.
MOST_ATTRIBUTES = 64

_RESOURCE_LIMIT = 114
_CONTROLS = bytes(code for code in range(32) if code not in (9, 10, 13))
_UTF16_MARKS = (b"\xfe\xff", b"\xff\xfe")
_REFERENCE = re.compile(rb"&#(?:x([0-9A-Fa-f]{1,8})|([0-9]{1,10}));")
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def parse(document: str | bytes, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root of an XML document; comments and processing instructions are left out.

    The bytes are read as UTF-8 whatever the prolog says: .NET writes `encoding="utf-16"` into a string that it
    then sends as UTF-8 (measured: both plain ways to parse that fail). Raises `TooLarge`, `UnsafeAnswer` for any
    DOCTYPE, `UnreadableAnswer` for what is not XML.
    """
    data = document.encode("utf-8", "replace") if isinstance(document, str) else document
    if len(data) > max_bytes:
        raise TooLarge("the answer is larger than its cap")
    if sum(map(data.count, (b"<", b"=", b"&#"))) > MOST_MARKS:
        raise TooLarge("the answer holds too many elements, attributes or character references")
    data = without_illegal_characters(data.lstrip(b"\xef\xbb\xbf \t\r\n"))
    if _declares_doctype(data):
        raise UnsafeAnswer("the answer carries a DOCTYPE")
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    error: MlmError
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as fault:
        error = syntax_error(fault)
    raise error


def syntax_error(fault: etree.XMLSyntaxError) -> MlmError:
    """What a parser's refusal means for the caller."""
    if fault.code == _RESOURCE_LIMIT:
        return TooLarge("the answer is too deep, or holds a text over 10 MB")
    return UnreadableAnswer("the answer is cut short or is not XML")


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace, in lower case: MLM's services differ in case (seen)."""
    return str(element.tag).rpartition("}")[2].lower()


def attributes(element: etree._Element) -> dict[str, str]:
    """The element's attributes by their names in lower case, namespaces left out; `TooLarge` if they are too many."""
    if len(element.attrib) > MOST_ATTRIBUTES:
        raise TooLarge("the answer holds an element of too many attributes")
    return {str(name).rpartition("}")[2].lower(): str(value) for name, value in element.attrib.items()}


def writable(text: str) -> str:
    """The text without the characters that XML 1.0 cannot carry at all."""
    return _ILLEGAL.sub("", text)


def without_illegal_characters(data: bytes) -> bytes:
    """The document without control characters and without references to them.

    .NET's text writer turns a control character in a name into `&#xB;`, which no XML parser may accept; one
    stray key stroke would make the whole file unreadable for good. Nothing else in the document changes.
    """
    if data[:2] in _UTF16_MARKS:
        return data
    data = data.translate(None, _CONTROLS)
    return _REFERENCE.sub(_legal_reference, data) if b"&#" in data else data


def _legal_reference(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16) if match[1] else int(match[2])
    if code > 0x10FFFF or _ILLEGAL.match(chr(code)):
        return b""
    return match[0]


def _declares_doctype(data: bytes) -> bool:
    """Whether a `<!…` other than a comment stands before the root: the only place where XML allows a DOCTYPE."""
    at = data.find(b"<")
    while at >= 0:
        if data.startswith(b"<?", at):
            at = data.find(b"?>", at + 2)
        elif data.startswith(b"<!--", at):
            at = data.find(b"-->", at + 4)
        else:
            return data.startswith(b"<!", at)
        at = data.find(b"<", at) if at >= 0 else -1
    return False
