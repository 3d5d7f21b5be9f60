"""What is fuzzed: for each parser one function from bytes to nothing, which holds it to its word.

It may end in the errors that the parser documents, and what comes out must be what the parser promises. Everything
else (another error, a broken promise, more time or memory than `guarded` allows) is a finding.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import json
import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from freshness import stamp
from freshness.concerns import Concern
from freshness.field_keys import FieldKeys
from freshness.settings import WebhookKeys
from freshness.stamp import AHEAD_LIMIT, Stamp, Unreadable, parse, truncate
from hydrators import HYDRATORS, Landing, kind_of, load_names, records, rows, stamp_in
from hydrators.errors import HydrateError
from mlm_client import exchange, hardened, loxml, results, saving, soap, ticket, values, wording
from mlm_client.errors import MlmError
from mlm_client.exchange import Exchange, Reply, Timeouts
from mlm_client.loxml import Answer, Applicant, Named, Record, read_answer
from mlm_client.polling import read_modified
from mlm_client.results import document
from mlm_client.saving import read_save
from mlm_client.soap import result_of
from mlm_client.ticket import Tickets
from receiver.decoding import LONGEST, decode
from receiver.errors import BodyFault, NotJson
from receiver.outline import outline

CORPUS = Path(__file__).parent / "corpus"

#: What one input of the fuzzer's sizes (a few KiB) may take at most: a hundred times the slowest one seen.
MOST_CPU_S = 2.0
MOST_GROWTH_MB = 128

KEYS = WebhookKeys()
NAMES = load_names(None)
FIELD_KEYS = FieldKeys((bytes(range(32)),))
NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
#: With and without summer time; half an hour of it; a day that was skipped; an offset of no whole minutes (to 1972).
ZONES = tuple(
    map(ZoneInfo, ("UTC", "America/Los_Angeles", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia"))
)  # fmt: skip


#: Every text that stands in the code of these modules: what a reason may say.
PHRASES = frozenset(
    node.value
    for module in (stamp, values, hardened, loxml, results, saving, soap, wording, exchange, ticket, records, rows)
    for node in ast.walk(ast.parse(inspect.getsource(module)))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
)


#: Columns of text that PostgreSQL indexes; it takes 2,704 bytes there.
INDEXED = ("mlm_loan_number", "lqb_id")


class Finding(Exception):
    """A promise that was not kept."""


def read_batches(data: bytes) -> None:
    """A webhook's body: entries fit for PostgreSQL, or a fault within it; what is JSON is not refused as none."""
    try:
        entries = decode(data, KEYS)
    except BodyFault as fault:
        not_json = isinstance(fault, NotJson)
        _hold(0 <= (fault.position or 0) <= len(data), "a fault beyond the body")
        _hold(not (not_json and _is_json(data)), "JSON, refused as none")
        _hold_outline(outline(data, fault.position if not_json else None))
        return
    _hold_outline(outline(data))
    for entry in entries:
        for said in (entry.reference, entry.loan_number, entry.event_type, entry.stamp_text, entry.fault):
            _hold(said is None or (len(said) <= LONGEST and _storable(said)), "an entry that PostgreSQL cannot hold")
        _hold((entry.reference is None) == (entry.fault is not None), "neither a reference nor a fault")
        if entry.stamp_text is not None:
            _hold_stamp(entry.stamp_text, ZONES[0])


def _is_json(data: bytes) -> bool:
    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _hold_outline(keys: list[dict[str, Any]]) -> None:
    _hold(len(keys) <= 40, "an outline of more than 40 keys")
    for each in keys:
        shown = re.fullmatch(r"[\w@$.-]{1,64}|\(\d+ characters\)", each["key"], re.ASCII)
        _hold(bool(shown) and each["bytes"] >= 0 and 1 <= each["level"] <= 3, "an outline that shows more than names")


def read_stamps(data: bytes) -> None:
    """A stamp's text, its zone in the first byte: an instant that reads back, or a reason that quotes nothing."""
    _hold_stamp(data[1:].decode("utf-8", "surrogateescape"), ZONES[data[0] % len(ZONES)] if data else ZONES[0])


def _hold_stamp(text: str, zone: ZoneInfo) -> None:
    found = parse(text, zone, NOW)
    if isinstance(found, Unreadable):
        _hold_phrase(found.why)
        return
    _hold(found.instant.tzinfo is dt.UTC and found.instant - NOW <= AHEAD_LIMIT, "no instant that may be compared")
    _hold(parse(found.instant.isoformat(), zone, NOW) == Stamp(found.instant), "an instant that reads back as another")
    for resolution_s in (0.000001, 0.001, 1 / 300, 1, 60):
        tick = truncate(found.instant, resolution_s)
        _hold(tick <= found.instant and truncate(tick, resolution_s) == tick, "a tick that is none")


