"""The MLM client: five operations of `Loan.asmx`, each one call, each ending in a value or in an error of `errors`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from . import wording
from .errors import MlmError, Rejected, SignInAgain
from .exchange import Clock, Exchange, Timeouts, pool
from .hardened import writable
from .loxml import Answer, Question, read_answer
from .polling import ModifiedFile, read_modified
from .results import document
from .saving import SaveContent, SaveResult, read_save
from .soap import REFERENCE_PARAMETER, result_of, service
from .ticket import Ticket, Tickets
from .transport import Call, MlmTransport

T = TypeVar("T")

BeforeCall = Callable[[str], AbstractContextManager[object]]

#: Makes the HTTP client that all calls go through.
Connect = Callable[[Timeouts], httpx.Client]

#: A file's reference among its fields, whatever the parameter that asks by it is called (seen).
REFERENCE_FIELD = "sLRefNm"

#: `format` of Load and Save: LOXml (seen).
_LOXML = 0


@dataclass(frozen=True)
class MlmConfig:
    """Where MLM is, who we are, and how long we wait. Times in seconds.

    `whole_s` bounds a call of the client, sign-in included, waiting for our turn (`before_call`) left out.
    `reference_parameter` and `stamp_field` are names a lender's MLM may spell otherwise.
    """

    loan_service_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    connect_s: float = 5.0
    read_s: float = 30.0
    whole_s: float = 60.0
    reference_parameter: str = REFERENCE_PARAMETER
    stamp_field: str = "sLastModifiedTimestamp"


class _Wire:
    """What a process holds open: the pool of connections, the ticket, zeep's proxy."""

    def __init__(self, config: MlmConfig, clock: Clock, connect: Connect) -> None:
        timeouts = Timeouts(config.connect_s, config.read_s, config.whole_s)
        self.http: httpx.Client = connect(timeouts)
        self.exchange = Exchange(self.http, timeouts, clock)
        self.tickets = Tickets(self.exchange, config.token_url, config.client_id, config.client_secret)
        self.transport = MlmTransport(self.exchange)
        self.service: Any = service(self.transport, config.loan_service_url, config.reference_parameter)

    def ask(self, call: Call, read: Callable[[str | None], T], arguments: Mapping[str, Any]) -> T:
        """Make the call once. Whatever way MLM says that it refuses the ticket, the next call gets another."""
        if any(isinstance(value, str) and writable(value) != value for value in arguments.values()):
            raise Rejected("an argument holds characters that XML cannot carry")
        ticket = self.ticket(call.deadline)
        try:
            with self.transport.during(call):
                reply = getattr(self.service, call.operation)(sTicket=ticket.text, **arguments)
            return read(result_of(reply, call.operation))
        except SignInAgain:
            self.tickets.refused(ticket)
            raise

    def ticket(self, deadline: float) -> Ticket:
        """A ticket that is good; what keeps us from one has nothing to do with any file."""
        try:
            return self.tickets.current(deadline)
        except MlmError as error:
            error.unasked = True
            raise


