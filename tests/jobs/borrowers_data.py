"""Everything in an MLM that nobody but the portal's tables may hold, and whether any of it stands in a text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from mlm_client.sandbox.server import SandboxServer

_WORD = re.compile(r"\w+")


def numbers(mlm: SandboxServer) -> list[str]:
    """Every SSN, with and without dashes, and every account number in MLM."""
    found: set[str] = set()
    for applicant in _applicants(mlm):
        ssns = {value for name, value in applicant.fields.items() if name.endswith("Ssn") and value}
        found |= ssns | {f"{ssn[:3]}-{ssn[3:5]}-{ssn[5:]}" for ssn in ssns}
        found |= {
            record["AccNum"] for each in applicant.collections.values() for record in each if record.get("AccNum")
        }
    assert len(found) > 100
    return sorted(found)


def people(mlm: SandboxServer) -> list[str]:
    """Those numbers, and everybody's names, mails, phones, streets, and birth dates."""
    wanted = re.compile(r"a[BC](FirstNm|LastNm|Dob|Email|HPhone|Cellphone|Addr)")
    people = {
        value
        for applicant in _applicants(mlm)
        for name, value in applicant.fields.items()
        if wanted.fullmatch(name) and len(value) > 3
    }
    assert len(people) > 100
    return sorted({*people, *numbers(mlm)})


def _applicants(mlm: SandboxServer) -> Iterator[Any]:
    for ref in mlm.store.refs(deleted=True):
        yield from mlm.store.newest(ref).content.applicants


def found_in(text: str, needles: list[str]) -> list[str]:
    """Which of these stand in the text: numbers anywhere, all else as whole words, however they are escaped."""
    words, digits = set(_WORD.findall(text)), " ".join(set(re.findall(r"\d{9,}", text)))

    def stands(needle: str) -> bool:
        if needle.isdecimal():
            return needle in digits
        return any(set(_WORD.findall(each)) <= words and each in text for each in _spellings(needle))

    return [needle for needle in needles if stands(needle)]


def _spellings(text: str) -> set[str]:
    """The text as it is, as in JSON, and as Redis and Python write bytes."""
    escaped = "".join(chr(byte) if byte < 127 else f"\\x{byte:02x}" for byte in text.encode())
    return {text, json.dumps(text)[1:-1], escaped}