def read_values(data: bytes) -> None:
    """A value's text, as each kind: bounded, storable, or unreadable for a reason that quotes nothing."""
    said = data.decode("utf-8", "surrogateescape")
    for read in (values.money, values.percent, values.number):
        number = _readable(read, said)
        if number is not None:
            _hold(number.is_finite() and abs(number) < 10**15, "a number beyond any column")
            _hold(int(number.as_tuple().exponent) >= -10, "a number of more digits than it may have")
            _hold(read(format(number, "f")) == number, "a number that reads back as another")
    for integer in (_readable(values.integer, said), _readable(values.enum, said)):
        _hold(integer is None or abs(integer) < 10**9, "an integer beyond its column")
    day = _readable(values.date, said)
    _hold(day is None or 1800 <= day.year <= 2200, "a day in no known year")
    _hold(day is None or values.date(day.isoformat()) == day, "a day that reads back as another")
    ssn = _readable(values.ssn, said)
    _hold(ssn is None or bool(re.fullmatch("[0-9]{9}", ssn)), "an SSN that is not nine digits")
    _hold(_readable(values.boolean, said) in (True, False, None), "a third truth")
    text = values.text(said)
    _hold(text is None or _storable(text), "a text that PostgreSQL cannot hold")
    _hold(values.text(text) == text, "a text that reads back as another")


def _readable(read: Callable[[str], Any], said: str) -> Any:
    try:
        return read(said)
    except values.Unreadable as unreadable:
        _hold_phrase(str(unreadable))
        return None


def read_loxml(data: bytes) -> None:
    """The result of a load: an answer that becomes rows, or an error of MLM's; and no DOCTYPE comes through."""
    with _mlm_errors():
        _hold(hardened.parse(data).getroottree().docinfo.internalDTD is None, "a DOCTYPE that was let in")
    with _mlm_errors():
        _hydrate(read_answer(data.decode("utf-8", "surrogateescape")))


def read_results(data: bytes) -> None:
    """The result of every other operation: the modified list, a save, a clear."""
    said = data.decode("utf-8", "surrogateescape")
    with _mlm_errors():
        for file in read_modified(said):
            _hold(file.name.strip() == file.name != "", "a file without a name")
    with _mlm_errors():
        _hold(read_save(said).status.lower().startswith("ok"), "a save that failed and is none")


def read_soap(data: bytes) -> None:
    """A SOAP answer with its HTTP status, read as the operation it answers. The first byte chooses the two."""
    choice = data[0] if data else 0
    operation, read = _OPERATIONS[choice % len(_OPERATIONS)]
    reply = Reply(500 if choice // len(_OPERATIONS) % 2 else 200, {}, data[1:])
    with _mlm_errors():
        found = read(result_of(reply, operation))
        if isinstance(found, Answer):
            _hydrate(found)


_OPERATIONS: tuple[tuple[str, Callable[[str | None], Any]], ...] = (
    ("LoadByRefNumber", read_answer),
    ("Save", read_save),
    ("ListModifiedLoansByAppCode", read_modified),
    ("ClearModifiedLoanByNameByAppCode", document),
)


def read_tickets(data: bytes) -> None:
    """The token service's answer: a ticket with a life ahead of it, or an error of MLM's."""
    http = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, content=data)))
    wire = Exchange(http, Timeouts(1, 1, 1), clock=lambda: 0.0)
    with _mlm_errors():
        found = Tickets(wire, "http://127.0.0.1/token", "client", "secret").current(1.0)
        _hold(0 < found.renew_at < found.expires_at <= 86_400, "a ticket that is spent already")
        _hold(hardened.writable(found.text) == found.text, "a ticket that XML cannot carry")


def read_hydrators(data: bytes) -> None:
    """An answer in the short form of `answer_of`: rows that fit their columns."""
    _hydrate(answer_of(data.decode("utf-8", "replace")))


def answer_of(script: str) -> Answer:
    """An answer, written by the line so that a mutation of a line is one of a field.

    name=value    a field of the loan; behind `@` of that applicant, behind `+` of that record
    @             a new applicant
    [name         a new collection, of the loan or of the applicant
    +             a new record of the collection
    ^             back to the loan
    """
    loan: tuple[list[Any], list[Any]] = ([], [])
    people: list[tuple[list[Any], list[Any]]] = []
    owner, fields = loan, loan[0]
    for line in script.split("\n"):
        if line == "@":
            people.append(([], []))
            owner, fields = people[-1], people[-1][0]
        elif line == "^":
            owner, fields = loan, loan[0]
        elif line.startswith("["):
            owner[1].append((line[1:], []))
        elif line == "+":
            if owner[1]:
                fields = []
                owner[1][-1][1].append(fields)
        elif "=" in line:
            name, _, value = line.partition("=")
            fields.append((name, value))
    applicants = tuple(Applicant(None, Named(said), _collections(lists)) for said, lists in people)
    return Answer(Named(loan[0]), applicants, _collections(loan[1]))