class MlmClient:
    """Speaks MLM for one process; any number of threads may share it. Connects at the first call, not before.

    A refused ticket is renewed and the call made once more; nothing else is tried again here. `before_call` is entered
    around each call, with the operation's name, signing in and that second try included: whoever owns the calls'
    budget waits there, and sees the `MlmError` that the call ends with. What it raises passes through untouched.
    """

    def __init__(
        self,
        config: MlmConfig,
        clock: Clock = time.monotonic,
        before_call: BeforeCall | None = None,
        connect: Connect = pool,
    ) -> None:
        self._config = config
        self._clock = clock
        self._connect = connect
        self._before_call: BeforeCall = before_call or (lambda operation: nullcontext())
        self._lock = threading.Lock()
        self._wire: _Wire | None = None

    def load_by_ref(self, ref: str, question: Question) -> Answer:
        """The file with that reference number, as far as asked for. `NotFound` if MLM has no such file."""
        return self._call("LoadByRefNumber", ref, read_answer, **self._by_ref(ref, question))

    def load(self, number: str, question: Question) -> Answer:
        """The file with that loan number, as far as asked for. A number may change; a reference should not."""
        return self._call("Load", number, read_answer, sLNm=number, sXmlQuery=question.to_xml(), format=_LOXML)

    def read_stamp(self, ref: str) -> str | None:
        """The stamp of the file alone, as MLM writes it; None if the answer has none, or a blank one."""
        stamp = self._config.stamp_field
        answer = self.load_by_ref(ref, Question(loan_fields=frozenset({stamp})))
        return answer.fields.get(stamp, "").strip() or None

    def reference_of(self, number: str) -> str | None:
        """The reference of the file with that loan number; None if the answer has none, or a blank one."""
        answer = self.load(number, Question(loan_fields=frozenset({REFERENCE_FIELD})))
        return answer.fields.get(REFERENCE_FIELD, "").strip() or None

    def save(self, number: str, content: SaveContent) -> SaveResult:
        """Write to the file with that loan number. After a `Retry` the write may have happened or not."""
        return self._call("Save", number, read_save, sLNm=number, sDataContent=content.to_xml(), format=_LOXML)

    def list_modified(self, app_code: str) -> list[ModifiedFile]:
        """The files that changed since they were last cleared for this vendor's code."""
        return self._call("ListModifiedLoansByAppCode", None, read_modified, appCode=app_code)

    def clear_modified(self, name: str, app_code: str) -> None:
        """Take a file off the list, by its number. A change that MLM lists between a load and this is lost to the
        list (inferred): clear first and load then, or look at the stamp once more."""
        self._call("ClearModifiedLoanByNameByAppCode", name, _read_cleared, sLNm=name, appCode=app_code)

    def sign_in(self) -> None:
        """Get a ticket, unless one is held that is still good. Nothing else is asked of MLM."""
        self._in_turn("SignIn", lambda wire: wire.ticket(wire.exchange.deadline()))

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        with self._lock:
            wire, self._wire = self._wire, None
        if wire is not None:
            wire.http.close()

    def _by_ref(self, ref: str, question: Question) -> dict[str, Any]:
        return {self._config.reference_parameter: ref, "sXmlQuery": question.to_xml(), "format": _LOXML}

    def _open(self) -> _Wire:
        wire = self._wire
        if wire is None:
            with self._lock:
                wire = self._wire = self._wire or _Wire(self._config, self._clock, self._connect)
        return wire

    def _call(self, operation: str, ref: str | None, read: Callable[[str | None], T], **arguments: Any) -> T:
        """One call when it is our turn; every error leaves with its call's name."""
        return self._in_turn(
            operation, lambda wire: _made(wire, Call(operation, wire.exchange.deadline()), ref, read, arguments)
        )

    def _in_turn(self, operation: str, ask: Callable[[_Wire], T]) -> T:
        try:
            wire = self._open()
            with self._before_call(operation):
                return ask(wire)
        except MlmError as error:
            failure = error
        # Raised anew, outside of any handler: nothing of the answer hangs on it.
        failure.__context__ = None
        raise failure.with_traceback(None)


def _made(wire: _Wire, call: Call, ref: str | None, read: Callable[[str | None], T], arguments: Mapping[str, Any]) -> T:
    """The call, once more with a new ticket if the first was refused."""
    try:
        try:
            return wire.ask(call, read, arguments)
        except SignInAgain:
            return wire.ask(call, read, arguments)
    except MlmError as error:
        raise error.during(call.operation, ref) from None


def _read_cleared(result: str | None) -> None:
    """The result of a clear says nothing useful (seen); only an error in it counts."""
    text = (result or "").strip()
    if text.startswith(("<", "&lt;")):
        document(text)
    elif error := wording.known(text):
        raise error
