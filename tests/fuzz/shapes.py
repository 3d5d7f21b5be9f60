"""The shapes that cost parsers most: one part, repeated until the input is as large as one may be."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mlm_client.hardened import MOST_ATTRIBUTES, MOST_MARKS
from mlm_client.ticket import MAX_BYTES as MOST_TICKET_BYTES

MIB = 1024 * 1024
TEXT_BYTES = 9 * MIB  # libxml2 takes no text of 10 MB


@dataclass(frozen=True)
class Shape:
    """A part repeated between a head and a tail; `%x` in it is its number.

    `marks`: how many of the signs that XML may hold only so many of (`MOST_MARKS`) are in a part. `most`: the bytes
    beyond which it is refused for its size.
    """

    head: str
    part: str
    tail: str
    marks: int = 0
    most: int | None = None

    def count(self, size: int) -> int:
        """How often the part stands in an input of this many bytes."""
        longest = len((self.part % (1 << 20) if "%x" in self.part else self.part).encode())
        return max(1, (min(size, self.most or size) - len(self.head) - len(self.tail)) // longest)

    def taken(self) -> int:
        """How often it may stand there until it is refused for its marks."""
        return (MOST_MARKS - 1000) // self.marks if self.marks else sys.maxsize

    def of(self, count: int) -> bytes:
        """The input with that many parts."""
        parts = "".join(self.part % number for number in range(count)) if "%x" in self.part else self.part * count
        return f"{self.head}{parts}{self.tail}".encode()


def _xml(head: str, part: str, tail: str = "", most: int | None = None) -> Shape:
    return Shape(head, part, tail, sum(map(part.count, ("<", "=", "&#"))), most)


def _nested(tag: str, depth: int, inner: str = "") -> str:
    return f"<{tag}>" * depth + inner + f"</{tag}>" * depth


def _in_soap(shape: Shape) -> Shape:
    """The shape as the result of a call, escaped in its envelope."""
    begin = "\0<Envelope><Body><LoadByRefNumberResponse><LoadByRefNumberResult>"
    end = "</LoadByRefNumberResult></LoadByRefNumberResponse></Body></Envelope>"
    most = min(shape.most or TEXT_BYTES, TEXT_BYTES)
    return Shape(begin + escape(shape.head), escape(shape.part), escape(shape.tail) + end, shape.marks, most)


_FIELD = "<loan><field id='a'>", "</field></loan>"
_ATTRIBUTES = " ".join(f"a{number}=''" for number in range(MOST_ATTRIBUTES))
_RECORD = "<record>" + "".join(
    f"<field id='{name}'>{value}</field>"
    for name, value in {"RecordId": "%x", "OwnerT": "0", "AccNum": "123456789", "Val": "$1.00"}.items()
)
_PERSON = "<loan><applicant><field id='aBConsumerId'>c1</field>"

XML: dict[str, Shape] = {
    "elements": _xml("<loan>", "<a/>", "</loan>"),
    "elements of many names": _xml("<loan>", "<n%x/>", "</loan>"),
    "elements of long names": _xml("<loan>", f"<{'a' * 40_000}/>", "</loan>"),
    "one name without end": _xml("<", "a", "/>"),
    "elements 60 deep": _xml("<loan>", _nested("a", 60), "</loan>"),
    "elements 200 deep": _xml("<loan>", _nested("a", 200), "</loan>"),
    "elements never closed": _xml("<loan>", "<a>"),
    "fields": _xml("<loan>", "<field id='a%x'/>", "</loan>"),
    "fields of 60 elements each": _xml("<loan>", f"<field id='a'>{'x<a/>' * 60}</field>", "</loan>"),
    "one field of many elements": _xml(_FIELD[0], "x<a/>", _FIELD[1]),
    "loans": _xml("<a>", "<loan name='%x'/>", "</a>"),
    "applicants": _xml("<loan>", "<applicant/>", "</loan>"),
    "collections": _xml("<loan>", "<collection id='c%x'/>", "</loan>"),
    "one collection many times": _xml("<loan>", "<collection id='c'><record/></collection>", "</loan>"),
    "records": _xml("<loan><collection id='c'>", "<record/>", "</collection></loan>"),
    "records in records": _xml("<loan><collection id='c'>", _nested("x", 50, "<record/>"), "</collection></loan>"),
    "assets": _xml(
        f"{_PERSON}<collection id='aAssetCollection'>", f"{_RECORD}</record>", "</collection></applicant></loan>"
    ),
    "assets of one applicant each": _xml(
        "<loan>",
        "<applicant><field id='aBConsumerId'>c%x</field><collection id='aAssetCollection'/></applicant>",
        "</loan>",
    ),
    "fees": _xml(
        "<loan><collection id='sClosingCostFeeCollection'>",
        "<record><field id='RecordId'>%x</field><field id='Amt'>$1,250.00</field></record>",
        "</collection></loan>",
    ),
    "ids in one text": _xml(
        f"{_PERSON}<collection id='aReCollection'><record><field id='RecordId'>r</field><field id='LiaRecordIds'>",
        "l%x, ",
        "</field></record></collection></applicant></loan>",
        TEXT_BYTES,
    ),
    "attributes": _xml("<loan ", "a%x='' ", "/>"),
    "attributes of an entry": _xml("<x><loan name='x' ", "a%x='' ", "/></x>"),
    "one attribute many times": _xml("<loan ", "a='' ", "/>"),
    "elements of many attributes": _xml("<loan>", f"<error {_ATTRIBUTES}/>", "</loan>"),
    "entries of many attributes": _xml("<x>", f"<loan name='x' {_ATTRIBUTES[:-20]}/>", "</x>"),
    "one attribute without end": _xml("<loan a='", "x", "'/>"),
    "namespaces": _xml("<loan ", "xmlns:b%x='u' ", "/>"),
    "namespaces 200 deep": _xml("<loan>", "<a xmlns='u'>" * 200 + "</a>" * 200, "</loan>"),
    "namespaces of each element": _xml("<loan>", "<b:a xmlns:b='u%x'/>", "</loan>"),
    "prefixes of nothing": _xml("<loan>", "<b%x:c/>", "</loan>"),
    "attributes with prefixes of nothing": _xml("<loan ", "b%x:c='' ", "/>"),
    "entities": _xml(_FIELD[0], "&amp;", _FIELD[1]),
    "entities that are none": _xml(_FIELD[0], "&e%x;", _FIELD[1]),
    "characters by number": _xml(_FIELD[0], "&#65;", _FIELD[1]),
    "characters by a number that is none": _xml(_FIELD[0], "&#1;", _FIELD[1]),
    "beginnings of characters": _xml(_FIELD[0], "&#", _FIELD[1]),
    "escaped ever again": _xml("&lt;loan", "&amp;amp;", "&gt;"),
    "escaped elements": _xml("&lt;loan&gt;", "&lt;a/&gt;", "&lt;/loan&gt;"),
    "cdata": _xml(_FIELD[0], "<![CDATA[x]]>", _FIELD[1]),
    "cdata without end": _xml(_FIELD[0], "<![CDATA[", _FIELD[1]),
    "large cdata": _xml(_FIELD[0], f"<![CDATA[{'x' * (4 * MIB)}]]>", _FIELD[1]),
    "comments": _xml(_FIELD[0], "x<!---->", _FIELD[1]),
    "comments before": _xml("", "<!---->", "<loan/>"),
    "beginnings of comments": _xml("", "<!-", "<loan/>"),
    "instructions": _xml(_FIELD[0], "x<?a?>", _FIELD[1]),
    "instructions before": _xml("", "<?a?>", "<loan/>"),
    "doctypes": _xml("", '<!DOCTYPE a [<!ENTITY x "y">]>', "<a>&x;</a>"),
    "text": _xml(_FIELD[0], "x", _FIELD[1], TEXT_BYTES),
    "text that is too long": _xml(_FIELD[0], "x", _FIELD[1]),
    "text of control characters": _xml(_FIELD[0], "\x01", _FIELD[1]),
    "text of private characters": _xml(_FIELD[0], "\ue000", _FIELD[1], TEXT_BYTES),
    "space": _xml("<loan>", " ", "</loan>"),
    "words": _xml("", "not found, access field ", ""),
    "errors": _xml("<a>", "<error/>", "</a>"),
    "errors that say something": _xml("<a>", "<error a='x'>x</error>", "</a>"),
    "errors 100 deep": _xml("<a>", _nested("error", 100), "</a>"),
    "errors 200 deep around a text": _xml(f"<a>{'<error>' * 200}", "not found ", f"{'</error>' * 200}</a>", TEXT_BYTES),
    "results": _xml("<a>", "<result/>", "</a>"),
    "result that failed": _xml("<result status='bad'>", "<a>x</a>", "</result>"),
}

_ENTRY = '{"referenceNumber":"R%x","values":{"sLastModifiedTimestamp":"2026-11-20T13:04:05"}},'

JSON: dict[str, Shape] = {
    "open brackets": Shape("", "[", ""),
    "closed brackets": Shape("", "]", ""),
    "brackets": Shape("", "[]", ""),
    "brackets the wrong way": Shape("", "][", ""),
    "braces": Shape("", '{"a":', ""),
    "lists": Shape("[", "[],", "[]]"),
    "lists 60 deep": Shape("[", "[" * 60 + "]" * 60 + ",", "{}]"),
    "objects": Shape("[", "{},", "{}]"),
    "numbers": Shape("[", "1,", "1]"),
    "numbers beyond any": Shape("[", "1e308,", "1]"),
    "entries": Shape("[", _ENTRY, "{}]"),
    "entries under a key": Shape('{"a":1,"b":[', _ENTRY, "{}]}"),
    "entries cut short": Shape("[", _ENTRY, '{"a":"x'),
    "entries of 500 keys": Shape("[", "{" + ",".join(f'"k{number}":1' for number in range(500)) + "},", "{}]"),
    "keys": Shape("{", '"%x":1,', '"referencenumber":1}'),
    "keys of lists": Shape("{", '"%x":[1],', '"a":1}'),
    "keys of values": Shape('[{"values":{', '"%x":1,', '"a":1}}]'),
    "one key many times": Shape("{", '"a":1,', '"a":1}'),
    "one list many times": Shape("{", '"a":[{}],', '"a":[{}]}'),
    "a key without end": Shape('[{"', "K", '":1}]'),
    "a key of folded letters": Shape('[{"', "ß", '":1}]'),
    "texts": Shape("[", '"",', "{}]"),
    "quotes": Shape("", '"', ""),
    "a text of quotes": Shape('["', '\\"', '"]'),
    "a text of quotes without end": Shape('["', '\\"', ""),
    "a text of backslashes": Shape('["', "\\", ""),
    "a text of escapes": Shape('["', "\\u0041", '"]'),
    "a text of half pairs": Shape('["', "\\ud800", '"]'),
    "a text of half pairs without end": Shape('["', "\\ud800", ""),
    "keys of half pairs": Shape("[", '{"\\ud800":1},', "{}]"),
    "a reference": Shape('[{"referenceNumber":"', "R", '"}]'),
    "a reference of digits": Shape('[{"referenceNumber":', "9", "}]"),
    "a number of NULs": Shape('[{"loanNumber":"', "\\u0000", '"}]'),
    "a number of digits": Shape('[{"loanNumber":', "9", "}]"),
    "a number of places": Shape('[{"loanNumber":0.', "9", "}]"),
    "an exponent": Shape('[{"loanNumber":1e', "9", "}]"),
    "space": Shape("[", " ", "]"),
    "colons": Shape('{"a"', ":", "}"),
    "commas": Shape("", ",", ""),
    "NULs": Shape("", "\0", ""),
}

TEXTS: dict[str, Shape] = {
    "digits": Shape("", "9", ""),
    "thousands": Shape("1", ",000", ""),
    "places": Shape("0.", "0", ""),
    "space": Shape("1", " ", "1"),
    "parentheses": Shape("", "(", ""),
    "signs": Shape("", "-", ""),
    "control characters": Shape("x", "\x01", "x"),
    "line breaks": Shape("x", "\r\n", "x"),
    "private characters": Shape("", "\ue000", ""),
    "a date and space": Shape("1/2/2026", " ", "x"),
}

SHAPES: dict[str, dict[str, Shape]] = {
    "batches": JSON,
    "stamps": TEXTS,
    "values": TEXTS,
    "loxml": XML,
    "results": XML,
    "soap": {
        **{name: _in_soap(shape) for name, shape in XML.items()},
        "parts of an envelope": _xml("\0<Envelope>", "<Body/>", "</Envelope>"),
        "parts of a fault": _xml("\4<Envelope><Body><Fault>", "<Text>x</Text><Value/>", "</Fault></Body></Envelope>"),
    },
    "tickets": {
        name: Shape('{"access_token":"t","a":' + shape.head, shape.part, shape.tail + "}", most=MOST_TICKET_BYTES)
        for name, shape in JSON.items()
    },
    "hydrators": {
        "applicants": Shape("", "@\naBConsumerId=%x\n[aAssetCollection\n", ""),
        "assets": Shape("@\naBConsumerId=c\n[aAssetCollection\n", "+\nRecordId=%x\nOwnerT=0\nAccNum=1\n", ""),
        "one field many times": Shape("", "sTerm=360\n", ""),
        "one collection many times": Shape("", "[sCondDataSet\n+\nRecordId=k%x\n", ""),
    },
}