def _collections(lists: list[Any]) -> Named[tuple[Record, ...]]:
    return Named((name, tuple(Named(record) for record in records)) for name, records in lists)


def landings_of(answer: Answer) -> Iterator[Landing]:
    """What each concern's hydrator makes of it; those that refuse it are left out."""
    for concern in Concern:
        with suppress(HydrateError):
            yield HYDRATORS[concern].rows(answer, NAMES, FIELD_KEYS)


def _hydrate(answer: Answer) -> None:
    with suppress(HydrateError):
        kind_of(answer, NAMES, None)
    text = stamp_in(answer, NAMES)
    if text is not None:
        _hold_stamp(text, ZONES[1])
    for landing in landings_of(answer):
        for problem in landing.problems:
            _hold_phrase(problem.why)
        for row in landing.rows:
            for column, value in row.items():
                _hold(_fits(value), f"a value that does not fit {landing.table}.{column}")
                _hold(column not in INDEXED or len(value or "") <= 200, f"too long for the index of {column}")
        ids = [row["lqb_id"] for row in landing.rows if "lqb_id" in row]
        _hold(len(ids) == len(set(ids)) and None not in ids, "rows that are not told apart")


def _fits(value: object) -> bool:
    """Whether PostgreSQL can hold it in a column of its kind."""
    match value:
        case None | bool() | bytes():
            return True
        case str():
            return _storable(value)
        case int():
            return abs(value) < 2**31
        case Decimal():
            return value.is_finite() and abs(value) < 10**12
        case dt.date():
            return 1800 <= value.year <= 2200
        case list():
            return all(isinstance(each, str) and _storable(each) for each in value)
        case _:
            return False


def _storable(text: str) -> bool:
    """Whether PostgreSQL takes the text: no half of a surrogate pair, no NUL nor any other control character."""
    if text.isascii() and text.isprintable():
        return True
    return all(unicodedata.category(sign) not in ("Cc", "Cs") or sign in "\n\t" for sign in text)


@contextmanager
def _mlm_errors() -> Iterator[None]:
    """Inside, the client's own errors are right; but they must not say what MLM said."""
    try:
        yield
    except MlmError as error:
        _hold_phrase(error.why)
        _hold(not error.__context__ and not error.__cause__, "an error that another hangs on")


def _hold_phrase(why: str) -> None:
    """A reason stands in the code as it is, so that it quotes nothing of the input."""
    _hold(why in PHRASES or why.partition(": ")[2] in PHRASES, "a reason in words that are not ours")


def _hold(promise: bool, broken: str) -> None:
    if not promise:
        raise Finding(broken)


def guarded(run: Callable[[bytes], None], data: bytes) -> None:
    """Run a target on one input; a `Finding`, too, if it took more time or memory than an input of this size may."""
    memory_kb = _peak_kb()
    began = time.thread_time()
    run(data)
    took_s = time.thread_time() - began
    _hold(took_s <= MOST_CPU_S, f"{took_s:.1f} s for {len(data)} bytes")
    grown_mb = (_peak_kb() - memory_kb) / 1024
    _hold(grown_mb <= MOST_GROWTH_MB, f"{grown_mb:.0f} MB for {len(data)} bytes")


def _peak_kb() -> int:
    """The most memory this process has had. Not `getrusage`, which begins with the most of the process it came from."""
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)[1])  # type: ignore[index]


@dataclass(frozen=True)
class Target:
    """A target, the longest input that the fuzzer makes for it, and its share of all inputs."""

    run: Callable[[bytes], None]
    longest: int
    share: float


TARGETS: dict[str, Target] = {
    "batches": Target(read_batches, 4096, 0.20),
    "stamps": Target(read_stamps, 128, 0.15),
    "values": Target(read_values, 256, 0.15),
    "loxml": Target(read_loxml, 8192, 0.15),
    "results": Target(read_results, 4096, 0.10),
    "soap": Target(read_soap, 8192, 0.10),
    "tickets": Target(read_tickets, 512, 0.05),
    "hydrators": Target(read_hydrators, 4096, 0.10),
}
